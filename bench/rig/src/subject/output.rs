//! What programs write, and in which form a subject keeps it: for the measurements of logs, which lay a writer
//! (`bench/writer.c`) in the place of the silent program.

use super::{Load, folder, text};
use crate::arena::Arena;
use crate::options::Options;
use anyhow::Result;
use std::path::PathBuf;

/// The size at which files are rotated, where a subject can: the issue of every table about logs.
pub const ROTATE_BYTES: u64 = 50 << 20;

/// The same of multilog, which takes no larger one.
pub const ROTATE_BYTES_OF_MULTILOG: u64 = 16_777_215;

/// What a [`Subject`](super::Subject) does with lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The bytes as they are.
    Raw,
    /// A timestamp in front of each line.
    Stamped,
    /// JSON records, read and written in one form.
    Json,
}

/// How the writer writes; the words of `writer.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Blocks as large as a pipe.
    Bulk,
    /// One line a call.
    Line,
    /// JSON objects in blocks.
    Json,
    /// A thousand lines a second, one a call, ten at a time.
    Paced,
    /// Blocks without end.
    Flood,
    /// One line, then nothing.
    Silent,
}

impl Manner {
    const fn word(self) -> &'static str {
        match self {
            Manner::Bulk => "bulk",
            Manner::Line => "line",
            Manner::Json => "json",
            Manner::Paced => "paced",
            Manner::Flood => "flood",
            Manner::Silent => "silent",
        }
    }
}

/// What every program writes and how it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// Lines of each program.
    pub lines: u32,
    /// Bytes of a line, its newline included.
    pub bytes: u32,
    /// How they are written.
    pub manner: Manner,
    /// How they are kept.
    pub form: Form,
    /// Rotated files that are kept.
    pub keep: u32,
}

/// A [`Speech`] with its places.
#[derive(Debug, Clone)]
pub struct Output {
    /// What is said.
    pub speech: Speech,
    /// Below it lie the files: one folder for each service, named after it.
    pub folder: PathBuf,
    gate: PathBuf,
    writer: PathBuf,
}

impl Output {
    /// Makes the gate and the folder for files.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn lay(speech: Speech, arena: &Arena, options: &Options) -> Result<Self> {
        arena.make_gate()?;
        let writer = options.beside("log-bench-child");
        Ok(Output { speech, folder: folder(&arena.logs())?, gate: arena.gate(), writer })
    }

    /// The words of the writer with this number.
    pub(super) fn words(&self, load: &Load, index: &str) -> Vec<String> {
        let Speech { lines, bytes, manner, .. } = self.speech;
        vec![
            text(&self.writer),
            text(&load.births),
            index.to_owned(),
            text(&self.gate),
            lines.to_string(),
            bytes.to_string(),
            manner.word().to_owned(),
        ]
    }

    /// The folder of a service's files, made.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn of(&self, service: &str) -> Result<String> {
        Ok(text(&folder(&self.folder.join(service))?))
    }

    /// Whether each line gets a timestamp.
    pub(super) fn is_stamped(&self) -> bool {
        self.speech.form != Form::Raw
    }
}
