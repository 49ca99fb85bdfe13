//! What the guard's process is between two programs: small, of the former program, and with nothing to do but to watch
//! the trial and to become one of the two.
//!
//! It guards nothing. Programs run on as after the end of any guard, and their guard is the trial. It collects children
//! that end, so that the kernel tells the trial how (Linux 6.15 and later). Signals wait for the guard that follows.

use super::stand_in::InPlaceOf;
use super::{ENDS, GO, GUARDS, READY, REFUSED, WELL, own_name, pass_on_end};
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

/// How often the service manager is told that this process lives, where it wants to be; more often where it asks for that.
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
    // Whatever keeps the new program from guarding may keep the former one too, for a while.
    let words = InPlaceOf::of(charge.pid).among(charge.words.clone());
    let line = Line::of_number(line, charge.pid).map_err(|error| error.to_string());
    let why = match line.and_then(|line| take_care(&line, charge.pid)) {
        // What was tried, whatever has been put in its place since.
        Ok(Verdict::Well) => {
            let tried = succession::program_of(charge.pid);
            succession::become_program(&tried, &name, None, |_| words.clone()).to_string()
        }
        Ok(Verdict::Ended) => return Some(ExitCode::SUCCESS),
        Err(why) => why,
    };
    eprintln!("tutela: {} did not take the guard's place: {why}; the former program goes on", charge.program.display());
    tell_next(&charge, &why);
    let error = succession::become_program(&succession::own_program(), &name, None, |_| words);
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

/// What becomes of a trial that has done nothing wrong.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It does well.
    Well,
    /// It was asked to end as a guard, and everything has ended with it.
    Ended,
}

/// Lets the trial guard until it says that it does well, or has ended as asked. If it does neither, it has ended when this
/// returns.
fn take_care(line: &Line, pid: u32) -> Result<Verdict, String> {
    let mut watch = Watch { line, pid, ended: false, alive: Alive::begin() };
    let verdict = line.say(GO).map_err(|error| error.to_string()).and_then(|()| watch.verdict());
    if let Err(why) = verdict {
        if !watch.ended && !succession::collect_ended(pid) {
            succession::dismiss(pid).map_err(|error| format!("{why}; {error}"))?;
        }
        return Err(why);
    }
    verdict
}

/// Somebody who looks after a trial.
struct Watch<'a> {
    line: &'a Line,
    pid: u32,
    /// It is there no longer.
    ended: bool,
    alive: Alive,
}

impl Watch<'_> {
    fn verdict(&mut self) -> Result<Verdict, String> {
        let mut until = Instant::now() + GUARDS_WITHIN;
        let mut what = "take over";
        while Instant::now() < until {
            if let Some(signal) = succession::asked_to_end() {
                // It is the former program that ends everything then: it can, whatever the new one does.
                succession::ask_again(signal);
                return Err("the guard was asked to end meanwhile".into());
            }
            match self.line.hear(LOOK).map_err(|error| error.to_string())? {
                Heard::Said(word) if word == WELL => return Ok(Verdict::Well),
                Heard::Said(word) if word == ENDS => return Ok(self.until_it_has_ended()),
                Heard::Said(word) if word == GUARDS => (until, what) = (Instant::now() + WELL_WITHIN, "confirm"),
                Heard::Said(word) => match word.strip_prefix(REFUSED) {
                    Some(why) => return Err(why.to_owned()),
                    None if word.starts_with(READY) => {}
                    None => return Err(format!("it said {word:?}, which makes no sense here")),
                },
                // Its end may be some milliseconds behind that of its line; it is waited for by `dismiss`.
                Heard::Closed => {
                    self.ended = succession::collect_ended(self.pid);
                    return Err(format!("it ended before it could {what}"));
                }
                Heard::Nothing => {}
            }
            self.ended |= succession::collect_ended(self.pid);
            if self.ended {
                return Err(format!("it ended before it could {what}"));
            }
            self.alive.tell();
        }
        Err(format!("it did not {what} in time"))
    }

    /// How long that takes is up to the programs and their ladders.
    fn until_it_has_ended(&mut self) -> Verdict {
        while !succession::collect_ended(self.pid) && succession::is_child(self.pid) {
            // One that has just ended needs no word.
            let _ = pass_on_end(self.pid);
            self.alive.tell();
            std::thread::sleep(LOOK);
        }
        Verdict::Ended
    }
}

/// Tells the service manager that this process lives, where it wants to be told.
struct Alive {
    host: Option<Host>,
    every: Duration,
    told: Instant,
}

impl Alive {
    fn begin() -> Alive {
        let host = Host::discover(|key| std::env::var_os(key));
        let wanted = host.as_ref().and_then(Host::watchdog);
        let every = wanted.map_or(ALIVE, |wanted| ALIVE.min(wanted / 2));
        Alive { host: host.filter(|_| wanted.is_some()), every, told: Instant::now() }
    }

    fn tell(&mut self) {
        if self.told.elapsed() >= self.every {
            self.told = Instant::now();
            // A service manager that does not listen ends this process for it; there is nothing else to do about it.
            self.host.iter().for_each(|host| drop(host.alive()));
        }
    }
}

/// What the process that has let go becomes; returns only when it did not work.
pub(super) fn become_caretaker(line: &Line, charge: Charge) -> String {
    succession::become_program(&succession::own_program(), &own_name(), Some(line), |number| charge.into_words(number))
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
