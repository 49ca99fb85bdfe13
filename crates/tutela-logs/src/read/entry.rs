//! One line from a file, and whether a query wants it.

use super::Query;
use crate::policy::{Form, Stream};
use crate::record::Parts;
use crate::record::json::{self, Teller};
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
    /// The program's bytes, without the newline; of a record in JSON what [`Parts::text`] makes of it.
    pub text: Vec<u8>,
    /// Whether a newline stood behind them.
    pub ended: bool,
    /// Of a record in JSON: its parts.
    pub parts: Option<Box<Parts>>,
}

impl Entry {
    /// Writes exactly what the program wrote, but for fields of records in JSON; nothing for a note.
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

/// The moment of a line of a file and where it comes from, from its first bytes.
pub(super) fn head(line: &[u8], form: Form, stamps: &mut StampReader) -> (Option<Wall>, Origin) {
    let known = match form {
        Form::Raw => None,
        Form::Stamped => parse(line, stamps).map(|it| (it.at, it.stream.map_or(Origin::Gap, Origin::Stream))),
        Form::Json => json::read_head(line, stamps).map(|(at, teller)| (at, origin(teller))),
    };
    known.map_or((None, Origin::Unknown), |(at, origin)| (Some(at), origin))
}

/// Takes a whole line of a file apart.
pub(super) fn entry(label: Arc<str>, line: &[u8], form: Form, stamps: &mut StampReader) -> Entry {
    match form {
        Form::Raw => {}
        Form::Stamped => {
            if let Some(parsed) = parse(line, stamps) {
                let origin = parsed.stream.map_or(Origin::Gap, Origin::Stream);
                let (text, ended) = (parsed.piece.text.to_vec(), parsed.piece.ended);
                return Entry { label, at: Some(parsed.at), origin, text, ended, parts: None };
            }
        }
        Form::Json => {
            if let Some(read) = json::read(line, stamps) {
                let (origin, text, ended) = (origin(read.teller), read.parts.text(), !read.partial);
                return Entry { label, at: Some(read.at), origin, text, ended, parts: Some(Box::new(read.parts)) };
            }
        }
    }
    // Somebody else's, or the half of one.
    Entry { label, at: None, origin: Origin::Unknown, text: line.to_vec(), ended: true, parts: None }
}

fn origin(teller: Teller) -> Origin {
    match teller {
        Teller::Program(stream) => Origin::Stream(stream),
        Teller::Gap => Origin::Gap,
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
