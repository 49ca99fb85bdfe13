//! The service manager of the OS: what it asks, and what it is told.
//!
//! | it asks for | the guard |
//! |---|---|
//! | stop, shutdown of the computer | stops everything in order, and ends |
//! | pause, continue | holds every program still, lets them go on |
//! | a reload, code 128 | reads the spec again |
//! | code 129 | begins new log files |
//! | anything else | tells it in the events |
//!
//! A guard that cools down or waits between restarts is not paused: that word is for what an operator asked for.

use super::Conductor;
use crate::audit::Asker;
use std::collections::HashMap;
use tokio::time::Instant;
use tutela_core::guard::{Command, Target};
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::service::StateName;
use tutela_core::time::Moment;
use tutela_os::host::{Control, Controls};
use tutela_os::notify::Host;

/// What the events call it.
const BY: &str = "the service manager";

/// The code by which an operator asks for a reload.
const RELOAD: u8 = 128;

/// The code by which an operator asks for new log files.
const ROTATE: u8 = 129;

/// The runs that were held still at the service manager's wish.
pub(super) type Held = HashMap<InstanceKey, RunId>;

/// When the host is to hear next that the guard lives. It wants to hear it at some times and at others not.
#[derive(Debug, Default)]
pub(super) struct Alive {
    next: Option<Instant>,
}

impl Alive {
    /// Ready when it is to be told; at once where it was not before.
    pub(super) async fn due(&mut self, host: Option<&Host>) {
        let Some(every) = host.and_then(Host::watchdog) else {
            self.next = None;
            return std::future::pending().await;
        };
        tokio::time::sleep_until(*self.next.get_or_insert_with(Instant::now)).await;
        self.next = Some(Instant::now() + every / 2);
    }
}

/// The next control. A host that has nothing more to ask leaves the guard in peace.
pub(super) async fn next_control(controls: &Controls) -> Control {
    match controls.next().await {
        Some(control) => control,
        None => std::future::pending().await,
    }
}

impl Conductor {
    pub(super) fn handle_control(&mut self, now: Moment, control: Control) {
        let asker = Asker::of_host(BY);
        match control {
            Control::Stop => {
                self.note_control(&asker, &control, None);
                self.end(now, BY, false);
            }
            Control::Shutdown => {
                self.note_control(&asker, &control, None);
                self.end(now, "the shutdown of the computer", false);
            }
            Control::Pause => {
                let held = self.hold(now);
                self.note_control(&asker, &control, (!held).then_some("it ends, or is paused already"));
            }
            Control::Continue => {
                let held = self.let_go(now);
                self.note_control(&asker, &control, (!held).then_some("it is not paused"));
            }
            Control::Reload | Control::User(RELOAD) => match &self.reload {
                Some(reload) => reload(asker),
                None => {
                    let why = "a reload was asked for, but a single program has no spec to read";
                    self.note_control(&asker, &Control::Reload, Some(why));
                    self.say_host_told(now, why);
                }
            },
            Control::User(ROTATE) => match self.pump.rotate() {
                Ok(()) => {
                    self.note_control(&asker, &control, None);
                    self.say_host_told(now, "new log files begin, asked by the service manager");
                }
                Err(refusal) => {
                    self.note_control(&asker, &control, Some(&refusal.to_string()));
                    self.trouble(refusal.to_string());
                }
            },
            // The turn that this control began has looked at the clock already: a sleep is over for every deadline.
            Control::Power(_) | Control::Session { .. } | Control::TimeChanged { .. } | Control::User(_) => {
                self.say_host_told(now, &control.to_string());
            }
        }
    }

    /// Stops everything in order and ends; `hurry`: the shortest way. Ending is never refused.
    pub(super) fn end(&mut self, now: Moment, by: &str, hurry: bool) {
        if hurry || !self.guard.is_ending() {
            self.end_traced(now, Command::End, by, false);
        }
        if hurry {
            self.end_traced(now, Command::Hurry, by, true);
        }
        self.held = None;
        if let Some(host) = &self.host {
            let _ = host.stopping("stopping every service");
        }
    }

    /// Answers whether anything was to be done.
    fn hold(&mut self, now: Moment) -> bool {
        if self.guard.is_ending() || self.held.is_some() {
            return false;
        }
        self.held = Some(Held::new());
        self.keep_still(now);
        // What was decided is done before it is told.
        self.act(now);
        if let Some(host) = &self.host {
            let _ = host.paused();
        }
        true
    }

    /// Answers whether anything was to be done.
    fn let_go(&mut self, now: Moment) -> bool {
        let held = self.held.take().is_some();
        if held {
            // Refused only when it ends, and then it is let go too.
            let _ = self.guard.handle_command(now, Command::Resume(Target::All), BY);
            self.act(now);
        }
        self.say_running();
        held
    }

    /// While everything is held still, what comes up is held still too. That an operator let one of them go on ends it.
    pub(super) fn keep_still(&mut self, now: Moment) {
        let Some(held) = &mut self.held else { return };
        let running: Vec<_> = self
            .guard
            .instances()
            .filter(|(_, _, service)| service.state_name() == StateName::Running && !service.is_paused())
            .map(|(key, id, service)| (key, id.clone(), service.run()))
            .collect();
        if running.is_empty() {
            return;
        }
        if running.iter().any(|(key, _, run)| held.get(key) == Some(run)) {
            self.held = None;
            return self.say_running();
        }
        for (key, id, run) in running {
            held.insert(key, run);
            // Refused for what has just ended.
            let _ = self.guard.handle_command(now, Command::Pause(Target::Instance(id)), BY);
        }
    }
}
