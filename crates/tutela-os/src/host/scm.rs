//! A service's side of the service control manager: the mouth and the ear, usable from any thread.
//!
//! Whatever is said goes through [`Standing`], under one lock, so that reports arrive in the order in which they
//! became true. A thread of its own beats checkpoints while a state is on its way to another and there is progress.

use super::Given;
use super::controls::{Control, Controls, Queue};
use super::standing::{Accepts, BEAT, ServiceExit, Standing, State, Tell, Word};
use crate::Error;
use std::ffi::OsString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// This process as a service of the service control manager. Cheap to clone; clones are the same service.
///
/// What makes no sense in the service's state (such as [`Scm::paused`] while it stops) is not told, and answered with
/// `false`. Only the end of what runs the service says that it has stopped.
#[derive(Debug, Clone)]
pub struct Scm(Arc<Shared>);

struct Shared {
    given: Given,
    standing: Mutex<Standing>,
    changed: Condvar,
    queue: Arc<Queue>,
    manager: Box<dyn Tell>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.given.name).field("state", &self.lock().state()).finish()
    }
}

impl Scm {
    /// The service's name, as it is registered.
    pub fn name(&self) -> &str {
        &self.0.given.name
    }

    /// Words of this one start: those after `sc start NAME`.
    pub fn arguments(&self) -> &[OsString] {
        &self.0.given.arguments
    }

    /// The ear.
    pub fn controls(&self) -> Controls {
        Controls::of(self.0.queue.clone())
    }

    /// Where the service stands.
    pub fn state(&self) -> State {
        self.0.lock().state()
    }

    /// It goes on starting (or whatever it is about to do), and there is news again within `within`: until then
    /// checkpoints rise by themselves. A service that then says nothing is shown as hanging.
    pub fn starting(&self, within: Duration) -> bool {
        self.0.say(Word::Progress(within))
    }

    /// It does its work, and takes `accepts` from here on. Also the end of a pause.
    pub fn running(&self, accepts: Accepts) -> bool {
        self.0.say(Word::Running(accepts))
    }

    /// It is about to hold still. Said already when a [`Control::Pause`] arrives.
    pub fn pausing(&self) -> bool {
        self.0.say(Word::Pausing)
    }

    /// It holds still, because an operator wants it so; for nothing else.
    pub fn paused(&self) -> bool {
        self.0.say(Word::Paused)
    }

    /// It is about to go on. Said already when a [`Control::Continue`] arrives.
    pub fn resuming(&self) -> bool {
        self.0.say(Word::Resuming)
    }

    /// It stops, and there is news again within `within`, as in [`Scm::starting`]. Said already, for ten seconds,
    /// when a [`Control::Stop`] or [`Control::Shutdown`] arrives.
    pub fn stopping(&self, within: Duration) -> bool {
        self.0.say(Word::Stopping(within))
    }

    /// Its loop has turned: there is progress for ten seconds more. Costs next to nothing.
    pub fn alive(&self) {
        self.0.lock().alive(Instant::now());
    }
}

#[allow(dead_code, reason = "an OS without such a service manager makes none")]
impl Scm {
    /// A service that has begun to start, which is told at once.
    pub(crate) fn begin(given: Given, manager: Box<dyn Tell>) -> Result<Scm, Error> {
        let now = Instant::now();
        let standing = Standing::new(now);
        manager.tell(standing.report(now, ServiceExit::Done))?;
        let queue = Queue::new();
        let scm =
            Scm(Arc::new(Shared { given, standing: Mutex::new(standing), changed: Condvar::new(), queue, manager }));
        let heart = scm.clone();
        std::thread::Builder::new()
            .name("service heart".into())
            .stack_size(128 * 1024)
            .spawn(move || heart.0.beat())
            .map_err(|error| Error::io("start the thread that tells the service manager of progress", error))?;
        Ok(scm)
    }

    /// What the service manager asks. Never waits for the service; `false`: there is no room for it.
    pub(crate) fn ask(&self, control: Control) -> bool {
        let state = self.0.lock().state();
        // Whoever asks sees at once that it is being done; what came of it is for the service to say.
        let word = match control {
            Control::Stop | Control::Shutdown if state != State::Stopping => Some(Word::Stopping(BEAT * 5)),
            Control::Pause => Some(Word::Pausing),
            Control::Continue => Some(Word::Resuming),
            _ => None,
        };
        if !self.0.queue.put(control) {
            return false;
        }
        if let Some(word) = word {
            self.0.say(word);
        }
        true
    }

    /// The last word. Where a stop was asked for it is a good one: after any other the service manager would start again
    /// what somebody has just stopped, however it ended.
    pub(crate) fn end(&self, exit: ServiceExit) {
        let asked = self.0.queue.end();
        self.0.say(Word::Stopped(if asked { ServiceExit::Done } else { exit }));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, word: Word) -> bool {
        let mut standing = self.lock();
        let reports = standing.hear(Instant::now(), word);
        for report in &reports {
            // A service manager that is not there ends with its computer; there is nobody else to be told.
            let _ = self.manager.tell(*report);
        }
        drop(standing);
        self.changed.notify_all();
        !reports.is_empty()
    }

    /// Beats while something is pending, and sleeps without a cost while nothing is.
    fn beat(&self) {
        let mut standing = self.lock();
        let mut last = (standing.state(), Instant::now());
        while standing.state() != State::Stopped {
            let now = Instant::now();
            if standing.state() != last.0 {
                last = (standing.state(), now);
            }
            if !standing.state().is_pending() {
                standing = self.changed.wait(standing).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = BEAT.saturating_sub(now.duration_since(last.1));
            if !left.is_zero() {
                (standing, _) = self.changed.wait_timeout(standing, left).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            last.1 = now;
            if let Some(report) = standing.beat(now) {
                let _ = self.manager.tell(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Report;
    use std::sync::mpsc;

    struct Fake(mpsc::SyncSender<Report>);

    impl Tell for Fake {
        fn tell(&self, report: Report) -> Result<(), Error> {
            self.0.send(report).map_err(|_| Error::Refused("nobody listens".into()))
        }
    }

    /// Longer than any beat; only reached by a failure.
    const BOUND: Duration = Duration::from_secs(30);

    fn service() -> (Scm, mpsc::Receiver<Report>) {
        let (sender, told) = mpsc::sync_channel(64);
        let given = Given { name: "shop".into(), arguments: Vec::new() };
        let Ok(scm) = Scm::begin(given, Box::new(Fake(sender))) else { panic!("no service") };
        (scm, told)
    }

    fn states(told: &mpsc::Receiver<Report>) -> Vec<State> {
        let mut states: Vec<State> = told.try_iter().map(|report| report.state).collect();
        states.dedup();
        states
    }

    #[test]
    fn a_life_is_told_in_order_and_its_end_ends_the_ear() {
        let (scm, told) = service();
        assert!(scm.running(Accepts::ALL));
        assert!(scm.ask(Control::Pause) && scm.paused());
        assert!(scm.ask(Control::Continue) && scm.running(Accepts::ALL));
        assert!(scm.ask(Control::Stop));
        assert!(!scm.running(Accepts::ALL) && !scm.paused());
        scm.end(ServiceExit::Done);
        scm.end(ServiceExit::code(1));
        use State::*;
        let wanted = [Starting, Running, Pausing, Paused, Resuming, Running, Stopping, Stopped];
        assert_eq!(states(&told), wanted);
        let ear = scm.controls();
        let heard: Vec<Control> = std::iter::from_fn(|| ear.next_blocking()).collect();
        assert_eq!(heard, [Control::Pause, Control::Continue, Control::Stop]);
    }

    #[test]
    fn a_stop_before_running_is_heard_and_nothing_can_undo_it() {
        let (scm, told) = service();
        assert!(scm.ask(Control::Stop) && scm.ask(Control::Stop));
        assert!(!scm.running(Accepts::ALL));
        assert_eq!(states(&told), [State::Starting, State::Stopping]);
        assert_eq!(scm.controls().try_next(), Some(Control::Stop));
        scm.end(ServiceExit::Done);
    }

    #[test]
    fn checkpoints_rise_by_themselves_until_the_service_runs() {
        let (scm, told) = service();
        let next = || told.recv_timeout(BOUND).expect("a report within the bound").checkpoint;
        let (first, second, third) = (next(), next(), next());
        assert!(0 < first && first < second && second < third, "{first} {second} {third}");
        scm.end(ServiceExit::Done);
    }
}
