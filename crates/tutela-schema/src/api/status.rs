//! What is observed: the body of `/v1/status` and of `tutela status --json`.

use super::upgrade::UpgradeInfo;
use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything that is known about the guards that were asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    /// The guards. One guard's own API gives one; `tutela status` gathers them.
    pub guards: Vec<GuardStatus>,
}

/// One guard and its services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuardStatus {
    /// Its name.
    pub name: String,
    /// The version of Tutela it runs.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub since: WallTime,
    /// What started it.
    pub host: Host,
    /// What this computer lets it do.
    pub capabilities: Vec<CapabilityStatus>,
    /// Its services, by name.
    pub services: Vec<ServiceStatus>,
    /// Where their output goes beside the files, by name.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
}

/// A sink: where output goes beside the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// The key of its way in the spec: `http`, `syslog`, ….
    pub way: String,
    /// Whether its receiver takes what it is sent.
    pub state: SinkState,
    /// Since when, or since when the guard runs.
    pub since: WallTime,
    /// Records that the receiver took since the sink came into the spec.
    pub records: u64,
    /// Bytes of their messages and fields.
    pub bytes: u64,
    /// Records that the sink's rules left out.
    pub left_out: u64,
    /// What did not arrive and should have.
    pub dropped: SinkDrops,
    /// When it last dropped something; null: not since the guard runs.
    #[serde(default)]
    pub last_drop: Option<WallTime>,
    /// Bytes that it is behind, as of the last look.
    pub backlog_bytes: u64,
    /// The last thing that went wrong, for people; null: all is well.
    pub last_error: Option<String>,
    /// When the receiver last said yes to this guard; null: not yet.
    pub last_delivery: Option<WallTime>,
}

/// Whether a sink's receiver takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It does, as far as is known.
    Up,
    /// It does not; it is tried again and again.
    Failing,
}

/// What a sink dropped, since it came into the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SinkDrops {
    /// Lines that were left out because it was further behind than its `buffer`.
    pub overflow: u64,
    /// Lines whose files were removed before they were read; where nobody knows how many, one for each such place.
    pub lost: u64,
    /// Records that the receiver refused for good.
    pub refused: u64,
}

/// What started a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// systemd, as a unit.
    Systemd,
    /// The Service Control Manager of Windows.
    Scm,
    /// launchd of macOS.
    Launchd,
    /// Nobody: it is process 1 itself, as in a container.
    Init,
    /// A person or another program, in the foreground.
    Foreground,
}

/// Something that a guard can do here, or cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilityStatus {
    /// What it is about, such as `memory_limit`.
    pub name: String,
    /// Whether it can be relied on.
    pub holds: bool,
    /// How it is done, or why it cannot be.
    pub detail: String,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// The least fortunate state of its instances.
    pub state: State,
    /// The least fortunate health of its instances.
    pub health: Health,
    /// Its copies, by number.
    pub instances: Vec<InstanceStatus>,
    /// What the spec says about it.
    #[serde(default)]
    pub description: String,
    /// The services it needs.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceStatus {
    /// Its name, such as `api:0`.
    pub id: String,
    /// What it does.
    pub state: State,
    /// How it does.
    pub health: Health,
    /// The main process of its program; null when none runs.
    pub pid: Option<u32>,
    /// Since when it is in this state.
    pub since: WallTime,
    /// Restarts since the first start ever.
    pub restarts: u64,
    /// Why it is in this state, for people.
    pub cause: String,
    /// What happens next by itself; null when nothing does.
    pub next: Option<NextStep>,
    /// How its program last ended; null when it never did.
    pub last_exit: Option<LastExit>,
    /// What the program says about itself; null when it says nothing.
    #[serde(default)]
    pub status_text: Option<String>,
    /// What its processes use; null when none runs or it cannot be known.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Its probes and dependency checks.
    #[serde(default)]
    pub probes: Vec<ProbeStatus>,
}

/// What will happen by itself, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextStep {
    /// What, for people: `restart`, `half-open try`, `signal KILL`.
    pub what: String,
    /// When; null when it waits for something else than time.
    pub at: Option<WallTime>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastExit {
    /// Its exit code; null when a signal ended it, or it cannot be known.
    pub code: Option<i32>,
    /// The signal that ended it, named without `SIG`.
    pub signal: Option<String>,
    /// When.
    pub at: WallTime,
}

/// What the processes of an instance use together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Processor time since the program started, in seconds; null: not known.
    pub cpu_seconds: Option<f64>,
    /// Memory in bytes; null: not known.
    pub memory_bytes: Option<u64>,
    /// Processes; null: not known.
    pub processes: Option<u64>,
    /// Threads; null: not known.
    #[serde(default)]
    pub threads: Option<u64>,
    /// Open files; null: not known.
    pub open_files: Option<u64>,
}

/// One probe and its last answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeStatus {
    /// `startup`, `ready`, `live`, or the name of a dependency.
    pub name: String,
    /// What its answer is used for.
    pub role: ProbeRole,
    /// What it says, thresholds applied.
    pub verdict: Verdict,
    /// Since when; null when it was never asked.
    pub since: Option<WallTime>,
    /// The last failure, for people; null when there was none.
    pub last_error: Option<String>,
    /// How long the last answer took, in milliseconds.
    pub latency_ms: Option<f64>,
}

/// What a probe's answer is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeRole {
    /// Until it passes, the other probes wait.
    Startup,
    /// Whether the program can do its work.
    Ready,
    /// Whether the program still lives.
    Live,
    /// Whether something else that it depends on works.
    Dependency,
}

/// What a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Pass,
    /// No.
    Fail,
    /// It has not been asked often enough.
    Unknown,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing runs, and nothing will by itself.
    Stopped,
    /// It will start once what it needs is ready.
    Waiting,
    /// Its program was started and is not ready yet.
    Starting,
    /// Its program runs and, where it is asked, said that it is ready.
    Running,
    /// Its program was asked to stop.
    Stopping,
    /// Its program ended; it waits for the next try.
    Backoff,
    /// It ended too often; it waits for the single half-open try.
    Cooldown,
    /// It ended against the spec's wish and will not be tried again by itself.
    Failed,
    /// It ended as the spec wished.
    Done,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [State; 9] = [
        State::Stopped,
        State::Waiting,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Backoff,
        State::Cooldown,
        State::Failed,
        State::Done,
    ];

    /// The word that is serialised.
    pub const fn word(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Waiting => "waiting",
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Backoff => "backoff",
            State::Cooldown => "cooldown",
            State::Failed => "failed",
            State::Done => "done",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How something does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// It works, and something it depends on does not.
    Degraded,
    /// It was stopped on purpose.
    OutOfService,
    /// It cannot be known yet.
    Unknown,
}

impl Health {
    /// The word that is serialised.
    pub const fn word(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Down => "down",
            Health::Degraded => "degraded",
            Health::OutOfService => "out_of_service",
            Health::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a guard is: the body of `/v1/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuardInfo {
    /// Its name.
    pub name: String,
    /// What the spec says about it.
    pub description: String,
    /// The version of Tutela it runs.
    pub version: String,
    /// The version of the API: 1 for `/v1`.
    pub api: u32,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub since: WallTime,
    /// What started it.
    pub host: Host,
    /// The operating system: `linux`, `windows`, `macos`.
    pub os: String,
    /// The spec file; null for `tutela run -- PROGRAM`.
    pub spec: Option<String>,
    /// The profile that the spec was read with.
    pub profile: Option<String>,
    /// Where its logs are.
    pub logs_dir: String,
    /// Where its state is.
    pub state_dir: String,
    /// The names of its services.
    pub services: Vec<String>,
    /// What this computer lets it do.
    pub capabilities: Vec<CapabilityStatus>,
    /// The upgrade by which this guard's program came to be the one that runs, or did not; null: there was none.
    #[serde(default)]
    pub upgrade: Option<UpgradeInfo>,
}
