//! Starts and ends of programs as they become known: either may be heard of first.

use super::{Conductor, InstanceRef, Live, Owner};
use crate::hands::spawner::Started;
use tutela_core::guard;
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::Exit as CoreExit;
use tutela_core::time::Moment;
use tutela_os::process::{Exit, Signal};

/// Ends that came before their start was told. As many as there are spawner threads at the most, and a
/// reserve for those whose news wait in the inbox.
const EARLY_MAX: usize = 20_000;

impl Conductor {
    /// Collects programs that have ended. The kernel looks at every child for it, so it is done when it has
    /// rung and not in every turn.
    pub(super) fn reap(&mut self, now: Moment) {
        let nursery = self.nursery.clone();
        nursery.reap(&mut |reaped| {
            let Some(token) = reaped.owner else { return };
            match self.owners.remove(&token) {
                Some(Owner::Main { key, run }) => self.main_ended(now, key, run, Some(reaped.exit)),
                // Who sent the errand has stopped waiting; its tree is ended by then.
                Some(Owner::Errand(exit)) => drop(exit.send(reaped.exit)),
                None if self.early.len() < EARLY_MAX => drop(self.early.insert(token, reaped.exit)),
                None => {}
            }
        });
    }

    /// `exit` is `None` where the OS does not tell how.
    pub(super) fn main_ended(&mut self, now: Moment, key: InstanceKey, run: RunId, exit: Option<Exit>) {
        let oom = || {
            self.live
                .get(&key)
                .filter(|live| live.run == run)
                .is_some_and(|live| live.child.tree().oom_killed().unwrap_or(false))
        };
        let exit = match exit {
            None => CoreExit::Unknown,
            Some(Exit::Code(code)) => CoreExit::Code(code),
            Some(Exit::Signal { signal, core_dumped }) => CoreExit::Signal {
                number: signal.number(),
                name: signal.to_string(),
                core_dumped,
                oom: signal == Signal::KILL && oom(),
            },
        };
        self.guard.handle(now, key, guard::Input::Exited { run, exit });
        // What follows from an end, above all the next start, is not kept waiting for the rest of the turn.
        self.act(now);
    }

    pub(super) fn main_started(&mut self, now: Moment, key: InstanceKey, run: RunId, result: Result<Started, String>) {
        match result {
            Err(reason) => self.guard.handle(now, key, guard::Input::SpawnFailed { run, reason }),
            Ok(Started { instance: InstanceRef { service, index }, child, capture }) => {
                let id = InstanceId { service, index };
                let (pid, token) = (child.pid(), child.token());
                if let Some(capture) = &capture {
                    self.outputs.insert(key, capture.counters());
                }
                for missing in child.unenforced() {
                    self.say_unsupported(key, missing);
                }
                self.live.insert(key, Live { id, run, child, capture, watched: false });
                self.guard.handle(now, key, guard::Input::Spawned { run, pid });
                for (of, text) in std::mem::take(&mut self.early_notices) {
                    if of == token {
                        self.take_notices(now, key, run, &text);
                    } else {
                        self.early_notices.push_back((of, text));
                    }
                }
                match self.early.remove(&token) {
                    Some(exit) => self.main_ended(now, key, run, Some(exit)),
                    None => drop(self.owners.insert(token, Owner::Main { key, run })),
                }
            }
        }
    }
}
