//! The keys of `[install]`: how a guard becomes a service of the OS.

use crate::spec::scalar::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// Writes the keys of `[install]` twice: as they stand there, with the sections for one OS, and once as they stand in
/// such a section.
macro_rules! install_keys {
    ($($(#[$meta:meta])* $key:ident: $type:ty,)*) => {
        /// How the guard becomes a service of the OS. Read by `tutela install` alone; a guard that runs does not look
        /// at it, so a change takes another `tutela install`.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InstallKeys {
            $($(#[$meta])* pub $key: Option<$type>,)*
            /// Keys of `install` again, that hold on Windows only.
            pub windows: Option<InstallOsKeys>,
            /// Keys of `install` again, that hold on Linux only.
            pub linux: Option<InstallOsKeys>,
            /// Keys of `install` again, that hold on macOS only.
            pub macos: Option<InstallOsKeys>,
        }

        /// Keys of `install` for one OS; they replace those above.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InstallOsKeys {
            $($(#[$meta])* pub $key: Option<$type>,)*
        }
    };
}

install_keys! {
    /// The name that people see where the OS has one; left out: `name`.
    #[schemars(extend("examples" = ["Shop"]))]
    display_name: String,
    /// When the OS starts the guard: at boot, at boot once the others have settled, when somebody says so, or never.
    #[schemars(extend("default" = "auto"))]
    start: InstallStartKey,
    /// Whom the guard runs as: `own`, an account for this guard alone; `system`, the OS itself; an account of this computer; `new:NAME`, which is made when it is missing (not on Windows); on Windows also `local-service`, `network-service`, `managed:DOMAIN\\name$`. A spec with a service that has a `user` of its own needs `system`, and gets it in place of `own`.
    #[schemars(extend("default" = "own", "examples" = ["system", "shop"]))]
    account: String,
    /// OS services that the guard needs: they are started before it.
    #[schemars(extend("default" = [], "examples" = [["postgresql"]]))]
    after: Vec<String>,
    /// How long a start may take until every service is ready or at rest; the guard asks for more by itself while that goes on.
    #[schemars(extend("default" = "90s"))]
    start_timeout: Span,
    /// How long a stop may take before the OS ends everything; left out: what the ladders of the services add up to.
    #[schemars(extend("examples" = ["2m"]))]
    stop_timeout: Span,
    /// How often the guard has to say that it lives; a guard that is silent for longer is ended and started again. `"0s"`: never. Not on Windows, which has no such thing.
    #[schemars(extend("default" = "30s"))]
    watchdog: Span,
    /// The wait before the OS starts a guard again that died.
    #[schemars(extend("default" = "1s"))]
    restart_delay: Span,
    /// Whether anything is taken from the guard and its programs that they do not need; `docs/operate/install.md` lists what. Not on Windows.
    #[schemars(extend("default" = true))]
    sandbox: bool,
    /// Whether programs make code at run time (a JIT, as Java, Node.js and .NET have). The sandbox leaves them memory that is writable and executable then.
    #[schemars(extend("default" = false))]
    executable_memory: bool,
    /// Folders that the guard and its programs can write to besides the guard's own state and log folders; relative to the spec's folder. What is missing is made, and belongs to the guard's account.
    #[schemars(extend("default" = [], "examples" = [["/srv/shop"]]))]
    writable_paths: Vec<String>,
    /// Ports that the host's firewall is to let through.
    #[schemars(extend("default" = []))]
    open_ports: Vec<PortKeys>,
}

/// When the OS starts the guard.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstallStartKey {
    /// At boot.
    Auto,
    /// At boot, once the others have settled.
    Delayed,
    /// When somebody says so.
    Manual,
    /// Never.
    Disabled,
}

/// A port that the host's firewall is to let through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PortKeys {
    /// The port, 1 to 65535. Needed.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [8081]))]
    pub port: Option<i64>,
    /// The protocol.
    #[schemars(extend("default" = "tcp"))]
    pub protocol: Option<ProtocolKey>,
    /// Who may come in: addresses, or networks such as `10.0.0.0/8`; empty: everybody.
    #[schemars(extend("default" = [], "examples" = [["10.0.0.0/8"]]))]
    pub from: Option<Vec<String>>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolKey {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
