//! What the process whose number a guard has is while it cannot be that guard: the new program was tried and did well, but
//! in this process it did not come up. The spec may have been changed in that second, or the computer have no threads to
//! spare.
//!
//! Then the trial guards on, and it is tried again. To end here would take the programs of a container with it, and leave
//! those of other hosts to a guard that nobody knows. What is meant for the guard is passed on to the one that is.

use super::{IN_PLACE_OF, own_name, own_words, pass_on_end, words_with};
use std::ffi::OsString;
use std::time::{Duration, Instant};
use tutela_os::signals::calm;
use tutela_os::succession;

/// Between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tries without a trial that guards meanwhile. A service manager that starts guards does it after a pause of its own.
const ALONE_TRIES: u32 = 60;

/// How often is looked for what happens.
const LOOK: Duration = Duration::from_millis(20);

/// Whose place this process is to take: the trial's number, and how often that was tried without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPlaceOf {
    trial: u32,
    alone: u32,
}

impl std::str::FromStr for InPlaceOf {
    type Err = String;

    fn from_str(text: &str) -> Result<InPlaceOf, String> {
        let (trial, alone) = text.split_once(':').ok_or("it is a word between two guards")?;
        let number = |text: &str| text.parse().map_err(|_| "it is a word between two guards".to_owned());
        Ok(InPlaceOf { trial: number(trial)?, alone: number(alone)? })
    }
}

impl std::fmt::Display for InPlaceOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.trial, self.alone)
    }
}

impl InPlaceOf {
    /// The place of a trial that did well.
    pub(super) fn of(trial: u32) -> InPlaceOf {
        InPlaceOf { trial, alone: 0 }
    }

    /// These words of a guard, and that it takes this place.
    pub(super) fn among(self, words: Vec<OsString>) -> Vec<OsString> {
        words_with(words, &[IN_PLACE_OF, &self.to_string()])
    }

    /// Stands in until it is tried again, which this process then is, or until it is not wanted any more, which the
    /// answer says: whether everything has ended as asked.
    pub fn stand_in(self) -> bool {
        let _held = calm();
        let guarded = succession::is_child(self.trial);
        match (guarded, self.alone) {
            (true, _) => {
                eprintln!("tutela: the guard that was tried, process {}, guards on; it is tried again", self.trial);
            }
            (false, alone) if alone >= ALONE_TRIES => return false,
            (false, _) => eprintln!("tutela: it is tried again"),
        }
        let again = Instant::now() + AGAIN_AFTER;
        let mut ends = false;
        loop {
            match pass_on_end(self.trial) {
                Some(false) if !succession::is_child(self.trial) => return false,
                told => ends |= told == Some(true),
            }
            let ended = succession::collect_ended(self.trial);
            if ended && ends {
                return true;
            }
            if ended || (!ends && Instant::now() > again) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let next = InPlaceOf { trial: self.trial, alone: if guarded { 0 } else { self.alone + 1 } };
        let words = next.among(own_words());
        let error = succession::become_program(&succession::own_program(), &own_name(), None, |_| words);
        eprintln!("tutela: {error}; what the guard kept runs on");
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_command_line() {
        let place = InPlaceOf { trial: 17, alone: 3 };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!("17".parse::<InPlaceOf>().is_err() && "a:b".parse::<InPlaceOf>().is_err());
    }
}
