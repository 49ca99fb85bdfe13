//! Touches. The one room in which Tutela speaks to the operating system: the only `unsafe` code and the only
//! conditions on the OS.
//!
//! The public modules speak intent (`spawn`, `signal`, `kill the tree`, `listen`) and have no conditions: a
//! caller cannot tell which OS compiled it, except by asking [`Os::CURRENT`]. One switch below selects a
//! folder per OS; the folders have the same file names. What an OS cannot do is a value,
//! [`Unsupported`], which the user gets to see; nothing here pretends.
//!
//! In reading order:
//! - [`process`]: starting programs, hearing of their end, holding and ending whole process trees;
//! - [`signals`]: what the OS and the operator ask of the guard itself;
//! - [`clock`]: the one suspend-aware clock, and an alarm on it;
//! - [`endpoint`]: the control socket and who is at its other end;
//! - [`notify`]: readiness messages from programs, and to the service manager that started the guard;
//! - [`safe`]: what holds on to descriptors when the guard is gone;
//! - [`succession`]: how another program takes the guard's place in its process;
//! - [`pipe`], [`files`], [`paths`], [`accounts`], [`access`]: bytes, folders, people, and who may do what;
//! - [`lasting`], [`sluice`]: memory and pipes that outlive the guard;
//! - [`host`]: who started this process, and serving Windows' service control manager;
//! - [`eventlog`]: the log of the OS;
//! - [`tcp`]: what a connection has not yet got rid of;
//! - [`secret`]: values that are read when they are needed, and wiped;
//! - [`registration`]: a place among the services of the OS;
//! - [`blocking`]: threads for what may wait;
//! - [`usage`], [`limits`], [`memory`], [`terminal`], [`capabilities`]: the guard's own household.
//!
//! Deliberately absent: policy. When something is done, and how often, is decided in `tutela-core` and
//! carried out by `tutela`.
#![expect(unsafe_code, reason = "this crate is the one place where system calls without a safe wrapper are made")]

pub mod access;
pub mod accounts;
pub mod background;
pub mod blocking;
pub mod capabilities;
pub mod clock;
pub mod endpoint;
mod error;
pub mod eventlog;
pub mod files;
pub mod handle;
pub mod host;
pub mod lasting;
pub mod limits;
pub mod memory;
pub mod notify;
pub mod paths;
pub mod pipe;
pub mod process;
pub mod registration;
pub mod safe;
pub mod secret;
pub mod signals;
pub mod sluice;
pub mod succession;
pub mod tcp;
pub mod terminal;
pub mod usage;

pub use error::{Error, Unsupported};

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(windows)]
#[path = "windows/mod.rs"]
mod platform;

#[cfg(target_os = "macos")]
#[path = "macos/mod.rs"]
mod platform;

#[cfg(unix)]
mod unix;

#[cfg(any(target_os = "macos", windows))]
mod absent;

#[cfg(not(any(target_os = "linux", windows, target_os = "macos")))]
compile_error!("Tutela runs on Linux, Windows and macOS; this target has no folder in tutela-os");

/// An operating system that Tutela knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// Linux, any distribution.
    Linux,
    /// Windows and Windows Server.
    Windows,
    /// macOS.
    MacOs,
}

impl Os {
    /// The one that this program was built for.
    pub const CURRENT: Os = platform::OS;

    /// Its word in spec files: `linux`, `windows` or `macos`.
    pub const fn name(self) -> &'static str {
        match self {
            Os::Linux => "linux",
            Os::Windows => "windows",
            Os::MacOs => "macos",
        }
    }
}
