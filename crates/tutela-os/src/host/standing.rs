//! Where a service stands with its service manager, as a machine that has only legal transitions.
//!
//! ```text
//!             running            pausing            paused
//!   Starting ────────> Running ──────────> Pausing ────────> Paused
//!      │                 ^ │                  │ running         │ resuming, running
//!      │                 │ │ <────────────────┘                 v
//!      │                 └─┼───────────────────────────────  Resuming
//!      │ stopping          │ stopping: from everywhere
//!      └─────────────────> Stopping ────────> Stopped: from everywhere, once, by the end of `run`
//! ```
//!
//! A word that makes no sense in a state changes nothing and says so. Every state that is on its way to another has
//! a checkpoint that only rises while there is progress, and a hint how soon the next one comes.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The longest time between two checkpoints, while there is progress.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// What is said at most of the time until the next checkpoint. Five beats: a computer that boots keeps a thread
/// waiting for seconds. Longer hints would only make those who watch slower to see that a service hangs.
const HINT_MAX: Duration = Duration::from_secs(10);

/// What is said at least: `sc` and `net` look about every second.
const HINT_MIN: Duration = Duration::from_secs(2);

/// What one turn of a loop is worth as progress.
const TURN: Duration = Duration::from_secs(10);

/// What a service is to its service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It starts (START_PENDING).
    Starting,
    /// It does its work (RUNNING).
    Running,
    /// It is about to hold still (PAUSE_PENDING).
    Pausing,
    /// An operator holds it still (PAUSED).
    Paused,
    /// It is about to go on (CONTINUE_PENDING).
    Resuming,
    /// It stops (STOP_PENDING).
    Stopping,
    /// It has stopped (STOPPED).
    Stopped,
}

impl State {
    /// Whether it is on its way to another.
    pub const fn is_pending(self) -> bool {
        matches!(self, State::Starting | State::Pausing | State::Resuming | State::Stopping)
    }
}

/// Which controls a service takes while it runs. It always takes stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepts {
    /// Pause and continue.
    pub pause: bool,
    /// Paramchange: its configuration is to be read again.
    pub reload: bool,
    /// The computer shuts down, told while other services still run and with the time that was registered
    /// (preshutdown), and told at the end where a service manager knows no such thing. Without it the computer
    /// ends the process.
    pub shutdown: bool,
    /// The computer is about to sleep, or woke up.
    pub power: bool,
    /// Somebody logs on or off.
    pub session: bool,
    /// The wall clock was set.
    pub time: bool,
}

impl Accepts {
    /// All of them.
    pub const ALL: Accepts =
        Accepts { pause: true, reload: true, shutdown: true, power: true, session: true, time: true };
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceExit {
    /// Well, or as it was asked to.
    Done,
    /// With an error of its own; the service manager shows 1066 and this number.
    Specific(NonZeroU32),
    /// With an error of the OS, by the OS's number.
    Os(NonZeroU32),
}

impl ServiceExit {
    /// An end with a code of the service's own; 0 is well.
    pub const fn code(code: u32) -> ServiceExit {
        match NonZeroU32::new(code) {
            None => ServiceExit::Done,
            Some(code) => ServiceExit::Specific(code),
        }
    }

    /// An end with an error of the OS; 0 is well.
    pub const fn os(code: u32) -> ServiceExit {
        match NonZeroU32::new(code) {
            None => ServiceExit::Done,
            Some(code) => ServiceExit::Os(code),
        }
    }

    /// The exit code that a process has for it: 0, the code as far as it fits, else 1.
    pub fn process_code(self) -> u8 {
        match self {
            ServiceExit::Done => 0,
            ServiceExit::Specific(code) | ServiceExit::Os(code) => u8::try_from(code.get()).unwrap_or(1),
        }
    }
}

/// What a service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) state: State,
    /// `None`: no controls at all, not even stop.
    pub(crate) accepts: Option<Accepts>,
    /// 0 but in pending states.
    pub(crate) checkpoint: u32,
    /// Zero but in pending states.
    pub(crate) hint: Duration,
    /// [`ServiceExit::Done`] but in [`State::Stopped`].
    pub(crate) exit: ServiceExit,
}

/// The one call that a service manager hears.
pub(crate) trait Tell: Send + Sync + 'static {
    /// Tells `report`. May take as long as a call between two processes.
    fn tell(&self, report: Report) -> Result<(), crate::Error>;
}

/// A word of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It starts or stops, or is on its way to another state, and there is news again within this.
    Progress(Duration),
    Running(Accepts),
    Pausing,
    Paused,
    Resuming,
    Stopping(Duration),
    Stopped(ServiceExit),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Standing {
    state: State,
    accepts: Accepts,
    checkpoint: u32,
    /// There is news by then; without, the heart stops beating.
    promised: Instant,
}

impl Standing {
    /// A service that has just begun to start.
    pub(crate) fn new(now: Instant) -> Standing {
        Standing { state: State::Starting, accepts: Accepts::default(), checkpoint: 1, promised: now + TURN }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What is to be told, in order, because of a word. Nothing: the word makes no sense in this state.
    pub(crate) fn hear(&mut self, now: Instant, word: Word) -> Vec<Report> {
        let path: &[State] = match (self.state, word) {
            (State::Stopped, _) => &[],
            (_, Word::Stopped(_)) => &[State::Stopped],
            (State::Stopping, Word::Stopping(within)) | (_, Word::Progress(within)) => {
                return self.progress(now, within).into_iter().collect();
            }
            (State::Stopping, _) => &[],
            (_, Word::Stopping(_)) => &[State::Stopping],
            (State::Starting | State::Pausing | State::Resuming, Word::Running(_)) => &[State::Running],
            (State::Paused, Word::Running(_)) => &[State::Resuming, State::Running],
            (State::Running, Word::Running(accepts)) if accepts != self.accepts => &[State::Running],
            (State::Running, Word::Pausing) => &[State::Pausing],
            (State::Running, Word::Paused) => &[State::Pausing, State::Paused],
            (State::Pausing, Word::Paused) => &[State::Paused],
            (State::Paused, Word::Resuming) => &[State::Resuming],
            (_, Word::Running(_) | Word::Pausing | Word::Paused | Word::Resuming) => &[],
        };
        let path = path.to_vec();
        path.into_iter().map(|state| self.enter(now, state, word)).collect()
    }

    /// The loop of the service has turned.
    pub(crate) fn alive(&mut self, now: Instant) {
        self.promised = self.promised.max(now + TURN);
    }

    /// The next checkpoint, where one is due and there was progress.
    pub(crate) fn beat(&mut self, now: Instant) -> Option<Report> {
        if !self.state.is_pending() || now >= self.promised {
            return None;
        }
        self.checkpoint = self.checkpoint.saturating_add(1);
        Some(self.report(now, ServiceExit::Done))
    }

    /// How it stands.
    pub(crate) fn report(&self, now: Instant, exit: ServiceExit) -> Report {
        let pending = self.state.is_pending();
        let accepts = match self.state {
            // A stop that came before the service could act on it would be lost by some and waited for by others.
            State::Starting | State::Stopping | State::Stopped => None,
            State::Running | State::Pausing | State::Paused | State::Resuming => Some(self.accepts),
        };
        let left = self.promised.saturating_duration_since(now);
        Report {
            state: self.state,
            accepts,
            checkpoint: if pending { self.checkpoint } else { 0 },
            hint: if pending { left.clamp(HINT_MIN, HINT_MAX) } else { Duration::ZERO },
            exit,
        }
    }

    fn progress(&mut self, now: Instant, within: Duration) -> Option<Report> {
        let told = self.state.is_pending();
        self.promised = now + within;
        if told {
            self.checkpoint = self.checkpoint.saturating_add(1);
        }
        told.then(|| self.report(now, ServiceExit::Done))
    }

    fn enter(&mut self, now: Instant, state: State, word: Word) -> Report {
        self.state = state;
        self.checkpoint = 1;
        self.promised = now + TURN;
        let mut exit = ServiceExit::Done;
        match word {
            Word::Running(accepts) => self.accepts = accepts,
            Word::Stopping(within) => self.promised = now + within,
            Word::Stopped(how) => exit = how,
            Word::Progress(_) | Word::Pausing | Word::Paused | Word::Resuming => {}
        }
        self.report(now, exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [Word; 8] = [
        Word::Progress(Duration::from_secs(60)),
        Word::Running(Accepts::ALL),
        Word::Pausing,
        Word::Paused,
        Word::Resuming,
        Word::Stopping(Duration::from_secs(60)),
        Word::Stopped(ServiceExit::Done),
        Word::Stopped(ServiceExit::code(2)),
    ];

    /// What the documentation of Windows draws, and a stop from everywhere.
    fn is_legal(from: State, to: State) -> bool {
        match (from, to) {
            (from, to) if from == to => from.is_pending() || from == State::Running,
            (State::Stopped, _) | (_, State::Starting) => false,
            (_, State::Stopped) => true,
            (State::Stopping, _) => false,
            (_, State::Stopping) => true,
            (State::Starting | State::Pausing | State::Resuming, to) => {
                to == State::Running || (from, to) == (State::Pausing, State::Paused)
            }
            (State::Running, to) => to == State::Pausing,
            (State::Paused, to) => to == State::Resuming,
        }
    }

    /// Every sequence of six words.
    fn every_sequence(mut look: impl FnMut(&[Word], &[Report])) {
        let now = Instant::now();
        for number in 0..WORDS.len().pow(6) {
            let mut left = number;
            let words: Vec<Word> = (0..6)
                .map(|_| {
                    let word = WORDS[left % WORDS.len()];
                    left /= WORDS.len();
                    word
                })
                .collect();
            let mut standing = Standing::new(now);
            let mut reports = vec![standing.report(now, ServiceExit::Done)];
            for word in &words {
                reports.extend(standing.hear(now, *word));
            }
            look(&words, &reports);
        }
    }

    #[test]
    fn no_sequence_of_words_leads_to_an_illegal_transition() {
        every_sequence(|words, reports| {
            for pair in reports.windows(2) {
                assert!(is_legal(pair[0].state, pair[1].state), "{words:?}: {reports:?}");
            }
        });
    }

    #[test]
    fn stopped_is_told_once_and_last_and_with_how_it_ended() {
        every_sequence(|words, reports| {
            let ends = reports.iter().filter(|report| report.state == State::Stopped).count();
            let asked = words.iter().find(|word| matches!(word, Word::Stopped(_)));
            assert_eq!(ends, usize::from(asked.is_some()));
            if let (Some(Word::Stopped(exit)), Some(last)) = (asked, reports.last()) {
                assert_eq!((last.state, last.exit), (State::Stopped, *exit), "{words:?}");
            }
        });
    }

    #[test]
    fn checkpoints_rise_in_pending_states_and_are_zero_in_all_others() {
        every_sequence(|words, reports| {
            for pair in reports.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let good = match (after.state.is_pending(), before.state == after.state) {
                    (true, true) => after.checkpoint > before.checkpoint && !after.hint.is_zero(),
                    (true, false) => after.checkpoint > 0 && !after.hint.is_zero(),
                    (false, _) => after.checkpoint == 0 && after.hint.is_zero(),
                };
                assert!(good, "{words:?}: {reports:?}");
            }
        });
    }

    #[test]
    fn no_control_is_taken_while_it_starts_or_stops() {
        every_sequence(|_, reports| {
            for report in reports {
                let closed = matches!(report.state, State::Starting | State::Stopping | State::Stopped);
                assert_eq!(report.accepts.is_none(), closed, "{report:?}");
            }
        });
    }

    #[test]
    fn a_heart_beats_as_long_as_there_is_progress_and_then_stops() {
        let begun = Instant::now();
        let mut standing = Standing::new(begun);
        let second = |count| begun + Duration::from_secs(count);
        let checkpoint = |report: Option<Report>| report.map(|report| report.checkpoint);
        assert_eq!(checkpoint(standing.beat(second(2))), Some(2));
        assert_eq!(checkpoint(standing.beat(second(10))), None);
        standing.alive(second(11));
        assert_eq!(checkpoint(standing.beat(second(12))), Some(3));
        let told = standing.hear(second(13), Word::Progress(Duration::from_secs(90)));
        assert_eq!(told.iter().map(|report| report.checkpoint).collect::<Vec<_>>(), [4]);
        assert_eq!(checkpoint(standing.beat(second(100))), Some(5));
        assert_eq!(standing.hear(second(101), Word::Running(Accepts::ALL)).len(), 1);
        assert_eq!(checkpoint(standing.beat(second(102))), None);
    }

    #[test]
    fn a_hint_promises_no_more_than_what_is_left() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        let mut hint = |within| standing.hear(now, Word::Progress(Duration::from_secs(within)))[0].hint.as_secs();
        assert_eq!([hint(5), hint(600), hint(0)], [5, 10, 2]);
    }

    #[test]
    fn an_exit_has_a_code_for_the_process_too() {
        assert_eq!(ServiceExit::code(0), ServiceExit::Done);
        assert_eq!(ServiceExit::os(0), ServiceExit::Done);
        let codes = [ServiceExit::Done, ServiceExit::code(2), ServiceExit::os(1064)].map(ServiceExit::process_code);
        assert_eq!(codes, [0, 2, 1]);
    }
}
