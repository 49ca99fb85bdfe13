//! What became of every key of the spec, and the files that were written.

use crate::import::Fate;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tutela_schema::spec::Loaded;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Kept, changed or lost.
    pub fate: Fate,
    /// The key of the spec: `services.api.restart.jitter`.
    pub key: String,
    /// The key of the native file; empty: none.
    pub to: String,
    /// How it was changed, or why it is lost and what to do instead.
    pub note: String,
}

/// Files and the report about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Whose files they are.
    pub target: &'static str,
    /// The files.
    pub files: Vec<File>,
    /// What became of each key that the spec writes.
    pub outcomes: Vec<Outcome>,
    /// What is different without any key saying so.
    pub notes: Vec<String>,
}

impl Exported {
    /// The report for people.
    pub fn text(&self) -> String {
        let count = |fate: Fate| self.outcomes.iter().filter(|it| it.fate == fate).count();
        let [kept, changed, lost] = [Fate::Kept, Fate::Changed, Fate::Lost].map(count);
        let mut out = format!("{kept} kept, {changed} changed, {lost} lost\n");
        for fate in [Fate::Lost, Fate::Changed, Fate::Kept] {
            let mut found = self.outcomes.iter().filter(|it| it.fate == fate).peekable();
            if found.peek().is_some() {
                let _ = writeln!(out, "\n{}", fate.word());
            }
            for it in found {
                let arrow = if it.to.is_empty() { "" } else { " -> " };
                let colon = if it.note.is_empty() { "" } else { ": " };
                let _ = writeln!(out, "  {}{arrow}{}{colon}{}", it.key, it.to, it.note);
            }
        }
        if !self.notes.is_empty() {
            out.push_str("\nnotes\n");
        }
        for note in &self.notes {
            let _ = writeln!(out, "  {note}");
        }
        out
    }

    /// Files and report for programs. `version` grows when a member changes its meaning.
    pub fn json(&self) -> serde_json::Value {
        let files: Vec<_> =
            self.files.iter().map(|it| serde_json::json!({ "name": it.name, "text": it.text })).collect();
        let outcome =
            |it: &Outcome| serde_json::json!({ "fate": it.fate.word(), "key": it.key, "to": it.to, "note": it.note });
        serde_json::json!({
            "version": 1,
            "target": self.target,
            "files": files,
            "findings": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// The report while it is written.
pub(super) struct Report {
    /// Every key that the spec writes, as opposed to defaults and to what the guard passes on.
    written: Vec<String>,
    told: BTreeSet<String>,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let ours = |from: &str| from != "default" && from != "the environment";
        let written = loaded.resolved().into_iter().filter(|value| ours(&value.from)).map(|value| value.key);
        Report { written: written.collect(), told: BTreeSet::new(), outcomes: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn kept(&mut self, key: &str, to: &str) {
        self.tell(Fate::Kept, key, to, "");
    }

    pub(super) fn changed(&mut self, key: &str, to: &str, how: &str) {
        self.tell(Fate::Changed, key, to, how);
    }

    pub(super) fn lost(&mut self, key: &str, why: &str) {
        self.tell(Fate::Lost, key, "", why);
    }

    /// Tells of a key and of all that is below it, if the spec writes it.
    fn tell(&mut self, fate: Fate, key: &str, to: &str, note: &str) {
        // What is told of a table does not hold for a key of it that was told of before.
        let open = |written: &String| below(written, key) && (written == key || !self.told.contains(written));
        if !self.written.iter().any(open) {
            return;
        }
        self.told.insert(key.to_owned());
        let outcome = Outcome { fate, key: key.to_owned(), to: to.to_owned(), note: note.to_owned() };
        if !self.outcomes.contains(&outcome) {
            self.outcomes.push(outcome);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn finish(mut self, target: &'static str, files: Vec<File>) -> Exported {
        for key in std::mem::take(&mut self.written) {
            if !self.told.iter().any(|told| below(&key, told)) {
                let note = "nothing is written for it; look up whether it is missed".to_owned();
                self.outcomes.push(Outcome { fate: Fate::Lost, key, to: String::new(), note });
            }
        }
        self.outcomes.sort_by(|a, b| a.key.cmp(&b.key));
        Exported { target, files, outcomes: self.outcomes, notes: self.notes }
    }
}

/// Whether a key is another one, or below it.
fn below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
