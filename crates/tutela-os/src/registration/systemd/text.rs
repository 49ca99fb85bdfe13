//! A unit file while it is written: sections, lines, and our mark.
//!
//! The mark is a section `X-Tutela`, which systemd ignores by its own rules. It says what registering made beside the
//! unit, so that removing takes exactly that away, and it ends with a sum over the rest of the file: whether somebody
//! changed it since. The sum guards against mistakes, not against forgers: who may write there is root.

use std::fmt::{Display, Write};

/// The section of our mark.
const MARK: &str = "[X-Tutela]";

/// What stands at the top of every file of ours.
const HEADER: &str = "# Written by an installation, and anew by the next one. Put changes into a drop-in: ";

/// A unit file while it is written.
#[derive(Debug)]
pub(super) struct UnitText {
    out: String,
}

impl UnitText {
    /// `edit` is how a drop-in is made: `systemctl edit shop.service`.
    pub(super) fn new(edit: &str) -> Self {
        UnitText { out: format!("{HEADER}{edit}\n") }
    }

    pub(super) fn section(&mut self, name: &str) {
        let _ = write!(self.out, "\n[{name}]\n");
    }

    pub(super) fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.out, "{key}={value}");
    }

    /// Lines that are all `yes`.
    pub(super) fn yes(&mut self, keys: &[&str]) {
        for key in keys {
            self.line(key, "yes");
        }
    }

    /// Ends the file with our mark.
    pub(super) fn finish(self, made: &Made) -> String {
        marked(self.out, made)
    }
}

/// What registering made beside the file with the mark. Kept in the mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// `key=value` in the order in which they were written; a key may occur again.
    pub facts: Vec<(String, String)>,
}

impl Made {
    /// Remembers a fact. A text that is more than a line is not remembered, and removing leaves it be.
    pub fn add(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        if !value.is_empty() && !value.contains(char::is_control) {
            self.facts.push((key.to_owned(), value));
        }
    }

    /// Every value of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.facts.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key.
    pub fn one(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// Adds our mark to the text of a unit or desktop entry.
pub(crate) fn marked(mut text: String, made: &Made) -> String {
    let _ = write!(text, "\n{MARK}\n");
    for (key, value) in &made.facts {
        let _ = writeln!(text, "{key}={value}");
    }
    with_sum(text)
}

/// What a file says about who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Somebody else did.
    Foreign,
    /// We did.
    Ours {
        /// What was made beside it.
        made: Made,
        /// Whether somebody changed it since.
        edited: bool,
    },
}

/// Reads the mark.
pub fn mark(text: &str) -> Mark {
    let Some(at) = text.find(&format!("\n{MARK}\n")) else { return Mark::Foreign };
    let mut made = Made::default();
    let facts = text[at..].lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| *key != "Sum");
    made.facts.extend(facts.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let before = text.rfind("Sum=").map_or(text, |at| &text[..at]);
    let edited = text != with_sum(before.to_owned());
    Mark::Ours { made, edited }
}

fn with_sum(mut text: String) -> String {
    let sum = sum(&text);
    let _ = writeln!(text, "Sum={sum:016x}");
    text
}

/// FNV-1a of 64 bits.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> String {
        let mut text = UnitText::new("systemctl edit shop.service");
        text.section("Service");
        text.line("ExecStart", "/bin/true");
        let mut made = Made::default();
        made.add("Folder", "/srv/a");
        made.add("Folder", "/srv/b c");
        made.add("Folder", "/srv/\n");
        text.finish(&made)
    }

    #[test]
    fn the_mark_remembers_what_was_made() {
        let Mark::Ours { made, edited } = mark(&file()) else { panic!("it is ours") };
        assert!(!edited);
        assert_eq!(made.all("Folder").collect::<Vec<_>>(), ["/srv/a", "/srv/b c"]);
    }

    #[test]
    fn a_change_anywhere_is_seen() {
        let file = file();
        for (old, new) in [("true", "false"), ("/srv/a", "/etc"), ("Sum=", "Sum=0")] {
            let changed = file.replace(old, new);
            assert!(matches!(mark(&changed), Mark::Ours { edited: true, .. }), "{changed}");
        }
        assert!(matches!(mark(&format!("{file}[Service]\nRestart=no\n")), Mark::Ours { edited: true, .. }));
    }

    #[test]
    fn what_has_no_mark_is_foreign() {
        assert_eq!(mark("[Service]\nExecStart=/bin/true\n"), Mark::Foreign);
        assert_eq!(mark(""), Mark::Foreign);
    }
}
