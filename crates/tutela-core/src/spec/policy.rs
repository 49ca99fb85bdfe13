//! How a service is kept: what can change while its program runs.

use super::Command;
use crate::template::Template;
use std::fmt;
use std::time::Duration;

/// When a service starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum StartMode {
    /// With the guard.
    #[default]
    Auto,
    /// With the guard, once those that start at once have settled.
    Delayed,
    /// When somebody says so, or another service needs it.
    Manual,
    /// Never, not even when somebody says so.
    Disabled,
}

/// After which ends a program is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RestartWhen {
    /// After every end.
    #[default]
    Always,
    /// After every end but a success.
    OnFailure,
    /// After none.
    Never,
}

/// What happens after a program ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// After which ends it is started again.
    pub when: RestartWhen,
    /// Exit codes that are a success.
    pub success_codes: Vec<i32>,
    /// The wait before the first restart.
    pub delay: Duration,
    /// By how much each further wait is longer; at least 1.
    pub factor: f64,
    /// No wait is longer.
    pub max_delay: Duration,
    /// The part of a wait that is left to chance, 0 to 1.
    pub jitter: f64,
    /// A run this long clears the wait and the window.
    pub reset_after: Duration,
    /// More than this many restarts within [`RestartPolicy::within`] are a crash loop; 0: never.
    pub burst: u32,
    /// The window in which restarts are counted.
    pub within: Duration,
    /// The wait after a crash loop, before the single half-open try.
    pub cooldown: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            when: RestartWhen::Always,
            success_codes: vec![0],
            delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(60),
            jitter: 0.1,
            reset_after: Duration::from_secs(300),
            burst: 3,
            within: Duration::from_secs(60),
            cooldown: Duration::from_secs(300),
        }
    }
}

/// One step of asking a program to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LadderStep {
    /// What is done.
    pub step: StopStep,
    /// How long it may work before the next step.
    pub wait: Duration,
}

/// The ways to ask a program to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopStep {
    /// Run a command, such as `redis-cli shutdown`.
    Command(Command),
    /// Send a signal, named without `SIG`, to the main process. Not on Windows.
    Signal(String),
    /// Press Ctrl-C. Elsewhere than on Windows: SIGINT.
    CtrlC,
    /// Press Ctrl-Break. Elsewhere than on Windows: SIGINT.
    CtrlBreak,
    /// Close its windows. Elsewhere than on Windows: SIGTERM.
    CloseWindow,
    /// End the whole tree.
    Kill,
}

impl fmt::Display for StopStep {
    /// As events name it. Of a command only the program: what follows may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopStep::Command(command) => match command.words.first() {
                Some(program) => write!(f, "command {program}"),
                None => f.write_str("command"),
            },
            StopStep::Signal(name) => write!(f, "signal {name}"),
            StopStep::CtrlC => f.write_str("ctrl-c"),
            StopStep::CtrlBreak => f.write_str("ctrl-break"),
            StopStep::CloseWindow => f.write_str("close-window"),
            StopStep::Kill => f.write_str("kill"),
        }
    }
}

/// A question asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// What is asked.
    pub target: ProbeTarget,
    /// The wait before the first question.
    pub delay: Duration,
    /// From one question to the next.
    pub every: Duration,
    /// An answer later than this is none. At most [`ProbeSpec::every`] where both are given.
    pub timeout: Duration,
    /// That many failures in a row turn a yes into a no; at least 1.
    pub failures: u32,
    /// That many successes in a row turn a no into a yes; at least 1.
    pub successes: u32,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeTarget {
    /// A GET that answers with a good status.
    Http {
        /// `http://` or `https://`.
        url: Template,
        /// The statuses that are good.
        status: StatusRange,
        /// Further headers.
        headers: Vec<(String, Template)>,
        /// Whether the certificate of an `https` address is checked.
        tls_verify: bool,
    },
    /// A connection that is accepted: `host:port`.
    Tcp(Template),
    /// A program that exits 0, run as the service's account in the service's folder.
    Exec(Command),
    /// The standard gRPC health service, version 1.
    Grpc {
        /// `host:port`, or `https://host:port` for TLS.
        address: Template,
        /// The service asked about; empty: the server as a whole.
        service: Template,
    },
    /// A line of output that matches a regular expression.
    Log(String),
    /// What the program says over the notify socket: `READY=1` for ready and startup, `WATCHDOG=1` for live.
    Notify,
}

/// The kinds of [`ProbeTarget`], for words and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// HTTP or HTTPS.
    Http,
    /// TCP.
    Tcp,
    /// A program.
    Exec,
    /// gRPC health version 1.
    Grpc,
    /// A pattern in the output.
    Log,
    /// The notify socket.
    Notify,
}

impl ProbeTarget {
    /// Its kind.
    pub const fn kind(&self) -> ProbeKind {
        match self {
            ProbeTarget::Http { .. } => ProbeKind::Http,
            ProbeTarget::Tcp(_) => ProbeKind::Tcp,
            ProbeTarget::Exec(_) => ProbeKind::Exec,
            ProbeTarget::Grpc { .. } => ProbeKind::Grpc,
            ProbeTarget::Log(_) => ProbeKind::Log,
            ProbeTarget::Notify => ProbeKind::Notify,
        }
    }

    /// Whether we wait to be told instead of asking.
    pub const fn is_passive(&self) -> bool {
        matches!(self.kind(), ProbeKind::Log | ProbeKind::Notify)
    }
}

/// HTTP statuses from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest good status.
    pub first: u16,
    /// The highest good status.
    pub last: u16,
}

impl Default for StatusRange {
    /// As Kubernetes has it: 200 to 399.
    fn default() -> Self {
        StatusRange { first: 200, last: 399 }
    }
}

/// A probe of something the service depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyCheck {
    /// Its name, unique in its service.
    pub name: String,
    /// The question.
    pub probe: ProbeSpec,
}

/// Commands around a program's life. They run as its account, in its folder, with its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// One after the other before each start; a failing one fails the start.
    pub before_start: Vec<Hook>,
    /// After it became ready.
    pub after_ready: Vec<Hook>,
    /// Before a wanted stop.
    pub before_stop: Vec<Hook>,
    /// After each end, with `TUTELA_EXIT_CODE` or `TUTELA_EXIT_SIGNAL`.
    pub after_exit: Vec<Hook>,
}

/// One command with its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What is run.
    pub command: Command,
    /// It is ended when it takes longer.
    pub timeout: Duration,
}
