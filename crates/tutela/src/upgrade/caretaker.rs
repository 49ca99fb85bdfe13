//! What the guard's process is between two programs: small, of the former program, and with nothing to do but to watch
//! the trial and to become one of the two.
//!
//! It guards nothing. Programs run on as after the end of any guard, and their guard is the trial. It collects children
//! that end, so that the kernel tells the trial how (Linux 6.15 and later). Signals wait for the guard that follows.

use super::{GO, GUARDS, READY, REFUSED, WELL, own_words};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tutela_os::notify::Host;
use tutela_os::safe::Safe;
use tutela_os::succession::{self, Heard, Line};
use tutela_schema::saved::handover::{self, Handover};

/// The word that makes this program a caretaker. It is an argument of the former program, started by itself: nothing else
/// has to know it.
const WORD: &str = "--take-care-of";

/// How long the trial may take until it guards. Programs are unguarded meanwhile.
const GUARDS_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take from there until it says that it does well.
const WELL_WITHIN: Duration = Duration::from_secs(10);

/// How often children are collected while the trial says nothing.
const LOOK: Duration = Duration::from_millis(10);

/// How often the service manager is told that this process lives, where it wants to be.
const ALIVE: Duration = Duration::from_secs(1);

/// What the caretaker has to know, as words of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// The number of the trial's process.
    pub(super) pid: u32,
    /// The file of the new program.
    pub(super) program: PathBuf,
    /// Where the guard's safe is.
    pub(super) safe: PathBuf,
    /// The guard.
    pub(super) guard: String,
    /// What is left for whoever follows.
    pub(super) handover: String,
    /// The words of the guard, for both programs.
    pub(super) words: Vec<OsString>,
}

impl Charge {
    pub(super) fn into_words(self, line: u32) -> Vec<OsString> {
        let Charge { pid, program, safe, guard, handover, words } = self;
        let own: [OsString; 7] = [
            WORD.into(),
            line.to_string().into(),
            pid.to_string().into(),
            program.into(),
            safe.into(),
            guard.into(),
            handover.into(),
        ];
        own.into_iter().chain(words).collect()
    }

    /// The charge and the number of the line.
    fn of_words(mut words: impl Iterator<Item = OsString>) -> Option<(Charge, u32)> {
        let mut text = || words.next()?.into_string().ok();
        let (line, pid) = (text()?.parse().ok()?, text()?.parse().ok()?);
        let (program, safe) = (PathBuf::from(words.next()?), PathBuf::from(words.next()?));
        let mut text = || words.next()?.into_string().ok();
        let (guard, handover) = (text()?, text()?);
        Some((Charge { pid, program, safe, guard, handover, words: words.collect() }, line))
    }
}

/// If this process has become a caretaker, it is one, and the answer is its exit code should it become nothing else; to be
/// called first in `main`, with the arguments.
pub fn caretaker_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let name = args.next()?;
    if args.next()? != WORD {
        return None;
    }
    let Some((charge, line)) = Charge::of_words(args) else {
        eprintln!("tutela: {WORD} is a word that a guard says to itself");
        return Some(ExitCode::FAILURE);
    };
    let outcome =
        Line::of_number(line).map_err(|error| error.to_string()).and_then(|line| take_care(&line, charge.pid));
    let why = match outcome {
        // What was tried, whatever has been put in its place since, and by whatever script it was begun.
        Ok(()) => {
            let tried = succession::program_of(charge.pid);
            succession::become_program(&tried, &name, None, |_| charge.words.clone()).to_string()
        }
        Err(why) => why,
    };
    eprintln!("tutela: {} did not take the guard's place: {why}; the former program goes on", charge.program.display());
    tell_next(&charge, &why);
    let error = succession::become_program(&succession::own_program(), &name, None, |_| charge.words.clone());
    eprintln!("tutela: {error}; what the guard kept runs on, without one");
    Some(ExitCode::FAILURE)
}

/// Leaves the reason for the guard that follows, which tells it.
fn tell_next(charge: &Charge, why: &str) {
    let told = handover::decode(&charge.handover).unwrap_or_default();
    let told = Handover { failed: Some(why.to_owned()), confirmed: false, ..told };
    // Whoever asked then learns only that it was cut off; the reason is in this process's output.
    let Ok((safe, _)) = Safe::open(&charge.safe, &charge.guard, |_| {}) else { return };
    let _ = super::leave(&safe, &told);
}

/// Lets the trial guard until it says that it does well. If it does not, it has ended when this returns.
fn take_care(line: &Line, pid: u32) -> Result<(), String> {
    let mut ended = false;
    let verdict = line.say(GO).map_err(|error| error.to_string()).and_then(|()| watch(line, pid, &mut ended));
    if let Err(why) = verdict {
        if !ended && !succession::collect_ended(pid) {
            succession::dismiss(pid).map_err(|error| format!("{why}; {error}"))?;
        }
        return Err(why);
    }
    Ok(())
}

fn watch(line: &Line, pid: u32, ended: &mut bool) -> Result<(), String> {
    let host = Host::discover(|key| std::env::var_os(key)).filter(|host| host.watchdog().is_some());
    let mut told = Instant::now();
    let mut until = Instant::now() + GUARDS_WITHIN;
    let mut what = "take over";
    while Instant::now() < until {
        match line.hear(LOOK).map_err(|error| error.to_string())? {
            Heard::Said(word) if word == WELL => return Ok(()),
            Heard::Said(word) if word == GUARDS => (until, what) = (Instant::now() + WELL_WITHIN, "confirm"),
            Heard::Said(word) => match word.strip_prefix(REFUSED) {
                Some(why) => return Err(why.to_owned()),
                None if word.starts_with(READY) => {}
                None => return Err(format!("it said {word:?}, which makes no sense here")),
            },
            Heard::Closed => {
                *ended = true;
                // Its end may be some milliseconds behind that of its line; it is waited for by `dismiss`.
                *ended = succession::collect_ended(pid);
                return Err(format!("it ended before it could {what}"));
            }
            Heard::Nothing => {}
        }
        *ended |= succession::collect_ended(pid);
        if *ended {
            return Err(format!("it ended before it could {what}"));
        }
        if told.elapsed() >= ALIVE {
            told = Instant::now();
            // A service manager that does not listen ends this process for it; there is nothing else to do about it.
            host.iter().for_each(|host| drop(host.alive()));
        }
    }
    Err(format!("it did not {what} in time"))
}

/// The words of the trial: those of this guard, and that it is one.
pub(super) fn words_of_trial() -> Vec<OsString> {
    let mut words = own_words();
    let at = words.iter().position(|word| word == "run").map_or(words.len(), |run| run + 1);
    words.insert(at, "--on-trial".into());
    words
}

/// What the process that has let go becomes; returns only when it did not work.
pub(super) fn become_caretaker(line: &Line, charge: Charge) -> String {
    let name = std::env::args_os().next().unwrap_or_else(|| "tutela".into());
    succession::become_program(&succession::own_program(), &name, Some(line), |number| charge.into_words(number))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_survives_the_command_line() {
        let charge = || Charge {
            pid: 17,
            program: "/opt/new tutela".into(),
            safe: "/run/tutela/shop.safe".into(),
            guard: "shop".into(),
            handover: "{\"id\":\"a b\"}".into(),
            words: vec!["run".into(), "shop.toml".into()],
        };
        let words = charge().into_words(5);
        let mut words = words.into_iter();
        assert_eq!(words.next(), Some(WORD.into()));
        assert_eq!(Charge::of_words(words), Some((charge(), 5)));
        assert_eq!(Charge::of_words(["x".into(), "1".into()].into_iter()), None);
    }

    #[test]
    fn other_words_are_not_for_it() {
        let is = |words: &[&str]| caretaker_main(words.iter().map(OsString::from)).is_some();
        assert!(!is(&["tutela"]));
        assert!(!is(&["tutela", "run", WORD]));
        assert!(is(&["tutela", WORD, "nonsense"]));
    }
}
