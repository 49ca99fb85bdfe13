//! What the operator wants, validated and total: no key is missing here, every default is filled in.
//!
//! `tutela-schema` makes these from a spec file; machines and plans read them and trust them. Nothing
//! here can be serialised: the text of a spec is the schema's business.

mod api;
mod env;
mod install;
mod launch;
mod logs;
mod metrics;
mod policy;
mod secret;
mod sink;
mod traces;

pub use api::{API_RATE, ApiCertificate, ApiDoor, ApiSpec, ApiTls, ApiToken};
pub use env::{Env, Shared};
pub use install::{InstallAccount, InstallSpec, OpenPort};
pub use launch::{Capability, Command, Launch, Limits, Priority, Security};
pub use logs::{LogForm, MultilineRule, MultilineSpec, Redaction};
pub use metrics::{MetricsPush, MetricsSpec, PUSH_EVERY, PUSH_TIMEOUT};
pub use policy::{
    DependencyCheck, Hook, Hooks, LadderStep, ProbeKind, ProbeSpec, ProbeTarget, RestartPolicy, RestartWhen, StartMode,
    StatusRange, StopStep,
};
pub use secret::{BadSecret, SECRET_KINDS, SECRET_SCHEME, SecretSource};
pub use sink::{OtlpProtocol, Overflow, SinkSpec, SinkWay, SyslogTransport, TlsSpec};
pub use traces::{TracesPush, TracesSpec};

use crate::names::{Name, ServiceName};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The variables by which a service manager, or an operator with a token, talks to *us*. None of them may reach a
/// program: it would speak in our name, take sockets for its own, or watch our memory for its own.
pub const HOST_VARIABLES: [&str; 15] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "MAINPID",
    "MAINPIDFDID",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "JOURNAL_STREAM",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    TOKEN_VARIABLE,
];

/// The variable that the command line takes a token for the control API of another computer from.
pub const TOKEN_VARIABLE: &str = "TUTELA_TOKEN";

/// One spec file: what one guard keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSpec {
    /// The guard's name, and the OS service's.
    pub name: Name,
    /// For people.
    pub description: String,
    /// The services by name. Their needs exist and have no cycle.
    pub services: BTreeMap<ServiceName, Arc<ServiceSpec>>,
    /// Where alerts go, by name.
    pub alerts: BTreeMap<Name, AlertSpec>,
    /// Where its figures go.
    pub metrics: MetricsSpec,
    /// Where traces of what it does go. Can change while the guard runs.
    pub traces: TracesSpec,
    /// Where output goes beside the files, by name. What this OS does not have is not among them.
    pub sinks: BTreeMap<Name, SinkSpec>,
    /// How many bytes all log files may take; `None`: as many as there are.
    pub log_budget: Option<u64>,
    /// How it becomes a service of the OS.
    pub install: InstallSpec,
    /// How the record of who did what is kept. Can change while the guard runs.
    pub audit: AuditPolicy,
    /// What is masked in the output of every service. Can change while the guard runs.
    pub redaction: Redaction,
    /// Whether programs outlive the guard's death, where the OS can do it. Holds from the guard's start on.
    pub survive: bool,
    /// Where the control API listens beside the control socket. Can change while the guard runs.
    pub api: ApiSpec,
}

/// How the record of who did what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPolicy {
    /// An entry older than this is removed, with its whole file; never nothing.
    pub keep_for: Duration,
}

impl Default for AuditPolicy {
    /// Half a year.
    fn default() -> Self {
        AuditPolicy { keep_for: Duration::from_secs(180 * 24 * 60 * 60) }
    }
}

impl GuardSpec {
    /// A guard that keeps these services and does nothing beside it: every other table of a spec as if it were left out.
    pub fn of(name: Name, services: BTreeMap<ServiceName, Arc<ServiceSpec>>) -> Self {
        GuardSpec {
            name,
            description: String::new(),
            services,
            alerts: BTreeMap::new(),
            metrics: MetricsSpec::default(),
            traces: TracesSpec::default(),
            redaction: Redaction::default(),
            sinks: BTreeMap::new(),
            log_budget: None,
            install: InstallSpec::default(),
            audit: AuditPolicy::default(),
            survive: true,
            api: ApiSpec::default(),
        }
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// For people.
    pub description: String,
    /// How its program is started.
    pub launch: Launch,
    /// What must be ready before it starts, and stops only after it.
    pub needs: Vec<ServiceName>,
    /// How many copies run; at least 1.
    pub instances: u16,
    /// When it starts by itself.
    pub start: StartMode,
    /// How long a start may take until it is ready; `None`: for ever.
    pub start_timeout: Option<Duration>,
    /// What happens after its program ended.
    pub restart: RestartPolicy,
    /// How its program is asked to stop; the last step ends the tree.
    pub stop: Vec<LadderStep>,
    /// Until it passes, the other probes wait.
    pub startup: Option<ProbeSpec>,
    /// Whether it can do its work.
    pub ready: Option<ProbeSpec>,
    /// Whether it still lives; when not, it is restarted.
    pub live: Option<ProbeSpec>,
    /// What it depends on elsewhere; a failing one degrades it and restarts nothing.
    pub dependencies: Vec<DependencyCheck>,
    /// Commands around its life.
    pub hooks: Hooks,
    /// What it may use. Can change while it runs.
    pub limits: Limits,
    /// Where its output goes. Can change while it runs.
    pub logs: LogPolicy,
}

/// Where and how output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPolicy {
    /// The folder of the files; `None`: the guard's own log folder.
    pub dir: Option<PathBuf>,
    /// What the files consist of.
    pub form: LogForm,
    /// Which lines belong together, where records are made of them; `None`: each is a record.
    pub multiline: Option<MultilineSpec>,
    /// Regular expressions: what they match is masked, beside what the guard masks everywhere.
    pub redact: Vec<String>,
    /// A file larger than this many bytes is rotated; `None`: never by size.
    pub rotate_size: Option<u64>,
    /// A file older than this is rotated; `None`: never by age.
    pub rotate_every: Option<Duration>,
    /// How many rotated files are kept.
    pub keep: u32,
    /// How long a rotated file is kept; `None`: for ever.
    pub keep_for: Option<Duration>,
    /// How rotated files are compressed.
    pub compress: Compression,
    /// The mode of the files; `None`: what the guard makes files with.
    pub mode: Option<u32>,
    /// The account that owns the files; `None`: the guard's.
    pub owner: Option<String>,
    /// The group of the files; `None`: the guard's, or the owner's first one.
    pub group: Option<String>,
}

impl LogPolicy {
    /// Files of this form in the guard's own folder, never rotated but where somebody asks, and then none of them kept.
    pub fn of(form: LogForm) -> Self {
        LogPolicy {
            dir: None,
            form,
            multiline: None,
            redact: Vec::new(),
            rotate_size: None,
            rotate_every: None,
            keep: 0,
            keep_for: None,
            compress: Compression::None,
            mode: None,
            owner: None,
            group: None,
        }
    }
}

/// How rotated files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// They stay as they are.
    #[default]
    None,
    /// With zstd; the name ends in `.zst`.
    Zstd,
    /// With gzip; the name ends in `.gz`.
    Gzip,
}

impl Compression {
    /// Those that change a file.
    pub const ALL: [Compression; 2] = [Compression::Zstd, Compression::Gzip];

    /// What the name of a file has more for it.
    pub const fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Zstd => ".zst",
            Compression::Gzip => ".gz",
        }
    }

    /// The word in spec files.
    pub const fn word(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
        }
    }
}

/// Where an alert goes, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertSpec {
    /// Its name.
    pub name: Name,
    /// The way.
    pub way: AlertWay,
    /// Which occasions; never empty.
    pub on: Vec<Occasion>,
}

/// The way an alert takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertWay {
    /// An HTTP POST with a JSON body.
    Webhook {
        /// `http://` or `https://`.
        url: String,
        /// Further headers.
        headers: BTreeMap<String, String>,
    },
    /// A program, with the alert as JSON on its standard input and as `TUTELA_ALERT_*` variables.
    Command(Command),
    /// A mail.
    Email {
        /// The relay: `smtp://[user:password@]host:port` or `smtps://…`.
        smtp: String,
        /// The sender.
        from: String,
        /// The receivers; at least one.
        to: Vec<String>,
    },
}

/// What an alert can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Occasion {
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
    /// The disk refuses output, which is dropped.
    LogsFailing,
}

impl Occasion {
    /// Every occasion, for help texts and schemas.
    pub const ALL: [Occasion; 10] = [
        Occasion::Cooldown,
        Occasion::HalfOpenFailed,
        Occasion::Recovered,
        Occasion::Crashed,
        Occasion::Failed,
        Occasion::Degraded,
        Occasion::Unhealthy,
        Occasion::Resisted,
        Occasion::SinkFailing,
        Occasion::LogsFailing,
    ];

    /// The word in spec files and alert bodies.
    pub const fn word(self) -> &'static str {
        match self {
            Occasion::Cooldown => "cooldown",
            Occasion::HalfOpenFailed => "half_open_failed",
            Occasion::Recovered => "recovered",
            Occasion::Crashed => "crashed",
            Occasion::Failed => "failed",
            Occasion::Degraded => "degraded",
            Occasion::Unhealthy => "unhealthy",
            Occasion::Resisted => "resisted",
            Occasion::SinkFailing => "sink_failing",
            Occasion::LogsFailing => "logs_failing",
        }
    }
}
