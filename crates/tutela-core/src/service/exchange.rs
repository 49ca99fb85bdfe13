//! What goes out of the machine and what a program says into it: closed lists, so that a hand that lacks an
//! answer does not compile.

use super::{Cause, Exit, HookKind, HookOutcome, ProbeRole, ProbeSlot, StateName, Survivor};
use crate::names::RunId;
use crate::spec::StopStep;
use crate::time::Moment;
use std::time::Duration;

/// What the hands are to do for an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start the program. Answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// The run that begins.
        run: RunId,
    },
    /// Ask the main process to end. No answer is owed, but `Undelivered` where it is certain that the request
    /// reached nobody.
    Ask {
        /// Whom.
        run: RunId,
        /// Which rung of the ladder this is: no two requests of a run have the same.
        rung: usize,
        /// How. Never [`StopStep::Kill`].
        step: StopStep,
    },
    /// Tell when nothing of the run's tree is left (`TreeEmpty`), or who is (`TreeLeft`, once).
    Sweep {
        /// Whose tree.
        run: RunId,
    },
    /// Ask what is left of the tree, all of it, to end.
    AskTree {
        /// Whose tree.
        run: RunId,
    },
    /// End the whole tree by force. Answer `TreeKilled` with those who were there, then `TreeEmpty`.
    EndTree {
        /// Whose tree.
        run: RunId,
    },
    /// Run a hook. Answer with `HookDone`, whatever happens.
    RunHook {
        /// The run it belongs to.
        run: RunId,
        /// Which.
        kind: HookKind,
        /// Which of that kind.
        index: usize,
        /// It is ended when it takes longer.
        timeout: Duration,
    },
    /// End the hook that runs. Its `HookDone` is still owed.
    CancelHook {
        /// The run it belongs to.
        run: RunId,
    },
    /// Ask a probe's question. Answer with `Answer` within its timeout.
    Probe {
        /// The run it belongs to.
        run: RunId,
        /// Which probe.
        slot: ProbeSlot,
        /// Which question.
        attempt: u64,
        /// How long the answer may take.
        timeout: Duration,
    },
    /// Hold every process of the tree still.
    Freeze {
        /// Whose tree.
        run: RunId,
    },
    /// Let them go on.
    Thaw {
        /// Whose tree.
        run: RunId,
    },
    /// Put the spec's limits on the living tree.
    ApplyLimits {
        /// Whose tree.
        run: RunId,
    },
    /// The run is over: forget its tree and close its output.
    Release {
        /// Which run.
        run: RunId,
    },
}

/// A fact to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The state changed.
    State {
        /// From.
        from: StateName,
        /// To.
        to: StateName,
        /// Why.
        cause: Cause,
    },
    /// The program started.
    Started {
        /// The run.
        run: RunId,
        /// Its process.
        pid: u32,
    },
    /// The program could not be started.
    StartFailed {
        /// The run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// The program ended.
    Exited {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// How long it had run.
        ran: Duration,
        /// Whether somebody wanted it.
        wanted: bool,
    },
    /// A request to end reached nobody.
    Undelivered {
        /// How the program was to be asked.
        step: StopStep,
        /// Why that was not possible.
        reason: String,
    },
    /// Processes had to be ended by force.
    Resisted {
        /// Who.
        survivors: Vec<Survivor>,
    },
    /// A probe changed its mind.
    Probe {
        /// What the probe is for.
        role: ProbeRole,
        /// Its name: the role's word, or the dependency's name.
        name: String,
        /// Whether it passes.
        passes: bool,
        /// The failure's reason, or empty.
        reason: String,
    },
    /// A hook did not succeed.
    HookFailed {
        /// Which.
        kind: HookKind,
        /// What became of it.
        outcome: HookOutcome,
    },
    /// A crash loop was stopped.
    Cooldown {
        /// Restarts within the window.
        restarts: u32,
        /// When the half-open try is due.
        until: Moment,
    },
    /// The half-open try failed.
    HalfOpenFailed {
        /// When the next one is due.
        until: Moment,
    },
    /// The half-open try held for the whole window.
    Recovered,
    /// The tree was held still.
    Paused,
    /// It goes on.
    Resumed,
    /// It was there before this guard, which goes on with it.
    TakenBack {
        /// The run under way, or the last one.
        run: RunId,
        /// Its process, where there is one.
        pid: Option<u32>,
        /// The state that it goes on from.
        state: StateName,
    },
}

/// What the program can say over its notify socket, as far as it concerns the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `READY=1`.
    Ready,
    /// `STATUS=…`.
    Status(String),
    /// `STOPPING=1`.
    Stopping,
    /// `RELOADING=1`.
    Reloading,
    /// `WATCHDOG=1`.
    Watchdog,
    /// `WATCHDOG=trigger`.
    WatchdogTrigger,
    /// `EXTEND_TIMEOUT_USEC=…`.
    ExtendTimeout(Duration),
}
