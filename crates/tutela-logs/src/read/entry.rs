//! One line from a file, and whether a query wants it.

use super::Query;
use crate::policy::{Form, Stream};
use crate::stamp::{StampReader, Wall};
use crate::writer::parse;
use std::io::{self, Write};
use std::sync::Arc;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The program, on this stream.
    Stream(Stream),
    /// The program, on a stream that the file does not tell.
    Unknown,
    /// The writer: a note that something is missing here.
    Gap,
}

/// One line, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub label: Arc<str>,
    /// When it was read from the program; `None`: the file does not tell.
    pub at: Option<Wall>,
    /// From where.
    pub origin: Origin,
    /// The program's bytes, without the newline.
    pub text: Vec<u8>,
    /// Whether a newline stood behind them.
    pub ended: bool,
}

impl Entry {
    /// Writes exactly what the program wrote: nothing for a note.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_raw(&self, out: &mut impl Write) -> io::Result<()> {
        if self.origin == Origin::Gap {
            return Ok(());
        }
        out.write_all(&self.text)?;
        if self.ended { out.write_all(b"\n") } else { Ok(()) }
    }
}

/// What a line says about itself, without its text.
pub(super) struct Head {
    pub(super) at: Option<Wall>,
    pub(super) origin: Origin,
    pub(super) text_from: usize,
    pub(super) ended: bool,
}

/// Reads the beginning of a line of a file.
pub(super) fn head(line: &[u8], form: Form, stamps: &mut StampReader) -> Head {
    let parsed = if form == Form::Stamped { parse(line, stamps) } else { None };
    match parsed {
        Some(parsed) => Head {
            at: Some(parsed.at),
            origin: parsed.stream.map_or(Origin::Gap, Origin::Stream),
            text_from: line.len() - parsed.piece.text.len(),
            ended: parsed.piece.ended,
        },
        None => Head { at: None, origin: Origin::Unknown, text_from: 0, ended: true },
    }
}

/// Whether the query wants a line of this origin that counts as written at `at`.
pub(super) fn is_wanted(query: &Query, origin: Origin, at: Wall) -> bool {
    let stream = query.stream.is_none_or(|stream| match origin {
        Origin::Stream(of) => of == stream,
        Origin::Gap => true,
        Origin::Unknown => false,
    });
    stream && query.since.is_none_or(|since| at >= since) && query.until.is_none_or(|until| at < until)
}
