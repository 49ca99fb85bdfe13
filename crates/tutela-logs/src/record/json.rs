//! Records as lines of JSON: the JSON form of files, written and read.
//!
//! ```text
//! {"timestamp":"2026-11-20T21:23:45.123456Z","stream":"out","level":"warn","service_name":"api","instance":"0",
//!  "host":"web1","host_ip":"192.0.2.7","time":"2026-11-20T21:23:45.1Z","message":"disk is slow","device":"sda"}
//! ```
//!
//! in one line. It begins with the moment and the stream, at places that never change: so a reader knows the form from a
//! file's first bytes, and searches and filters without a parser. `timestamp` is when the pump read the record's first
//! line, so it grows along a file; `time` is what the program itself said, in UTC. What is not known is left out.
//!
//! | member | when |
//! |---|---|
//! | `"partial":true` | no newline stood behind the text: the next record of the stream goes on with it, or the stream ended |
//! | `message_base64` | the message is not UTF-8: it stands here as it was, and in `message` with U+FFFD |
//! | `"tutela":"gap"` | in the place of `stream`: a note of ours that output is missing here, with `dropped_bytes` and `dropped_lines` |
//!
//! Behind them come the program's own fields, verbatim and in its order. One that has the name of a member of ours gets
//! `program_` before it, and so does one that already has such a name with `program_` before it: reading takes one away
//! again. No name comes twice ([`super::normal`]). A newline between the tokens of a field (of a record of several lines) becomes a blank.
//!
//! Deliberately absent: nested members, other names for them.

use super::members::{members, string};
use super::normal::{Message, Normal};
use super::{Owner, Parts};
use crate::lines::LINE_BYTES_MAX;
use crate::policy::Stream;
use crate::stamp::{STAMP_BYTES, StampReader, Stamper, Wall};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use tutela_core::level::Level;

/// The longest record of a file in JSON: its text with every byte escaped (six bytes for one) and once more in base64,
/// and the other members. A longer line is somebody else's.
pub(crate) const RECORD_LINE_BYTES_MAX: usize = 8 * super::join::RECORD_BYTES_MAX + LINE_BYTES_MAX;

const BEGIN: &[u8] = br#"{"timestamp":""#;
const STREAM: &[u8] = br#"","stream":""#;
const TUTELA: &[u8] = br#"","tutela":""#;
const GAP: &[u8] = b"gap";

/// Where what comes behind the moment begins, and where the word behind it.
const AFTER_STAMP: usize = BEGIN.len() + STAMP_BYTES;
const WORD: usize = AFTER_STAMP + STREAM.len();

/// What goes before a program's name that is one of ours.
const PREFIX: &str = "program_";

/// Whether a name is that of a member of ours.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "timestamp"
            | "stream"
            | "tutela"
            | "level"
            | "service_name"
            | "instance"
            | "host"
            | "host_ip"
            | "time"
            | "partial"
            | "message"
            | "message_base64"
            | "tutela_id"
    )
}

/// Whether the program's name has to be told from ours.
fn is_taken(name: &str, is_ours: impl Fn(&str) -> bool) -> bool {
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(PREFIX) {
        bare = rest;
    }
    is_ours(bare)
}

/// The name of a program's field beside members of ours: `program_` stands before one that is ours, and before one that
/// would be by taking that away. So names that differ stay different.
pub fn name_beside(name: &str, is_ours: impl Fn(&str) -> bool) -> Cow<'_, str> {
    if is_taken(name, is_ours) { Cow::Owned(format!("{PREFIX}{name}")) } else { Cow::Borrowed(name) }
}

/// The members that are the same in every record of an owner, as they stand in one.
pub(crate) fn put_owner(owner: &Owner, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""service_name":""#);
    put_escaped(owner.service.as_bytes(), out);
    out.extend_from_slice(br#"","instance":""#);
    out.extend_from_slice(owner.instance.to_string().as_bytes());
    out.extend_from_slice(br#"","host":""#);
    put_escaped(owner.host.as_bytes(), out);
    if let Some(ip) = owner.host_ip {
        out.extend_from_slice(br#"","host_ip":""#);
        out.extend_from_slice(ip.to_string().as_bytes());
    }
    out.extend_from_slice(br#"","#);
}

/// Adds a record with its newline. `owner` is what [`put_owner`] wrote; `times` remembers the program's seconds.
pub(crate) fn put_record(
    stamp: &[u8; STAMP_BYTES],
    stream: Option<Stream>,
    owner: &[u8],
    normal: &Normal<'_>,
    partial: bool,
    times: &mut Stamper,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(BEGIN);
    out.extend_from_slice(stamp);
    if let Some(stream) = stream {
        out.extend_from_slice(STREAM);
        out.extend_from_slice(stream.word().as_bytes());
    }
    out.extend_from_slice(br#"","#);
    if let Some(level) = normal.level {
        out.extend_from_slice(br#""level":""#);
        out.extend_from_slice(level.word().as_bytes());
        out.extend_from_slice(br#"","#);
    }
    out.extend_from_slice(owner);
    if let Some(nanos) = normal.time {
        out.extend_from_slice(br#""time":""#);
        put_time(nanos, times, out);
        out.extend_from_slice(br#"","#);
    }
    if partial {
        out.extend_from_slice(br#""partial":true,"#);
    }
    out.extend_from_slice(br#""message":"#);
    match normal.message {
        Message::Quoted(text) => out.extend_from_slice(text.as_bytes()),
        Message::Plain(bytes) => put_message(bytes, out),
    }
    for (name, value) in &normal.fields {
        out.extend_from_slice(b",\"");
        if is_taken(name, is_ours) {
            out.extend_from_slice(PREFIX.as_bytes());
        }
        put_escaped(name.as_bytes(), out);
        out.extend_from_slice(b"\":");
        let from = out.len();
        out.extend_from_slice(value.as_bytes());
        // In valid JSON it stands between tokens only.
        if memchr::memchr(b'\n', value.as_bytes()).is_some() {
            out[from..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Adds a note that output is missing.
pub(crate) fn put_gap(stamp: &[u8; STAMP_BYTES], owner: &[u8], bytes: u64, lines: u64, why: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(BEGIN);
    out.extend_from_slice(stamp);
    out.extend_from_slice(TUTELA);
    out.extend_from_slice(GAP);
    out.extend_from_slice(br#"","#);
    out.extend_from_slice(owner);
    let numbers = format!(r#""dropped_bytes":{bytes},"dropped_lines":{lines},"message":""#);
    out.extend_from_slice(numbers.as_bytes());
    put_escaped(format!("{bytes} bytes in {lines} lines were not stored: {why}").as_bytes(), out);
    out.extend_from_slice(b"\"}\n");
}

/// Adds a text in quotes, and beside it what it is where it is no text.
fn put_message(bytes: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(bytes);
    out.push(b'"');
    put_escaped(text.as_bytes(), out);
    out.push(b'"');
    if matches!(text, Cow::Owned(_)) {
        out.extend_from_slice(br#","message_base64":""#);
        out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        out.push(b'"');
    }
}

/// Adds the bytes as they stand within a JSON string.
pub(super) fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            byte => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Adds a moment in UTC, with nanoseconds where it has them.
fn put_time(nanos: u64, times: &mut Stamper, out: &mut Vec<u8>) {
    let text = times.text(Wall::from_micros(nanos / 1000));
    out.extend_from_slice(&text[..STAMP_BYTES - 1]);
    if !nanos.is_multiple_of(1000) {
        out.extend_from_slice(format!("{:03}", nanos % 1000).as_bytes());
    }
    out.push(b'Z');
}

/// Whose a line is, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teller {
    Program(Stream),
    /// A note of ours.
    Gap,
}

/// The moment and the teller of a record, from its first bytes. `None`: it is none of ours.
pub(crate) fn read_head(line: &[u8], stamps: &mut StampReader) -> Option<(Wall, Teller)> {
    if !line.starts_with(BEGIN) || line.get(WORD + 3..WORD + 5)? != br#"","# {
        return None;
    }
    let at = stamps.read(&line[BEGIN.len()..])?;
    let teller = match (&line[AFTER_STAMP..WORD], &line[WORD..WORD + 3]) {
        (STREAM, b"out") => Teller::Program(Stream::Out),
        (STREAM, b"err") => Teller::Program(Stream::Err),
        (TUTELA, GAP) => Teller::Gap,
        _ => return None,
    };
    Some((at, teller))
}

/// A record, read.
pub(crate) struct Read {
    pub(crate) at: Wall,
    pub(crate) teller: Teller,
    pub(crate) partial: bool,
    pub(crate) parts: Parts,
}

/// Takes a record apart, without its newline. `None`: it is none of ours.
pub(crate) fn read(line: &[u8], stamps: &mut StampReader) -> Option<Read> {
    let (at, teller) = read_head(line, stamps)?;
    let mut parts = Parts { time: None, level: None, message: Box::default(), fields: Vec::new() };
    let (mut partial, mut exact) = (false, None);
    for (name, value) in members(line)? {
        match &*name {
            "timestamp" | "stream" | "tutela" | "service_name" | "instance" | "host" | "host_ip" => {}
            "partial" => partial = value == "true",
            "level" => {
                let word = string(value)?;
                parts.level = Level::ALL.into_iter().find(|level| level.word() == word);
            }
            "time" => {
                let moment: jiff::Timestamp = string(value)?.parse().ok()?;
                parts.time = u64::try_from(moment.as_nanosecond()).ok();
            }
            "message" => parts.message = string(value)?.as_bytes().into(),
            "message_base64" => exact = Some(STANDARD.decode(&*string(value)?).ok()?),
            other => {
                let name = if is_taken(other, is_ours) { other.strip_prefix(PREFIX).unwrap_or(other) } else { other };
                parts.fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    if let Some(exact) = exact {
        parts.message = exact.into();
    }
    if teller == Teller::Gap {
        // They are in the text.
        parts.fields.clear();
    }
    Some(Read { at, teller, partial, parts })
}
