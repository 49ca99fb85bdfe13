//! Records: what a sink sends and the JSON form writes. One line of output, or several that belong together.
//!
//! Made from lines as they come (the JSON form) or from files (the sinks); both say the same of the same line.
//!
//! In the order of a line's way:
//! - [`redact`]: what must not be written is masked;
//! - [`join`]: lines that belong together become one text;
//! - [`normal`]: the text is taken apart, where it is JSON;
//! - [`owner`]: whose it is;
//! - [`json`]: it is written as one line of JSON, and read again;
//! - [`syslog`]: it is written as RFC 5424 has it; [`fields`]: what receivers of text are told of a program's own fields.

pub mod fields;
pub mod join;
pub(crate) mod json;
mod members;
pub mod normal;
pub mod owner;
pub mod redact;
pub mod syslog;
#[cfg(test)]
mod tests;

pub use json::name_beside;
pub use owner::{Author, Byline, Host, Owner};

use crate::policy::Stream;
use crate::stamp::{StampReader, Stamper, Wall};
use members::string;
use normal::{Message, Normal, normalise, plain};
use std::borrow::Cow;
use std::sync::Arc;
use tutela_core::level::Level;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Whose.
    pub owner: Arc<Owner>,
    /// The same for the same lines, whenever and however often they are read: by it a receiver knows a repetition.
    pub id: RecordId,
    /// When its first line was read from the program.
    pub at: Wall,
    /// When it happened, as the program itself says, in nanoseconds since 1970; `None`: it does not say.
    pub time: Option<u64>,
    /// Which stream; `None`: the file does not tell.
    pub stream: Option<Stream>,
    /// How much it matters; `None`: it does not say.
    pub level: Option<Level>,
    /// The text: for a line of JSON its message, else the line. Without the last newline; invalid UTF-8 is kept as bytes.
    pub message: Box<[u8]>,
    /// The program's own fields, for a line of JSON: names, and values as JSON text, in the program's order. Time, level
    /// and message are not among them once they were understood.
    pub fields: Vec<(String, String)>,
}

/// Where a record's first line stands: in which file, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// The moment at which the file was begun, in microseconds: it stays when the file is rotated.
    pub file: u64,
    /// The offset in the file as it was before compression.
    pub offset: u64,
}

/// What a text says, taken apart: the part of a record that comes from the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// As [`Record::time`].
    pub time: Option<u64>,
    /// As [`Record::level`].
    pub level: Option<Level>,
    /// As [`Record::message`].
    pub message: Box<[u8]>,
    /// As [`Record::fields`].
    pub fields: Vec<(String, String)>,
}

impl Parts {
    /// Takes a text apart. `begins`: it begins where a line begins; what goes on with a line that was too long is no JSON,
    /// whatever it looks like.
    pub fn of(text: &[u8], begins: bool) -> Self {
        let Normal { time, level, message, fields } = if begins { normalise(text) } else { plain(text) };
        let fields = fields.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        Parts { time, level, message: message.bytes(), fields }
    }

    /// Takes a line of a file of records apart. `None`: it is none of ours.
    pub fn of_record(line: &[u8]) -> Option<Self> {
        json::read(line, &mut StampReader::default()).map(|read| read.parts)
    }

    /// The whole as a line for people: the message, and behind it the fields as `name=value`.
    pub fn text(&self) -> Vec<u8> {
        text(&self.message, &self.fields)
    }
}

impl Record {
    /// As [`Parts::text`].
    pub fn text(&self) -> Vec<u8> {
        text(&self.message, &self.fields)
    }

    /// Adds it as a line of a file in JSON, with its newline.
    pub fn put_json(&self, out: &mut Vec<u8>) {
        let mut owner = Vec::new();
        json::put_owner(&self.owner, &mut owner);
        let fields = self.fields.iter().map(|(name, value)| (Cow::Borrowed(&**name), &**value)).collect();
        let normal = Normal { time: self.time, level: self.level, message: Message::Plain(&self.message), fields };
        let stamp = *Stamper::default().text(self.at);
        json::put_record(&stamp, self.stream, &owner, &normal, false, &mut Stamper::default(), out);
    }
}

/// Fields behind a message, as people read them: texts that are one plain word without their quotes.
fn text(message: &[u8], fields: &[(String, String)]) -> Vec<u8> {
    let mut out = message.to_vec();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        let word = string(value).filter(|text| {
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"=\\".contains(c))
        });
        out.extend_from_slice(word.as_deref().unwrap_or(value).as_bytes());
    }
    out
}
