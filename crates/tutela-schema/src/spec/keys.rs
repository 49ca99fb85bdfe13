//! Every key of a spec file, once: these structs are what is read, what the JSON Schema offers to editors, and what
//! the reference lists. A key's documentation here is what users see.
//!
//! Every key may be left out as far as serde goes: what is needed is checked by `service` and its neighbours, which
//! know the layers. The `default` in each schema is compared with the real one by a test.

mod api;
mod install;
mod logs;
mod metrics;
mod sink;
mod traces;

pub use api::{ApiCertificateKeys, ApiKeys, ApiTokenKeys, RoleKey};
pub use install::{InstallKeys, InstallOsKeys, InstallStartKey, PortKeys, ProtocolKey};
pub use logs::{GuardLogKeys, MultilineKeys};
pub use metrics::{MetricsKeys, OtlpCompressKey, OtlpProtocolKey};
pub use sink::{OverflowKey, SinkFormatKey, SinkKeys, SinkLevelKey};
pub use traces::TracesKeys;

use super::scalar::{CommandText, EnvValue, Percent, Size, Span, Templated};
use super::union::{EnvFile, HookList, StatusText};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A Tutela spec: what one guard keeps alive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Tutela spec")]
pub struct SpecKeys {
    /// The name of the guard and of the OS service: letters, digits, `.`, `_` and `-`, at most 48. Needed.
    #[schemars(extend("examples" = ["shop"]))]
    pub name: Option<String>,
    /// What it is, for people.
    #[schemars(extend("default" = ""))]
    pub description: Option<String>,
    /// Whether programs run on when the guard itself is killed or crashes, and the next guard goes on with them. Left out:
    /// they do, but for Windows, where they end with it. On an OS that cannot do it (see `tutela doctor`) they end with it
    /// whatever is said here. Takes effect when the guard starts.
    pub survive: Option<bool>,
    /// The services by name; at least one.
    pub services: Option<BTreeMap<String, ServiceKeys>>,
    /// What holds for the output of every service.
    pub logs: Option<GuardLogKeys>,
    /// Where alerts go, by name.
    pub alerts: Option<BTreeMap<String, AlertKeys>>,
    /// Where the guard's figures go by themselves.
    pub metrics: Option<MetricsKeys>,
    /// Where traces of what the guard does go.
    pub traces: Option<TracesKeys>,
    /// Where output goes beside the files, by name.
    pub sinks: Option<BTreeMap<String, SinkKeys>>,
    /// How the guard becomes a service of the OS; for `tutela install` alone.
    pub install: Option<InstallKeys>,
    /// The record of who did what to the guard and its services.
    pub audit: Option<AuditKeys>,
    /// The control API over the network.
    pub api: Option<ApiKeys>,
}

/// The record of who did what to the guard and its services; `tutela audit` shows it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditKeys {
    /// How long an entry is kept. Files of a day are removed as a whole, and an entry says so.
    #[schemars(extend("default" = "180d"))]
    pub keep_for: Option<Span>,
}

/// Writes the keys of a service twice: once as they stand in a service, with the sections for one OS, and once as they
/// stand in such a section.
macro_rules! service_keys {
    ($($(#[$meta:meta])* $key:ident: $type:ty,)*) => {
        /// A service: one program that is kept alive, in one or several copies.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct ServiceKeys {
            $($(#[$meta])* pub $key: Option<$type>,)*
            /// Keys of the service again, that hold on Windows only.
            pub windows: Option<OsKeys>,
            /// Keys of the service again, that hold on Linux only.
            pub linux: Option<OsKeys>,
            /// Keys of the service again, that hold on macOS only.
            pub macos: Option<OsKeys>,
        }

        /// Keys of a service for one OS. Tables merge with those of the service, everything else replaces.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct OsKeys {
            $($(#[$meta])* pub $key: Option<$type>,)*
        }
    };
}

service_keys! {
    /// What it is, for people.
    #[schemars(extend("default" = ""))]
    description: String,
    /// The program and its arguments. Never run by a shell. A program with a path separator is relative to the spec's folder; one without is looked for on the `PATH`. Needed. `${instance}` may stand in it.
    #[schemars(extend("examples" = [["./api", "--port", "${PORT:8081}"]]))]
    command: CommandText,
    /// The working folder; relative to the spec's folder.
    #[schemars(extend("default" = "."))]
    cwd: String,
    /// Variables of the program's environment, over those of `env_files`, over those of the guard. `${instance}` may stand in the values. A value may be a secret that is read at each start: `secret://file/PATH`, `secret://systemd/NAME`, `secret://dpapi/PATH`.
    #[schemars(extend("default" = {}, "examples" = [{ "RUST_LOG": "info" }]))]
    env: BTreeMap<String, EnvValue>,
    /// Files with lines of `NAME=value`; later ones win. Relative to the spec's folder. `{ path = ".env", optional = true }` may be missing.
    #[schemars(extend("default" = [], "examples" = [[".env"]]))]
    env_files: Vec<EnvFile>,
    /// The services that it needs: it is started once they are ready, and stopped before them. A restart of one of them leaves it running.
    #[schemars(extend("default" = [], "examples" = [["db"]]))]
    needs: Vec<String>,
    /// How many copies run, 1 to 1000; `${instance}` is 0, 1, … in them.
    #[schemars(range(min = 1, max = 1000), extend("default" = 1))]
    instances: i64,
    /// When it starts: with the guard, with the guard but after those that start at once, when somebody says so, or never.
    #[schemars(extend("default" = "auto"))]
    start: StartKey,
    /// How long a start may take until it is ready; `"0s"`: for ever.
    #[schemars(extend("default" = "90s"))]
    start_timeout: Span,
    /// The account that it runs under; left out: the guard's.
    #[schemars(extend("examples" = ["shop"]))]
    user: String,
    /// The group that it runs under; left out: the first one of its user. Not on Windows.
    group: String,
    /// Mode bits that its new files do not get, in octal; left out: the guard's. Not on Windows.
    #[schemars(extend("examples" = ["027"]))]
    umask: String,
    /// What happens after its program ended.
    restart: RestartKeys,
    /// How its program is asked to stop.
    stop: StopKeys,
    /// Until this probe passes, the other ones wait: for programs that take long to come up.
    startup: ProbeKeys,
    /// Whether it can do its work. Until it says yes, the service is `starting`.
    ready: ProbeKeys,
    /// Whether it still lives; when it says no, the program is restarted.
    live: ProbeKeys,
    /// What it depends on elsewhere: a failing one degrades the service and restarts nothing.
    #[schemars(extend("default" = []))]
    dependencies: Vec<DependencyKeys>,
    /// What its processes may use together at most.
    limits: LimitKeys,
    /// What its processes may not do.
    security: SecurityKeys,
    /// Where its output is kept.
    logs: LogKeys,
    /// Commands around its life, run as its account, in its folder, with its environment.
    hooks: HookKeys,
}

/// When a service starts by itself.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartKey {
    /// With the guard.
    Auto,
    /// With the guard, once those that start at once have settled.
    Delayed,
    /// When somebody says so, or another service needs it.
    Manual,
    /// Never.
    Disabled,
}

/// What happens after a program ended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartKeys {
    /// After which ends it is started again.
    #[schemars(extend("default" = "always"))]
    pub when: Option<WhenKey>,
    /// Exit codes that are a success.
    #[schemars(extend("default" = [0]))]
    pub success_codes: Option<Vec<i64>>,
    /// The wait before the first restart.
    #[schemars(extend("default" = "1s"))]
    pub delay: Option<Span>,
    /// By how much each further wait is longer; at least 1.
    #[schemars(range(min = 1), extend("default" = 2.0))]
    pub factor: Option<f64>,
    /// No wait is longer.
    #[schemars(extend("default" = "1m"))]
    pub max_delay: Option<Span>,
    /// The part of each wait that is left to chance, 0 to 1, so that many do not come back at once.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.1))]
    pub jitter: Option<f64>,
    /// A run this long clears the wait and the window.
    #[schemars(extend("default" = "5m"))]
    pub reset_after: Option<Span>,
    /// More than this many restarts within `within` are a crash loop; 0: there is no such thing.
    #[schemars(range(min = 0), extend("default" = 3))]
    pub burst: Option<u32>,
    /// The window in which restarts are counted.
    #[schemars(extend("default" = "1m"))]
    pub within: Option<Span>,
    /// The wait after a crash loop, before a single half-open try.
    #[schemars(extend("default" = "5m"))]
    pub cooldown: Option<Span>,
}

/// After which ends a program is started again.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenKey {
    /// After every end.
    Always,
    /// After every end but a success.
    OnFailure,
    /// After none.
    Never,
}

/// How a program is asked to stop.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopKeys {
    /// The steps, one after the other until the program has ended. A last `{ kill = true }` is added where it is missing. On Windows the default is `[{ ctrl-c = true, wait = "10s" }, { ctrl-break = true, wait = "5s" }, { close-window = true, wait = "5s" }, { kill = true }]`.
    #[schemars(extend("default" = [{ "signal": "TERM", "wait": "10s" }, { "kill": true }]))]
    pub ladder: Option<Vec<StepKeys>>,
}

/// One step of asking a program to stop: exactly one of the ways, and how long it may work.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepKeys {
    /// Run a command, such as `redis-cli shutdown`.
    pub command: Option<CommandText>,
    /// Send a signal to the main process. On Windows, TERM and INT are a Ctrl-C, KILL is the end of the tree, and every other one is a Ctrl-Break.
    #[schemars(extend("examples" = ["TERM", "QUIT"]))]
    pub signal: Option<String>,
    /// Press Ctrl-C. Elsewhere than on Windows: the signal INT.
    #[serde(rename = "ctrl-c")]
    pub ctrl_c: Option<bool>,
    /// Press Ctrl-Break. Elsewhere than on Windows: the signal INT.
    #[serde(rename = "ctrl-break")]
    pub ctrl_break: Option<bool>,
    /// Close its windows. Elsewhere than on Windows: the signal TERM.
    #[serde(rename = "close-window")]
    pub close_window: Option<bool>,
    /// End the whole tree of processes.
    pub kill: Option<bool>,
    /// How long it may work before the next step.
    #[schemars(extend("default" = "10s"))]
    pub wait: Option<Span>,
}

/// Writes the keys of a probe twice: as a probe, and as a dependency check, which has a name.
macro_rules! probe_keys {
    ($($(#[$meta:meta])* $key:ident: $type:ty,)*) => {
        /// A question asked again and again; exactly one of `http`, `tcp`, `exec`, `grpc`, `log`, `notify` says which.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct ProbeKeys {
            $($(#[$meta])* pub $key: Option<$type>,)*
        }

        /// A probe of something that the service depends on; `http`, `tcp`, `exec` or `grpc`.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct DependencyKeys {
            /// Its name, once in its service. Needed.
            #[schemars(extend("examples" = ["database_connection"]))]
            pub name: Option<String>,
            $($(#[$meta])* pub $key: Option<$type>,)*
        }

        impl DependencyKeys {
            /// The keys without the name.
            pub(crate) fn probe(self) -> ProbeKeys {
                ProbeKeys { $($key: self.$key,)* }
            }
        }
    };
}

probe_keys! {
    /// An address for a GET: `http://` or `https://`.
    #[schemars(extend("examples" = ["http://127.0.0.1:8081/health"]))]
    http: Templated,
    /// An address that accepts connections: `host:port`.
    #[schemars(extend("examples" = ["127.0.0.1:5432"]))]
    tcp: Templated,
    /// A command that ends with 0, run as the service's account, in its folder.
    exec: CommandText,
    /// An address that speaks the standard gRPC health service: `host:port`, or `https://host:port` for TLS.
    grpc: Templated,
    /// A regular expression that a line of output matches. Not for `live`.
    #[schemars(extend("examples" = ["listening on port \\d+"]))]
    log: String,
    /// The program says so itself, over `NOTIFY_SOCKET`: `READY=1`; for `live`, `WATCHDOG=1`.
    notify: bool,
    /// The wait before the first question.
    #[schemars(extend("default" = "0s"))]
    delay: Span,
    /// From one question to the next; `"10s"` where left out for `live` and dependencies.
    #[schemars(extend("default" = "5s"))]
    every: Span,
    /// An answer later than this is none.
    #[schemars(extend("default" = "2s"))]
    timeout: Span,
    /// That many failures in a row turn a yes into a no.
    #[schemars(range(min = 1), extend("default" = 3))]
    failures: u32,
    /// That many successes in a row turn a no into a yes.
    #[schemars(range(min = 1), extend("default" = 1))]
    successes: u32,
    /// For `http`: the statuses that are good, one or a range.
    #[schemars(extend("default" = "200-399"))]
    status: StatusText,
    /// For `http`: further headers.
    #[schemars(extend("default" = {}))]
    headers: BTreeMap<String, Templated>,
    /// For `http`: whether the certificate of an `https` address is checked.
    #[schemars(extend("default" = true))]
    tls_verify: bool,
    /// For `grpc`: the service that is asked about; empty: the server as a whole.
    #[schemars(extend("default" = ""))]
    service: Templated,
}

/// What the processes of an instance may use together at most. Left out: as much as there is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitKeys {
    /// Memory of the whole tree.
    #[schemars(extend("examples" = ["512MiB"]))]
    pub memory: Option<Size>,
    /// Processor time of the whole tree; `"150%"` is one and a half processors.
    #[schemars(extend("examples" = ["150%"]))]
    pub cpu: Option<Percent>,
    /// Processes and threads of the whole tree.
    #[schemars(range(min = 1))]
    pub processes: Option<u64>,
    /// Open files of each process. Not on Windows.
    #[schemars(range(min = 1))]
    pub open_files: Option<u64>,
    /// Size of a core file of each process; `"0"`: none is written. Not on Windows.
    pub core: Option<Size>,
    /// Standing against other programs.
    #[schemars(extend("default" = "normal"))]
    pub priority: Option<PriorityKey>,
}

/// Standing against other programs.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityKey {
    /// Only what nobody else wants.
    Idle,
    /// Below the others.
    Low,
    /// As the others.
    Normal,
    /// Above the others.
    High,
}

/// What the processes of a service may not do. Linux only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityKeys {
    /// They never gain a right by running another program.
    #[schemars(extend("default" = false))]
    pub no_new_privileges: Option<bool>,
    /// The only capabilities that they keep; left out: what their account has.
    #[schemars(extend("examples" = [["NET_BIND_SERVICE"]]))]
    pub capabilities: Option<Vec<String>>,
    /// Folders that they cannot write to.
    #[schemars(extend("default" = [], "examples" = [["/"]]))]
    pub read_only_paths: Option<Vec<String>>,
    /// Folders within those that they can write to.
    #[schemars(extend("default" = [], "examples" = [["data"]]))]
    pub writable_paths: Option<Vec<String>>,
}

/// Where and how output is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogKeys {
    /// The folder of the files, relative to the spec's folder; left out: the guard's own log folder.
    pub dir: Option<String>,
    /// The form of the files: lines as the program wrote them, or records in JSON.
    #[schemars(extend("default" = "raw"))]
    pub format: Option<FormatKey>,
    /// Whether each line gets a timestamp and the name of its stream. Records in JSON always have both.
    #[schemars(extend("default" = true))]
    pub timestamps: Option<bool>,
    /// A larger file is rotated; `"0"`: never by size.
    #[schemars(extend("default" = "50MiB"))]
    pub rotate_size: Option<Size>,
    /// An older file is rotated; left out or `"0s"`: never by age.
    #[schemars(extend("examples" = ["1d"]))]
    pub rotate_every: Option<Span>,
    /// How many rotated files are kept.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 10))]
    pub keep: Option<u32>,
    /// How long a rotated file is kept; left out or `"0s"`: for ever, as far as `keep` allows.
    #[schemars(extend("examples" = ["30d"]))]
    pub keep_for: Option<Span>,
    /// How rotated files are compressed, in the background. `tutela logs` reads them like the others.
    #[schemars(extend("default" = "none"))]
    pub compress: Option<CompressKey>,
    /// Which lines belong together as one record, in JSON files and in sinks; left out: each line is one.
    pub multiline: Option<MultilineKeys>,
    /// Regular expressions, beside those of `[logs]`: what they match in the output becomes `***` before it is written or shown; of one with groups, what its groups match.
    #[schemars(extend("default" = [], "examples" = [["(?i)bearer ([a-z0-9._~+/-]+)"]]))]
    pub redact: Option<Vec<String>>,
    /// The mode of the files, in octal; left out: what the guard's umask leaves. Not on Windows.
    #[schemars(extend("examples" = ["0640"]))]
    pub mode: Option<String>,
    /// The account that owns the files; left out: the guard's. Only root can give files away. Not on Windows.
    #[schemars(extend("examples" = ["shop"]))]
    pub owner: Option<String>,
    /// The group of the files; left out: the guard's. Not on Windows.
    #[schemars(extend("examples" = ["adm"]))]
    pub group: Option<String>,
}

/// The form of log files.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatKey {
    /// Lines as the program wrote them.
    Raw,
    /// A record in JSON per line: `timestamp`, `stream`, `level`, `service_name`, `instance`, `host`, `host_ip`, `message`, and what the program's own JSON says.
    Json,
}

/// How rotated files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompressKey {
    /// Not at all.
    None,
    /// With Zstandard: small and fast; `zstd -d` and `zstdcat` read it.
    Zstd,
    /// With gzip, for tools that know nothing else; `gzip -d` and `zcat` read it.
    Gzip,
}

/// Commands around a program's life. Each key has a list of them: `["./migrate", "./warm-up --quick"]` are two commands,
/// and `{ command = […], timeout = "5m" }` is one with a deadline of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HookKeys {
    /// One after the other before each start; a failing one fails the start.
    #[schemars(extend("default" = [], "examples" = [["./migrate"]]))]
    pub before_start: Option<HookList>,
    /// After it became ready.
    #[schemars(extend("default" = []))]
    pub after_ready: Option<HookList>,
    /// Before a wanted stop.
    #[schemars(extend("default" = []))]
    pub before_stop: Option<HookList>,
    /// After each end, with `TUTELA_EXIT_CODE` or `TUTELA_EXIT_SIGNAL`.
    #[schemars(extend("default" = [], "examples" = [["./report"]]))]
    pub after_exit: Option<HookList>,
}

/// Where alerts go; exactly one of `webhook`, `command`, `email` says how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertKeys {
    /// The address of an HTTP POST with a JSON body: `http://` or `https://`, or a secret that has it: `secret://file/PATH`.
    #[schemars(extend("examples" = ["https://ops.example/hook"]))]
    pub webhook: Option<String>,
    /// For `webhook`: further headers; a value may be a secret, such as `secret://file/PATH`.
    #[schemars(extend("default" = {}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// A command, with the alert as JSON on its standard input and as `TUTELA_ALERT_*` variables.
    pub command: Option<CommandText>,
    /// A mail.
    pub email: Option<EmailKeys>,
    /// Which occasions.
    #[schemars(extend("default" = ["cooldown", "half_open_failed", "failed", "recovered"]))]
    pub on: Option<Vec<OccasionKey>>,
}

/// A mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailKeys {
    /// The relay: `smtp://[user:password@]host:port`, or `smtps://…`, or a secret that has it: `secret://file/PATH`. Needed.
    pub smtp: String,
    /// The sender. Needed.
    pub from: String,
    /// The receivers; at least one. Needed.
    pub to: Vec<String>,
}

/// What an alert can be about.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OccasionKey {
    /// A crash loop was stopped; the service waits.
    Cooldown,
    /// The single try after a cool-down failed.
    HalfOpenFailed,
    /// The single try after a cool-down held.
    Recovered,
    /// A program ended against the policy's wish.
    Crashed,
    /// A service failed and will not be tried again by itself.
    Failed,
    /// A dependency check fails.
    Degraded,
    /// A live probe failed; the service is restarted.
    Unhealthy,
    /// Processes resisted a stop.
    Resisted,
    /// A sink's receiver does not take what it is sent.
    SinkFailing,
    /// The disk refuses output, which is dropped. Of several services that this happens to at once, the first tells.
    LogsFailing,
}
