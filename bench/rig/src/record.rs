//! Lines of JSON: one for the machine, one for each subject in each round of each measurement.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file that a run writes, line by line, so that a run that was cut short keeps what it has.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    file: File,
}

/// One subject in one round of one measurement.
#[derive(Debug, Clone)]
pub struct Line {
    /// The measurement.
    pub measure: String,
    /// The subject.
    pub subject: String,
    /// The round, from 1.
    pub round: u64,
    /// What was found, by name; names end in their unit.
    pub values: Map<String, Value>,
    /// Why nothing was found.
    pub error: Option<String>,
}

impl Line {
    /// The figure of this name; NaN when there is none.
    pub fn figure(&self, name: &str) -> f64 {
        self.values.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// The list of figures of this name.
    pub fn list(&self, name: &str) -> Vec<f64> {
        let list = self.values.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_f64).collect()
    }
}

impl Book {
    /// Begins a file named after the time in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let date = crate::facts::date("%Y-%m-%dT%H%M%S");
        let path = folder.join(format!("{date}.jsonl"));
        let file = File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Book { path, file })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down the machine.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn facts(&mut self, facts: Value) -> Result<()> {
        self.write(&json!({ "facts": facts }))
    }

    /// Writes down what was found, or why nothing was.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn line(&mut self, measure: &str, subject: &str, round: u32, found: &Result<Value>) -> Result<()> {
        let line = match found {
            Ok(values) => json!({ "measure": measure, "subject": subject, "round": round, "values": values }),
            Err(error) => {
                json!({ "measure": measure, "subject": subject, "round": round, "error": format!("{error:#}") })
            }
        };
        self.write(&line)
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        writeln!(self.file, "{line}").with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// What a file of lines holds.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The machine.
    pub facts: Map<String, Value>,
    /// The lines, in the order in which they were measured.
    pub lines: Vec<Line>,
}

/// Reads a file of lines.
///
/// # Errors
/// It cannot be read, or is something else.
pub fn read(path: &Path) -> Result<Record> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut record = Record::default();
    for (number, text) in text.lines().enumerate() {
        let place = || format!("{}:{} is no line of a run", path.display(), number + 1);
        let value: Value = serde_json::from_str(text).with_context(place)?;
        if let Some(facts) = value.get("facts").and_then(Value::as_object) {
            record.facts = facts.clone();
            continue;
        }
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(String::from);
        record.lines.push(Line {
            measure: word("measure").with_context(place)?,
            subject: word("subject").with_context(place)?,
            round: value.get("round").and_then(Value::as_u64).with_context(place)?,
            values: value.get("values").and_then(Value::as_object).cloned().unwrap_or_default(),
            error: word("error"),
        });
    }
    Ok(record)
}
