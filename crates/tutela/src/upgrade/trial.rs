//! The new program's side: it shows that it can take over, does so, and says whether it goes well.

use super::ask::Leave;
use super::{ENDS, Followed, GO, GUARDS, READY, REFUSED, WELL, leave, micros};
use crate::conductor::{Inbox, Input, Request};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tutela_core::time::Moment;
use tutela_os::succession::{self, Heard, Line};
use tutela_os::{clock, host};

/// How long the former guard may take to let go, once the new program has said that it is ready. It waits for hooks that
/// run.
const TURN_WAIT: Duration = Duration::from_secs(60);

/// How long the new program has to guard before it says that it does well: its first turns, the first answers of probes,
/// and whatever goes wrong at once.
const TRIED_FOR: Duration = Duration::from_secs(2);

/// How long the conductor may take to answer, at the end of that.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether the process that began the trial is still there.
const PARENT_LOOK: Duration = Duration::from_millis(100);

/// This process is a trial.
#[derive(Debug)]
pub struct Trial {
    line: Line,
    /// The process that began it, and whose number the guard keeps.
    parent: Option<u32>,
    /// Whether a service manager began that one.
    is_managed: bool,
    /// Whether it guards.
    guards: AtomicBool,
    /// What it leaves for the guard that follows, and where.
    word: Mutex<Option<Followed>>,
}

/// Why a trial does not go on.
#[derive(Debug)]
pub enum Off {
    /// The guard goes on itself, or is gone.
    NotWanted,
    /// The line does not work.
    Broken(String),
}

impl Trial {
    /// Takes the line to the guard.
    ///
    /// # Errors
    /// There is none: somebody tries the words that a guard uses.
    pub fn begin() -> Result<Trial, tutela_os::Error> {
        let line = Line::of_stdin()?;
        let parent = succession::parent();
        // systemd names the process that it began, which is not this one.
        let named = std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|pid| pid.parse().ok());
        let is_managed = host::started_by().is_service_manager() || (named.is_some() && named == parent);
        Ok(Trial { line, parent, is_managed, guards: AtomicBool::new(false), word: Mutex::new(None) })
    }

    /// Everything that can be done beside a guard is done: waits for its turn.
    ///
    /// # Errors
    /// It does not come.
    pub fn wait_for_turn(&self) -> Result<(), Off> {
        let broken = |error: tutela_os::Error| Off::Broken(error.to_string());
        self.line.say(&format!("{READY}{}", env!("CARGO_PKG_VERSION"))).map_err(broken)?;
        match self.line.hear(TURN_WAIT).map_err(broken)? {
            Heard::Said(word) if word == GO => Ok(()),
            Heard::Said(_) | Heard::Closed | Heard::Nothing => Err(Off::NotWanted),
        }
    }

    /// It cannot take over, and says why. Who began it may have stopped listening.
    pub fn refuse(&self, why: &str) {
        let _ = self.line.say(&format!("{REFUSED}{why}"));
    }

    /// It guards. One that cannot say so is ended for it by the caretaker.
    pub fn say_that_it_guards(&self) {
        self.guards.store(true, Ordering::Release);
        let _ = self.line.say(GUARDS);
    }

    /// As a guard it was asked to end, and does: it is not to be replaced by another.
    pub fn say_that_it_ends(&self) {
        // Without it the caretaker has the former program guard again, which starts everything.
        let _ = self.line.say(ENDS);
    }

    /// Whether the process that began it still is there, so that this guard is not its own master.
    pub fn is_taken_care_of(&self) -> bool {
        succession::parent() == self.parent
    }

    /// It has taken over from a guard that made room for it.
    pub fn takes_over(&self, mut followed: Followed, now: Moment) {
        followed.add_change(now);
        *self.word() = Some(followed);
    }

    fn word(&self) -> MutexGuard<'_, Option<Followed>> {
        self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process began it.
    pub fn is_parent(&self, pid: Option<u32>) -> bool {
        pid.is_some() && pid == self.parent
    }

    /// What it does last: it says when it turned for the last time, and ends as a guard that is killed does.
    pub fn dismissal(self: &Arc<Trial>) -> Leave {
        let trial = self.clone();
        Leave::ending(move |programs| {
            if let Some(Followed { safe, handover, .. }) = &mut *trial.word() {
                handover.programs = programs;
                handover.last_turn_us = micros(clock::now());
                // The guard that follows only does not know for how long nobody watched.
                let _ = leave(safe, handover);
            }
        })
    }

    /// Leaves word that it does well.
    fn confirm(&self) -> Result<(), String> {
        match &mut *self.word() {
            None => Err("no guard had left anything for it".to_owned()),
            Some(Followed { safe, handover, .. }) => {
                handover.confirmed = true;
                leave(safe, handover).map_err(|error| format!("it cannot leave word of itself: {error}"))
            }
        }
    }

    /// Says that it does well, after a while of guarding. Then it is mostly dismissed by the process that began it, which is
    /// a guard by then; when that ends instead, what is right depends on who begins guards here.
    pub async fn watch(self: Arc<Trial>, inbox: Inbox) {
        while !self.guards.load(Ordering::Acquire) {
            tokio::time::sleep(PARENT_LOOK).await;
        }
        tokio::time::sleep(TRIED_FOR).await;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            inbox.send(Input::Request(Request::Ping(reply))).await.ok()?;
            answer.await.ok()
        };
        let turns = tokio::time::timeout(ANSWER_WAIT, asked).await.is_ok_and(|answer| answer.is_some());
        let verdict = match turns {
            true => self.confirm(),
            false => Err(format!("its conductor did not answer within {ANSWER_WAIT:?}")),
        };
        // One that cannot be heard has not said that it does well either.
        let _ = match verdict {
            Ok(()) => self.line.say(WELL),
            Err(why) => self.line.say(&format!("{REFUSED}{why}")),
        };
        while self.is_taken_care_of() {
            tokio::time::sleep(PARENT_LOOK).await;
        }
        // A service manager begins another guard, which needs the room. Elsewhere nobody does.
        let last = match self.is_managed {
            true => Input::Leave(self.dismissal()),
            false => Input::Trouble(
                "the process in whose place this guard was tried has ended; this one guards on".to_owned(),
            ),
        };
        let _ = inbox.send(last).await;
    }
}
