//! The life of a service as a machine: what the host and the program say goes in, what to do comes out.
//!
//! ```text
//!            ready                reload            answered
//!  Starting ───────> Running ───────────────> Asking ───────> Running or Paused
//!     │                 │      pause, resume, event  │
//!     │ stop, failure,  │ <──────────────────────────┘
//!     │ start timeout   │ stop, failure, end
//!     v                 v
//!  [Leaving]  readiness is taken back; after the drain delay:
//!     v
//!  Stopping ── program ended and work drained, or the deadline ──> Ended
//! ```
//!
//! It reads no clock and does nothing by itself: [`crate::runner`] feeds it ([`Life::handle`], [`Life::handle_timeout`])
//! and carries out [`Life::poll_action`]. Invariants: the token is raised exactly once and before the program is waited
//! for; [`Action::End`] comes exactly once and is the last action; one request to the program at a time.

mod stop;
#[cfg(test)]
mod tests;

use crate::event::{Controls, Event, StopReason};
use crate::exit::Ending;
use std::collections::VecDeque;
use std::time::Duration;
use tutela_core::time::Moment;

/// Requests that wait while the program answers another one. A person asks once or twice; sessions and power come in
/// small bursts. Above this the newest is dropped, and that is told.
const WAITING_MAX: usize = 32;

/// A request that is not answered within this is told, so that somebody who waits for a reload knows where it hangs.
const ANSWER_LATE: Duration = Duration::from_secs(30);

/// What a service promises about its times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From start to ready.
    pub(crate) start: Duration,
    /// From the wish to stop until everything has ended.
    pub(crate) stop: Duration,
    /// Between taking readiness back and raising the token.
    pub(crate) drain_delay: Duration,
}

/// What comes in.
#[derive(Debug)]
pub(crate) enum Input {
    /// The program does its work.
    Ready,
    /// A line for people.
    Status(String),
    /// The program needs that long from here on to start or to stop.
    Checkpoint(Duration),
    /// The host or the operator wants something.
    Asked(Ask),
    /// The request that is open was answered.
    Answered(Result<(), Ending>),
    /// Something failed beside the program's main path.
    Failed(Ending),
    /// The program wants to end.
    EndWanted,
    /// The program's main path came to its end.
    Ended(Result<(), Ending>),
    /// Nothing that is tracked is under way. Only told once the program has ended.
    Drained,
}

/// What the host wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Stop(StopReason),
    /// Ctrl-C: the second one hurries, the third one does not wait at all.
    Interrupt,
    Pause,
    Resume,
    Reload,
    Event(Event),
}

/// What the program is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Pause,
    Resume,
    Reload,
    Event(Event),
}

impl Request {
    fn word(&self) -> &'static str {
        match self {
            Request::Pause => "pause",
            Request::Resume => "resume",
            Request::Reload => "reload",
            Request::Event(_) => "event",
        }
    }
}

/// What is told to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A start is under way and takes at most that long.
    Starting(Duration),
    /// It runs.
    Running,
    /// A line for people.
    Status(String),
    /// It reads its configuration again.
    Reloading,
    /// It is about to hold still.
    Pausing,
    /// It holds still.
    Paused,
    /// It is about to go on.
    Resuming,
    /// It stops, and takes at most that long.
    Stopping(Duration),
    /// The start or stop under way takes that long from here on.
    Extend(Duration),
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    Error,
    Warning,
    Info,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the host.
    Host(Word),
    /// Write a line where this host has its log.
    Say(Weight, String),
    /// Answer readiness probes that way.
    Serve(bool),
    /// Ask the program.
    Request(Request),
    /// Take readiness back because it stops.
    Leave(StopReason),
    /// Raise the stop token; the program has until the moment.
    Stop(StopReason, Moment),
    /// The program has until another moment.
    Deadline(Moment),
    /// Raise the hurry token.
    Hurry,
    /// It is over. The last action.
    End(Ending),
}

/// Where a life is.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Starting { deadline: Moment },
    Running,
    Paused,
    Asking { request: Request, paused: bool, late: Option<Moment> },
    Leaving { until: Moment },
    Stopping { deadline: Moment },
    Ended,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Life {
    phase: Phase,
    bounds: Bounds,
    controls: Controls,
    since: Moment,
    /// Requests that wait for the open one.
    waiting: VecDeque<Request>,
    /// The program's last line.
    status: String,
    /// Why it stops; the first reason holds.
    reason: Option<StopReason>,
    /// What will be the last word; the first failure holds.
    ending: Ending,
    program_ended: bool,
    drained: bool,
    interrupts: u32,
    actions: VecDeque<Action>,
}

impl Life {
    pub(crate) fn new(bounds: Bounds, controls: Controls, now: Moment) -> Life {
        let mut life = Life {
            phase: Phase::Starting { deadline: now + bounds.start },
            bounds,
            controls,
            since: now,
            waiting: VecDeque::new(),
            status: String::new(),
            reason: None,
            ending: Ending::well(),
            program_ended: false,
            drained: false,
            interrupts: 0,
            actions: VecDeque::new(),
        };
        life.tell(Word::Starting(bounds.start));
        life
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Life::handle_timeout`] is to be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Starting { deadline } | Phase::Stopping { deadline } => Some(*deadline),
            Phase::Leaving { until } => Some(*until),
            Phase::Asking { late, .. } => *late,
            Phase::Running | Phase::Paused | Phase::Ended => None,
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Moment) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Ready => self.ready(now),
            Input::Status(status) => {
                self.status = status.clone();
                self.tell(Word::Status(status));
            }
            Input::Checkpoint(hint) => self.checkpoint(hint, now),
            Input::Asked(ask) => self.asked(ask, now),
            Input::Answered(answer) => self.answered(answer, now),
            Input::Failed(ending) => self.failed(ending, now),
            Input::EndWanted => self.stop(StopReason::Ended, now),
            Input::Ended(outcome) => self.ended(outcome, now),
            Input::Drained => {
                self.drained = true;
                self.end_when_done();
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.phase {
            Phase::Starting { deadline } => {
                let took = deadline.since(self.since);
                self.not_ready(took, now);
            }
            Phase::Leaving { .. } => self.raise(now),
            Phase::Stopping { .. } => self.out_of_time(),
            Phase::Asking { request, late, .. } => {
                *late = None;
                let word = request.word();
                self.say(Weight::Warning, format!("the program has not answered a {word} within {ANSWER_LATE:?}"));
            }
            Phase::Running | Phase::Paused | Phase::Ended => {}
        }
    }

    fn ready(&mut self, now: Moment) {
        // Twice is once, and whoever stops is not ready any more.
        if !matches!(self.phase, Phase::Starting { .. }) {
            return;
        }
        self.phase = Phase::Running;
        self.tell(Word::Running);
        self.actions.push_back(Action::Serve(true));
        self.say(Weight::Info, format!("ready after {:.1?}", now.since(self.since)));
        self.ask_next(now);
    }

    fn checkpoint(&mut self, hint: Duration, now: Moment) {
        match &mut self.phase {
            Phase::Starting { deadline } => {
                *deadline = (*deadline).max(now + hint);
                let left = deadline.since(now);
                self.tell(Word::Extend(left));
            }
            // Whoever is in a hurry is not kept waiting.
            Phase::Stopping { deadline } if self.interrupts < 2 => {
                *deadline = (*deadline).max(now + hint);
                let deadline = *deadline;
                self.actions.push_back(Action::Deadline(deadline));
                self.tell(Word::Extend(deadline.since(now)));
            }
            Phase::Asking { late, .. } => {
                *late = Some(now + hint);
                self.tell(Word::Extend(hint));
            }
            _ => {}
        }
    }

    fn asked(&mut self, ask: Ask, now: Moment) {
        let request = match ask {
            Ask::Stop(reason) => return self.stop(reason, now),
            Ask::Interrupt => return self.interrupt(now),
            Ask::Pause if self.controls.hears_pause() => Request::Pause,
            Ask::Resume if self.controls.hears_pause() => Request::Resume,
            Ask::Reload if self.controls.hears_reload() => Request::Reload,
            Ask::Event(event) if self.controls.hears_events() => Request::Event(event),
            Ask::Event(_) => return,
            Ask::Pause | Ask::Resume => {
                return self.say(Weight::Warning, "refused: this program cannot be paused".to_owned());
            }
            Ask::Reload => {
                self.say(Weight::Warning, "refused: this program does not reload; restart it instead".to_owned());
                return self.again();
            }
        };
        if self.reason.is_some() {
            return;
        }
        // One reload that has yet to begin reads what a second one would.
        if request == Request::Reload && self.waiting.contains(&request) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            let word = request.word();
            return self.say(
                Weight::Warning,
                format!("dropped a {word}: {WAITING_MAX} requests wait for the program to answer one"),
            );
        }
        self.waiting.push_back(request);
        self.ask_next(now);
    }

    /// Asks the program the next thing, if it is not busy with one.
    fn ask_next(&mut self, now: Moment) {
        while matches!(self.phase, Phase::Running | Phase::Paused) {
            let paused = self.phase == Phase::Paused;
            let Some(request) = self.waiting.pop_front() else { return };
            match (&request, paused) {
                // It is so already; the host wants to hear it all the same.
                (Request::Pause, true) | (Request::Resume, false) => {
                    self.again();
                    continue;
                }
                (Request::Pause, false) => self.tell(Word::Pausing),
                (Request::Resume, true) => self.tell(Word::Resuming),
                (Request::Reload, _) => self.tell(Word::Reloading),
                (Request::Event(_), _) => {}
            }
            self.phase = Phase::Asking { request: request.clone(), paused, late: Some(now + ANSWER_LATE) };
            self.actions.push_back(Action::Request(request));
        }
    }

    fn answered(&mut self, answer: Result<(), Ending>, now: Moment) {
        // An answer that comes after the wish to stop changes nothing.
        let Phase::Asking { request, paused, .. } = &self.phase else { return };
        let (request, before) = (request.clone(), *paused);
        let paused = match (&request, &answer) {
            (Request::Pause, Ok(())) => true,
            (Request::Resume, Ok(())) => false,
            _ => before,
        };
        self.phase = if paused { Phase::Paused } else { Phase::Running };
        if !matches!(request, Request::Event(_)) {
            self.again();
        }
        let word = request.word();
        match (answer, &request) {
            (Ok(()), Request::Event(_)) => {}
            (Ok(()), Request::Reload) => self.say(Weight::Info, "reloaded".to_owned()),
            (Ok(()), Request::Pause) => {
                self.actions.push_back(Action::Serve(false));
                self.say(Weight::Info, "paused".to_owned());
            }
            (Ok(()), Request::Resume) => {
                self.actions.push_back(Action::Serve(true));
                self.say(Weight::Info, "resumed".to_owned());
            }
            (Err(ending), _) => {
                let why = ending.message.unwrap_or_default();
                self.tell(Word::Status(format!("{word} failed: {why}")));
                self.say(Weight::Error, format!("failed to {word}: {why}"));
            }
        }
        self.ask_next(now);
    }

    /// Tells the host once more what it is.
    fn again(&mut self) {
        match self.phase {
            Phase::Running => self.tell(Word::Running),
            Phase::Paused => self.tell(Word::Paused),
            _ => {}
        }
    }

    fn tell(&mut self, word: Word) {
        self.actions.push_back(Action::Host(word));
    }

    fn say(&mut self, weight: Weight, text: String) {
        self.actions.push_back(Action::Say(weight, text));
    }
}
