//! Whether a program lives, as opposed to whether its process does.

use std::time::Duration;

/// Where signs of life come from. They feed the host's watchdog, where there is one, and `/livez`.
///
/// A watchdog that a thread of ours would feed whatever becomes of the program would be a lie; so an async program is
/// asked by default whether its runtime still runs tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The process is there. The default for programs of threads, because nobody can see from outside whether a thread
    /// hangs; better is [`Heartbeat::Program`].
    Process,
    /// The runtime runs a task of ours every few seconds. The default for async programs. Once it has not done so for
    /// half a minute, or half the host's watchdog, the program counts as hung.
    Runtime,
    /// The program calls [`crate::Context::alive`] at least that often, from wherever its work goes round. From the
    /// start on: a long start calls it too.
    Program(Duration),
}

/// How long a runtime may be silent where no watchdog says so.
const RUNTIME_SILENCE: Duration = Duration::from_secs(30);

/// The shortest and the longest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

impl Heartbeat {
    /// How long silence is taken for life; `None`: for ever.
    pub(crate) fn patience(self, watchdog: Option<Duration>) -> Option<Duration> {
        let own = match self {
            Heartbeat::Process => return None,
            Heartbeat::Runtime => RUNTIME_SILENCE,
            Heartbeat::Program(span) => return Some(span),
        };
        Some(watchdog.map_or(own, |watchdog| own.min(watchdog / 2)))
    }

    /// How often is looked; `None`: there is nothing to look at and nobody to be told.
    pub(crate) fn look_every(self, watchdog: Option<Duration>) -> Option<Duration> {
        let wanted = [watchdog.map(|watchdog| watchdog / 4), self.patience(watchdog).map(|patience| patience / 4)];
        let least = wanted.into_iter().flatten().min()?;
        Some(least.clamp(LOOK.0, LOOK.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_well_before_it_bites_and_silence_is_noticed_within_it() {
        let watchdog = Duration::from_secs(2);
        for heartbeat in [Heartbeat::Process, Heartbeat::Runtime, Heartbeat::Program(Duration::from_secs(60))] {
            let every = heartbeat.look_every(Some(watchdog));
            assert!(every.is_some_and(|every| every <= watchdog / 4), "{heartbeat:?}: {every:?}");
        }
        assert_eq!(Heartbeat::Runtime.patience(Some(watchdog)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn nobody_looks_where_there_is_nothing_to_see() {
        assert_eq!(Heartbeat::Process.look_every(None), None);
    }
}
