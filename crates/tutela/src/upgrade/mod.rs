//! Runs. Another program takes the guard's place while everything that it keeps runs on.
//!
//! Five parts, in the order in which they work; what passes between two of them is a word on a line or the [`Handover`] in
//! the guard's safe. Nothing here keeps programs alive: that is [`crate::survive`], for which each change is the end of one
//! guard and the beginning of the next.
//!
//! 1. [`ask`]: the guard is asked, and begins the new program as a *trial*, beside itself: does it start, does it read the
//!    spec? Then the guard lets go and its process becomes the caretaker.
//! 2. [`caretaker`]: lets the trial be the guard for a moment, and watches it.
//! 3. [`trial`]: the new program's side of that.
//! 4. The caretaker's process becomes the new program, which takes over from the trial; or the former program again, when
//!    the trial did not do well, whatever it was that went wrong.
//! 5. [`stand_in`]: should the new program not come up in that process, the trial guards on and it is tried again.
//!
//! So the process that a service manager, a terminal or a container knows stays the same throughout, and the new program
//! is never the only one that could mend what is wrong with it.

pub mod ask;
pub mod caretaker;
pub mod stand_in;
pub mod trial;

use std::ffi::OsString;
use tutela_core::time::Moment;
use tutela_os::process::Signal;
use tutela_os::safe::{Deposit, Safe};
use tutela_os::succession;
use tutela_schema::api::{UpgradeInfo, UpgradeOutcome};
use tutela_schema::saved::handover::{self, Handover};

/// The name of the handover's deposit.
pub const HANDOVER: &str = "handover";

/// Among the words of a guard: it is a trial.
const ON_TRIAL: &str = "--on-trial";

/// Among the words of a guard: it takes the place of the trial whose number follows, and how often that was tried.
const IN_PLACE_OF: &str = "--in-place-of";

/// From the caretaker to the trial: nobody guards, it is its turn.
const GO: &str = "go";

/// From the trial: it can take over. Its version follows.
const READY: &str = "ready ";

/// From the trial: it cannot take over. Why follows.
const REFUSED: &str = "refused ";

/// From the trial to the caretaker: it guards.
const GUARDS: &str = "guards";

/// From the trial to the caretaker: it has guarded for a while, and well.
const WELL: &str = "well";

/// From the trial to the caretaker: it was asked to end, as a guard, and ends with everything that it keeps.
const ENDS: &str = "ends";

/// Leaves a handover for whoever follows.
///
/// # Errors
/// There is no safe that takes it.
pub fn leave(safe: &Safe, handover: &Handover) -> Result<(), tutela_os::Error> {
    safe.keep(Deposit { name: HANDOVER.to_owned(), note: handover::encode(handover), handles: Vec::new() })
}

/// What the guard before this one had left when it made room.
#[derive(Debug)]
pub struct Followed {
    /// Where it left it.
    pub safe: Safe,
    /// What it left.
    pub handover: Handover,
    /// How many of its programs are taken over as they run.
    pub kept: u64,
}

impl Followed {
    /// Adds what the change from that guard to this one cost: time, and programs.
    fn add_change(&mut self, now: Moment) {
        self.handover.gaps_us.push(micros(now).saturating_sub(self.handover.last_turn_us));
        self.handover.not_kept += self.handover.programs.saturating_sub(self.kept);
    }

    /// The upgrade is over with this guard; nobody after it hears of it.
    pub fn end(mut self, now: Moment) -> UpgradeInfo {
        self.add_change(now);
        self.safe.release(HANDOVER);
        outcome(self.handover)
    }
}

/// What became of it. One that was killed in the middle has neither confirmed nor failed; so much is known then.
fn outcome(handover: Handover) -> UpgradeInfo {
    let Handover { id, from, to, program, gaps_us, not_kept, confirmed, failed, .. } = handover;
    let reason = match (confirmed, failed) {
        (_, Some(reason)) => Some(reason),
        (true, None) => None,
        (false, None) => Some("it was cut off before the new program had confirmed".to_owned()),
    };
    UpgradeInfo {
        id,
        from,
        to,
        program,
        outcome: if reason.is_some() { UpgradeOutcome::RolledBack } else { UpgradeOutcome::Done },
        reason,
        unwatched_ms: gaps_us.into_iter().map(|micros| micros.div_ceil(1_000)).collect(),
        not_kept,
    }
}

fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.since(Moment::ZERO).as_micros()).unwrap_or(u64::MAX)
}

/// The program's own name, as this process was started with it.
fn own_name() -> OsString {
    std::env::args_os().next().unwrap_or_else(|| "tutela".into())
}

/// If this process was asked to end, asks the guard on trial to. Answers whether it was told; `None`: nobody has asked.
fn pass_on_end(trial: u32) -> Option<bool> {
    let signal = succession::asked_to_end()?;
    // TERM from its parent would only mean that it is to make room.
    let signal = if signal == Signal::TERM { Signal::INT } else { signal };
    Some(succession::pass_on(trial, signal).is_ok())
}

/// The words that this guard was started with, without the program's own name and without those that guards say to each
/// other.
fn own_words() -> Vec<OsString> {
    plain_words(std::env::args_os().skip(1))
}

fn plain_words(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut plain = Vec::new();
    let mut words = words;
    while let Some(word) = words.next() {
        if word == "--" {
            plain.push(word);
            plain.extend(words);
            break;
        } else if word == IN_PLACE_OF {
            drop(words.next());
        } else if word != ON_TRIAL {
            plain.push(word);
        }
    }
    plain
}

/// These words, with others behind `run`.
fn words_with(mut words: Vec<OsString>, others: &[&str]) -> Vec<OsString> {
    let at = words.iter().position(|word| word == "run").map_or(words.len(), |run| run + 1);
    words.splice(at..at, others.iter().map(OsString::from));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_is_or_was_a_trial_is_tried_and_begun_with_the_words_of_any_other() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let plain = |text: &str| plain_words(words(text).into_iter());
        assert_eq!(plain("run --on-trial shop.toml"), words("run shop.toml"));
        assert_eq!(plain("run --in-place-of 7:0 shop.toml --quiet"), words("run shop.toml --quiet"));
        assert_eq!(plain("run -- a --on-trial"), words("run -- a --on-trial"));
        assert_eq!(words_with(plain("run a.toml"), &[ON_TRIAL]), words("run --on-trial a.toml"));
    }

    #[test]
    fn what_was_not_kept_is_told() {
        let handover = Handover { programs: 5, confirmed: true, ..Handover::default() };
        assert_eq!(outcome(Handover { not_kept: 2, ..handover.clone() }).fate().split(' ').next(), Some("2"));
        assert_eq!(outcome(handover).fate(), "nothing was restarted");
    }

    #[test]
    fn whoever_neither_confirmed_nor_failed_was_cut_off() {
        let of = |confirmed: bool, failed: Option<&str>| {
            let told =
                Handover { confirmed, failed: failed.map(str::to_owned), gaps_us: vec![1_500], ..Handover::default() };
            let info = outcome(told);
            (info.outcome, info.reason.is_some(), info.unwatched_ms)
        };
        assert_eq!(of(true, None), (UpgradeOutcome::Done, false, vec![2]));
        assert_eq!(of(false, Some("it hung")), (UpgradeOutcome::RolledBack, true, vec![2]));
        assert_eq!(of(true, Some("it died")), (UpgradeOutcome::RolledBack, true, vec![2]));
        assert_eq!(of(false, None), (UpgradeOutcome::RolledBack, true, vec![2]));
    }
}
