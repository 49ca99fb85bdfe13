//! Signals by name.

use crate::platform;
use std::fmt;

/// A signal that a process can be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// Please end.
    pub const TERM: Signal = Signal(platform::process::number_of("TERM"));
    /// Ctrl-C.
    pub const INT: Signal = Signal(platform::process::number_of("INT"));
    /// The terminal is gone; for services by custom: reload.
    pub const HUP: Signal = Signal(platform::process::number_of("HUP"));
    /// End and leave a core file.
    pub const QUIT: Signal = Signal(platform::process::number_of("QUIT"));
    /// The end. Cannot be refused.
    pub const KILL: Signal = Signal(platform::process::number_of("KILL"));
    /// Halt. Cannot be refused.
    pub const STOP: Signal = Signal(platform::process::number_of("STOP"));
    /// Go on after a halt.
    pub const CONT: Signal = Signal(platform::process::number_of("CONT"));
    /// The first of two that programs give their own meaning.
    pub const USR1: Signal = Signal(platform::process::number_of("USR1"));
    /// The second of two that programs give their own meaning.
    pub const USR2: Signal = Signal(platform::process::number_of("USR2"));
    /// The terminal has another size.
    pub const WINCH: Signal = Signal(platform::process::number_of("WINCH"));
    /// End and leave a core file: `abort()`.
    pub const ABRT: Signal = Signal(platform::process::number_of("ABRT"));

    /// The signal of this name, with or without `SIG`, in any case. Real-time signals are `RTMIN+3` and
    /// `RTMAX-2`, where the OS has them.
    pub fn from_name(name: &str) -> Option<Signal> {
        let upper = name.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = platform::process::SIGNALS.iter().find(|(known, _)| *known == bare) {
            return Some(Signal(*number));
        }
        let (low, high) = platform::process::REAL_TIME_SIGNALS?;
        let offset = |text: &str, sign: char| match text {
            "" => Some(0),
            text => text.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
        };
        let number = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
            (Some(rest), _) => low + offset(rest, '+')?,
            (None, Some(rest)) => high - offset(rest, '-')?,
            (None, None) => return None,
        };
        (low..=high).contains(&number).then_some(Signal(number))
    }

    /// The signal of this number on this OS.
    pub fn from_number(number: i32) -> Option<Signal> {
        let known = platform::process::SIGNALS.iter().any(|(_, of)| *of == number);
        let real_time = platform::process::REAL_TIME_SIGNALS.is_some_and(|(low, high)| (low..=high).contains(&number));
        (known || real_time).then_some(Signal(number))
    }

    /// A number that the kernel reported; it has signals that have no name.
    #[allow(dead_code, reason = "not every OS reports ends by signals")]
    pub(crate) const fn reported(number: i32) -> Signal {
        Signal(number)
    }

    /// The names, without `SIG`, for help and near matches. Real-time signals are not among them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        platform::process::SIGNALS.iter().map(|(name, _)| *name)
    }

    /// Its number on this OS.
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// The number of `name` in an OS's table. Only constants call it, so a name that is missing stops the build.
pub(crate) const fn number_in(table: &[(&str, i32)], name: &str) -> i32 {
    let mut at = 0;
    while at < table.len() {
        let (known, number) = table[at];
        if equal(known.as_bytes(), name.as_bytes()) {
            return number;
        }
        at += 1;
    }
    panic!("the table of signals lacks a name that every OS must have")
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The name, with `SIG`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = platform::process::SIGNALS.iter().find(|(_, number)| *number == self.0) {
            return f.pad(&format!("SIG{name}"));
        }
        match platform::process::REAL_TIME_SIGNALS {
            Some((low, high)) if (low..=high).contains(&self.0) => f.pad(&format!("SIGRTMIN+{}", self.0 - low)),
            _ => f.pad(&format!("signal {}", self.0)),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_their_prefix_in_any_case() {
        assert_eq!(Signal::from_name("TERM"), Some(Signal::TERM));
        assert_eq!(Signal::from_name("sigterm"), Some(Signal::TERM));
        assert_eq!(Signal::from_name("TREM"), None);
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal::from_number(9), Some(Signal::KILL));
        assert_eq!(Signal::from_number(4_711), None);
    }

    #[test]
    fn a_name_that_would_leave_the_real_time_range_is_no_signal() {
        for name in ["RTMIN+99", "RTMAX-99", "RTMIN-1", "RTMIN+", "RT"] {
            assert_eq!(Signal::from_name(name), None, "{name}");
        }
    }
}
