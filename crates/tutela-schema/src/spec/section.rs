//! One part of a spec while it is turned into what core knows: its values, its places, and the mistakes found so far.

use super::Os;
use super::diagnostic::{Code, Diagnostic, Origin};
use super::scalar::{CommandText, Span};
use super::source::SourceMap;
use super::tree::{Node, Step};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tutela_core::spec::Command;
use tutela_core::template::{Piece, Template};

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// The steps to a value: `steps!["dependencies", 0, "every"]`.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { &[$($crate::spec::tree::Step::from($step)),*][..] };
}
pub(super) use steps;

/// One part of a spec.
pub(super) struct Section<'a> {
    /// Its tree, as it was read.
    pub(super) tree: &'a Node,
    pub(super) sources: &'a SourceMap,
    pub(super) os: Os,
    /// The spec's folder; absolute.
    pub(super) base: &'a Path,
    pub(super) out: Vec<Diagnostic>,
    /// Values that were refused before, and are missing for that reason.
    pub(super) broken: &'a [Vec<Step>],
}

impl Section<'_> {
    /// Where the value is, or else the nearest table around it that exists.
    pub(super) fn origin(&self, steps: &[Step]) -> Option<Origin> {
        Some(self.sources.origin(self.tree.place_of(steps)))
    }

    /// Whether the spec has this key.
    pub(super) fn has(&self, steps: &[Step]) -> bool {
        self.tree.find(steps).is_some()
    }

    /// Whether a mistake may only follow from one within the same value that is reported already. For a service or
    /// alert as a whole, that is so for what it lacks.
    fn follows(&self, code: Code, steps: &[Step]) -> bool {
        let missing = matches!(code, Code::MissingKey | Code::ProbeTarget | Code::AlertWay | Code::SinkWay);
        (missing || !steps.is_empty()) && self.broken.iter().any(|broken| broken.starts_with(steps))
    }

    pub(super) fn error(&mut self, code: Code, steps: &[Step], message: impl Into<String>) {
        if self.follows(code, steps) {
            return;
        }
        self.out.push(Diagnostic::error(code, self.origin(steps), message));
    }

    pub(super) fn error_with(&mut self, code: Code, steps: &[Step], message: impl Into<String>, help: &str) {
        if self.follows(code, steps) {
            return;
        }
        self.out.push(Diagnostic::error(code, self.origin(steps), message).help(help));
    }

    pub(super) fn warning(&mut self, code: Code, steps: &[Step], message: impl Into<String>, help: Option<&str>) {
        let warning = Diagnostic::warning(code, self.origin(steps), message);
        self.out.push(Diagnostic { help: help.map(str::to_owned), ..warning });
    }

    /// A warning about a key that does nothing on this OS, if the spec has it.
    pub(super) fn no_effect(&mut self, steps: &[Step], os: &[Os], why: &str) {
        if os.contains(&self.os) && self.has(steps) {
            let message = format!("'{}' has no effect on {}: {why}", super::de::spell(steps), self.os);
            self.out.push(Diagnostic::warning(Code::OsDifference, self.origin(steps), message));
        }
    }

    /// The command, with a program that has a path made absolute.
    pub(super) fn command(&mut self, text: &CommandText, steps: &[Step]) -> Option<Command> {
        match text.command() {
            Ok(mut command) => {
                if let Some(program) = command.words.first_mut() {
                    *program = program_path(program, self.base, self.os);
                }
                Some(command)
            }
            Err(_) if self.follows(Code::BadCommand, steps) => None,
            Err(refusal) => {
                let error = Diagnostic::error(refusal.code, self.origin(steps), refusal.message);
                self.out.push(Diagnostic { help: refusal.help, ..error });
                None
            }
        }
    }

    /// A path, relative to the spec's folder.
    pub(super) fn path(&mut self, text: &str, steps: &[Step]) -> PathBuf {
        if text.trim().is_empty() {
            self.error(Code::BadValue, steps, "a path cannot be empty");
        } else if text.starts_with("~/") {
            let message = format!("{text:?} is a folder named '~': only shells know that sign");
            self.warning(Code::Suspicious, steps, message, Some("write ${HOME}/ instead"));
        }
        resolve(text, self.base, self.os)
    }

    /// A duration that has to be longer than nothing.
    pub(super) fn some_time(&mut self, span: Option<&Span>, default: Duration, steps: &[Step]) -> Duration {
        match span {
            Some(Span(span)) if span.is_zero() => {
                self.error(Code::NumberRange, steps, format!("'{}' must be longer than 0s", super::de::spell(steps)));
                default
            }
            Some(Span(span)) => *span,
            None => default,
        }
    }
}

/// Whether a path says where it begins. Decided by the OS that the spec is read for, not the one that reads it.
pub(super) fn is_absolute(text: &str, os: Os) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    text.starts_with('/') || os == Os::Windows && (drive || text.starts_with('\\'))
}

/// The path, relative to the spec's folder.
pub(super) fn resolve(text: &str, base: &Path, os: Os) -> PathBuf {
    let text = text.trim();
    if is_absolute(text, os) {
        return PathBuf::from(text);
    }
    let mut path = base.to_path_buf();
    path.extend(Path::new(text).components().filter(|part| *part != std::path::Component::CurDir));
    path
}

fn program_path(program: &Template, base: &Path, os: Os) -> Template {
    let shown = program.to_string();
    let separated = shown.contains('/') || os == Os::Windows && shown.contains('\\');
    if !separated || is_absolute(&shown, os) {
        return program.clone();
    }
    let mut pieces = program.pieces().to_vec();
    if let Some(Piece::Text(first)) = pieces.first_mut() {
        let rest = first.strip_prefix("./").or_else(|| first.strip_prefix(".\\").filter(|_| os == Os::Windows));
        *first = base.join(rest.unwrap_or(first)).to_string_lossy().into_owned();
    } else {
        let folder = format!("{}/", base.to_string_lossy());
        pieces.insert(0, Piece::Text(folder));
    }
    Template::from_pieces(pieces)
}
