//! The stop ladder: exactly one way a step, known signals, a kill at its end.

use super::Os;
use super::diagnostic::{Code, near};
use super::keys::{StepKeys, StopKeys};
use super::section::{Section, steps};
use std::time::Duration;
use tutela_core::spec::{LadderStep, StopStep};

/// How long a step may work where the spec is silent; as supervisord has it.
pub(super) const STEP_WAIT: Duration = Duration::from_secs(10);

/// The most steps; more are a mistake.
const STEPS_MAX: usize = 16;

/// The signals that a step can send: those whose meaning a program can choose, and KILL.
pub(super) const SIGNALS: &[&str] =
    &["TERM", "INT", "QUIT", "HUP", "KILL", "ABRT", "USR1", "USR2", "ALRM", "CONT", "PIPE", "WINCH"];

/// How long the further steps of the default ladder on Windows may work: a program that can hear one of them has
/// mostly heard the first, and the OS gives a service some 20 s in all at its own end.
const FURTHER_STEP_WAIT: Duration = Duration::from_secs(5);

/// The ladder where the spec is silent. Which of its ways a program on Windows listens to depends on how it was
/// written, so there is one for each kind: most console programs, those that only know Ctrl-Break, and those with
/// windows.
pub(super) fn default_ladder(os: Os) -> Vec<LadderStep> {
    let asks = match os {
        Os::Windows => vec![
            (StopStep::CtrlC, STEP_WAIT),
            (StopStep::CtrlBreak, FURTHER_STEP_WAIT),
            (StopStep::CloseWindow, FURTHER_STEP_WAIT),
        ],
        Os::Linux | Os::Macos => vec![(StopStep::Signal("TERM".into()), STEP_WAIT)],
    };
    let kill = (StopStep::Kill, Duration::ZERO);
    asks.into_iter().chain([kill]).map(|(step, wait)| LadderStep { step, wait }).collect()
}

/// The ladder of the spec, with a kill at its end.
pub(super) fn ladder(section: &mut Section<'_>, keys: StopKeys) -> Vec<LadderStep> {
    let Some(given) = keys.ladder else { return default_ladder(section.os) };
    if given.len() > STEPS_MAX {
        let message = format!("the ladder has {} steps, and can have {STEPS_MAX}", given.len());
        section.error(Code::TooMany, steps!["stop", "ladder"], message);
        return default_ladder(section.os);
    }
    let count = given.len();
    let mut ladder = Vec::with_capacity(count + 1);
    for (at, keys) in given.into_iter().enumerate() {
        let wait = keys.wait.as_ref().map(|span| span.0);
        let Some(step) = step(section, at, keys) else { continue };
        if step == StopStep::Kill && at + 1 < count {
            let message = "steps after 'kill' are never reached: nothing is left to ask";
            section.warning(Code::Suspicious, steps!["stop", "ladder", at + 1], message, None);
            ladder.push(LadderStep { step, wait: Duration::ZERO });
            return ladder;
        }
        let wait = wait.unwrap_or(if step == StopStep::Kill { Duration::ZERO } else { STEP_WAIT });
        ladder.push(LadderStep { step, wait });
    }
    if ladder.last().is_none_or(|last| last.step != StopStep::Kill) {
        ladder.push(LadderStep { step: StopStep::Kill, wait: Duration::ZERO });
    }
    ladder
}

fn step(section: &mut Section<'_>, at: usize, keys: StepKeys) -> Option<StopStep> {
    let here = steps!["stop", "ladder", at];
    let mut ways = Vec::new();
    if let Some(text) = &keys.command {
        let command = section.command(text, steps!["stop", "ladder", at, "command"])?;
        ways.push(StopStep::Command(command));
    }
    if let Some(name) = &keys.signal {
        ways.push(signal(section, at, name)?);
    }
    let flags = [
        ("ctrl-c", keys.ctrl_c, StopStep::CtrlC),
        ("ctrl-break", keys.ctrl_break, StopStep::CtrlBreak),
        ("close-window", keys.close_window, StopStep::CloseWindow),
        ("kill", keys.kill, StopStep::Kill),
    ];
    for (key, given, way) in flags {
        match given {
            Some(true) => ways.push(way),
            Some(false) => {
                let message = format!("'{key} = false' asks for nothing");
                section.error_with(Code::BadValue, steps!["stop", "ladder", at, key], message, "leave the step out");
                return None;
            }
            None => {}
        }
    }
    if section.os != Os::Windows && keys.close_window == Some(true) {
        let message = format!("on {} 'close-window' is the signal TERM: there are no windows", section.os);
        section.warning(Code::OsDifference, steps!["stop", "ladder", at, "close-window"], message, None);
    }
    let help = "it is one of command, signal, ctrl-c, ctrl-break, close-window, kill, and may have a wait";
    match ways.len() {
        1 => ways.pop(),
        0 => {
            section.error_with(Code::MissingKey, here, "the step asks for nothing", help);
            None
        }
        _ => {
            section.error_with(Code::BadValue, here, "the step asks for several things at once", help);
            None
        }
    }
}

fn signal(section: &mut Section<'_>, at: usize, given: &str) -> Option<StopStep> {
    let steps = steps!["stop", "ladder", at, "signal"];
    let upper = given.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let Some(name) = SIGNALS.iter().find(|known| **known == name) else {
        let message = format!("{given:?} is no signal that can be sent");
        let help =
            near(name, SIGNALS.iter().copied()).unwrap_or_else(|| format!("it is one of {}", SIGNALS.join(", ")));
        section.error_with(Code::BadSignal, steps, message, &help);
        return None;
    };
    if section.os != Os::Windows {
        return Some(StopStep::Signal((*name).to_owned()));
    }
    let (step, words) = match *name {
        "INT" | "TERM" => (StopStep::CtrlC, "a Ctrl-C"),
        "KILL" => (StopStep::Kill, "the end of the whole tree"),
        _ => (StopStep::CtrlBreak, "a Ctrl-Break"),
    };
    let message = format!("on windows the signal {name} is {words}: there are no signals");
    section.warning(Code::OsDifference, steps, message, Some("a section for windows can have a ladder of its own"));
    Some(step)
}
