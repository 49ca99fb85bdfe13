//! What became of every key of the sources: kept, changed or lost.
//!
//! A translation registers each key that it reads with [`Report::entry`] and tells of it once or several times. What was
//! registered and never told of is lost by definition: [`Report::finish`] says so.

use super::detect::Format;
use std::fmt::Write as _;
use std::sync::Arc;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is not in the spec.
    Lost,
    /// The spec has something that is near.
    Changed,
    /// The spec has the same.
    Kept,
}

impl Fate {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Fate::Lost => "lost",
            Fate::Changed => "changed",
            Fate::Kept => "kept",
        }
    }
}

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kept, changed or lost.
    pub fate: Fate,
    /// The file that has the key.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: u32,
    /// The key as the source writes it.
    pub key: String,
    /// The service that it belongs to; empty: to none.
    pub service: String,
    /// The key of the spec that took it over, within its service; empty: none.
    pub to: String,
    /// How it was changed, or why it is lost and what to do instead; empty where it is the same.
    pub note: String,
}

/// The fidelity report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was read, and as what.
    pub sources: Vec<(Arc<str>, Format)>,
    /// What became of each key, in the order of the sources.
    pub findings: Vec<Finding>,
    /// What the spec says although no key of the sources does, such as a default that is another one here.
    pub notes: Vec<String>,
    /// Who was told of, by the number of the entry.
    told: Vec<bool>,
    untold: Vec<Entry>,
}

/// A key of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: usize,
    pub(super) file: Arc<str>,
    pub(super) line: u32,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) service: String,
}

impl Report {
    pub(super) fn begin(&mut self, shown: &Arc<str>, format: Format) {
        self.sources.push((Arc::clone(shown), format));
    }

    /// Registers a key.
    pub(super) fn entry(&mut self, file: &Arc<str>, line: u32, service: &str, key: &str, value: &str) -> Entry {
        let entry = Entry {
            number: self.told.len(),
            file: Arc::clone(file),
            line,
            key: key.to_owned(),
            value: value.to_owned(),
            service: service.to_owned(),
        };
        self.told.push(false);
        self.untold.push(entry.clone());
        entry
    }

    /// The spec has the same under `to`.
    pub(super) fn kept(&mut self, entry: &Entry, to: &str) {
        self.tell(Fate::Kept, entry, to, String::new());
    }

    /// The spec has something near under `to`.
    pub(super) fn changed(&mut self, entry: &Entry, to: &str, how: impl Into<String>) {
        self.tell(Fate::Changed, entry, to, how.into());
    }

    /// The spec has nothing of it.
    pub(super) fn lost(&mut self, entry: &Entry, why: impl Into<String>) {
        self.tell(Fate::Lost, entry, "", why.into());
    }

    /// A default of the source that had to be written out, or anything else that no key says.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn tell(&mut self, fate: Fate, entry: &Entry, to: &str, note: String) {
        if let Some(told) = self.told.get_mut(entry.number) {
            *told = true;
        }
        self.findings.push(Finding {
            fate,
            file: Arc::clone(&entry.file),
            line: entry.line,
            key: entry.key.clone(),
            service: entry.service.clone(),
            to: to.to_owned(),
            note,
        });
    }

    /// Reports what nobody told of as lost, and puts everything in the order of the sources.
    pub(super) fn finish(&mut self) {
        for entry in std::mem::take(&mut self.untold) {
            if !self.told.get(entry.number).copied().unwrap_or(true) {
                self.lost(
                    &entry,
                    "this key is not known to the importer; look up what it did, and whether it is missed",
                );
            }
        }
        let files: Vec<Arc<str>> = self.sources.iter().map(|(file, _)| Arc::clone(file)).collect();
        let rank = |file: &Arc<str>| files.iter().position(|known| known == file).unwrap_or(files.len());
        self.findings.sort_by_key(|it| (rank(&it.file), Arc::clone(&it.file), it.line));
        self.findings.dedup();
        self.told.clear();
    }

    /// How many findings have this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.findings.iter().filter(|it| it.fate == fate).count()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (file, format) in &self.sources {
            let _ = writeln!(out, "{file}: {}", format.title());
        }
        let [kept, changed, lost] = [Fate::Kept, Fate::Changed, Fate::Lost].map(|fate| self.count(fate));
        let _ = writeln!(out, "{kept} kept, {changed} changed, {lost} lost");
        for fate in [Fate::Lost, Fate::Changed, Fate::Kept] {
            let mut found = self.findings.iter().filter(|it| it.fate == fate).peekable();
            if found.peek().is_some() {
                let _ = writeln!(out, "\n{}", fate.word());
            }
            for it in found {
                let _ = write!(out, "  {}:{} {}", it.file, it.line, it.key);
                if !it.to.is_empty() {
                    let _ = write!(out, " -> {}", it.target());
                }
                let colon = if it.note.is_empty() { "" } else { ": " };
                let _ = writeln!(out, "{colon}{}", it.note);
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

    /// The report for programs. `version` grows when a member changes its meaning.
    pub fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|it| {
                serde_json::json!({
                    "fate": it.fate.word(), "file": *it.file, "line": it.line, "key": it.key,
                    "service": it.service, "to": it.target(), "note": it.note,
                })
            })
            .collect();
        let sources: Vec<_> = self
            .sources
            .iter()
            .map(|(file, format)| serde_json::json!({ "file": **file, "format": format.word() }))
            .collect();
        serde_json::json!({
            "version": 1,
            "sources": sources,
            "counts": {
                "kept": self.count(Fate::Kept), "changed": self.count(Fate::Changed), "lost": self.count(Fate::Lost),
            },
            "findings": findings,
            "notes": self.notes,
        })
    }
}

impl Finding {
    /// The whole key of the spec; empty: none.
    pub fn target(&self) -> String {
        match (self.to.as_str(), self.service.as_str()) {
            ("", _) => String::new(),
            (to, "") => to.to_owned(),
            (to, service) => format!("services.{}.{to}", super::text::key(service)),
        }
    }
}
