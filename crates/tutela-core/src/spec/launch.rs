//! How a program is started: what can only change with a new start.

use super::Env;
use crate::template::Template;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A program and its arguments. Never run by a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program first, then its arguments; never empty.
    pub words: Vec<Template>,
}

impl Command {
    /// The words for instance `index`.
    pub fn render(&self, index: u16) -> Vec<String> {
        self.words.iter().map(|word| word.render(index)).collect()
    }
}

/// Everything that a program gets at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What is run. A first word with a path separator is relative to the spec's folder; one without is
    /// looked for on the `PATH` that the program will have.
    pub command: Command,
    /// Its working folder; absolute.
    pub cwd: PathBuf,
    /// Its whole environment, the guard's own included where the spec lets it through.
    pub env: Env,
    /// Variables whose values are secrets: a reference for each (see [`super::SecretSource`]), read anew at every start.
    /// None of them is in `env`.
    pub secrets: BTreeMap<Arc<str>, Template>,
    /// The account it runs under; `None`: the guard's.
    pub user: Option<String>,
    /// The group it runs under; `None`: the user's first.
    pub group: Option<String>,
    /// File mode bits that its new files do not get; `None`: the guard's.
    pub umask: Option<u32>,
    /// What is taken from it.
    pub security: Security,
}

/// What a program may not do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// It and its descendants never gain a right by running another program.
    pub no_new_privileges: bool,
    /// The only capabilities it keeps; `None`: what its account has.
    pub capabilities: Option<Vec<Capability>>,
    /// Folders that are read-only for it.
    pub read_only_paths: Vec<PathBuf>,
    /// Folders within those that it may write to.
    pub writable_paths: Vec<PathBuf>,
}

/// A Linux capability, named without `CAP_`: `NET_BIND_SERVICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// The capabilities in the order of their numbers in the kernel's interface.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capability {
    /// The capability of this name, with or without `CAP_`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = CAPABILITIES.iter().position(|known| *known == bare)?;
        u8::try_from(number).ok().map(Capability)
    }

    /// Every name, for help and near matches.
    pub fn names() -> &'static [&'static str] {
        &CAPABILITIES
    }

    /// The kernel's number for it.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name, without `CAP_`.
    pub fn name(self) -> &'static str {
        CAPABILITIES[usize::from(self.0)]
    }
}

/// What a service's tree may use at most. `None`: no limit of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory of the whole tree.
    pub memory: Option<u64>,
    /// Processor time of the whole tree in percent of one core: 150 is one and a half.
    pub cpu_percent: Option<u32>,
    /// Processes and threads of the whole tree.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Size of a core file of each process, in bytes.
    pub core: Option<u64>,
    /// Standing against other programs.
    pub priority: Priority,
}

/// Standing against other programs, in the words that both OS families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Only what nobody else wants. Linux: nice 19; Windows: idle.
    Idle,
    /// Below the others. Linux: nice 10; Windows: below normal.
    Low,
    /// As the others.
    #[default]
    Normal,
    /// Above the others. Linux: nice -5; Windows: above normal.
    High,
}
