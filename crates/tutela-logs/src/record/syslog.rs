//! A record as RFC 5424 has it, and a stream of them as RFC 6587 counts it.
//!
//! Called by the guard's sink for syslog; touches nothing but memory.
//!
//! | part | holds |
//! |---|---|
//! | PRI | the spec's facility and the record's level; one without a level counts as informational |
//! | TIMESTAMP | when the line was read, in UTC, with microseconds |
//! | HOSTNAME, APP-NAME, PROCID | the computer, the service, the instance |
//! | MSGID | `stdout` or `stderr` |
//! | `meta`, `origin` | a number that counts what was sent, this computer's address, this program |
//! | `tutela@0` | the guard, the record's id, its level where it says one |
//! | `fields@0` | the program's own fields |
//! | MSG | the message, byte for byte; a BOM before it where it is UTF-8 and not plain ASCII |
//!
//! The number 0 behind `@` is the one that IANA keeps to itself, so no enterprise's elements can be taken for these.
//!
//! Control characters stay as they are: the RFC allows them, framing keeps them together, and receivers make them
//! harmless in their own way when they store them. A BOM that a message itself begins with is left out, because the
//! RFC gives it another meaning there.

use super::Record;
use super::fields::{cut, plain};
use crate::policy::Stream;
use crate::stamp::Wall;
use std::io::Write as _;
use std::net::IpAddr;
use tutela_core::level::Level;

/// The mark before a text in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The RFC's longest names.
const HOSTNAME_MAX: usize = 255;
const APP_NAME_MAX: usize = 48;
const PARAM_NAME_MAX: usize = 32;

/// The greatest `sequenceId`; 1 follows it.
const SEQUENCE_MAX: u32 = 2_147_483_647;

/// A program's own fields get at most this part of a message's room, so that something of the text is left.
const FIELDS_PART: usize = 2;

/// Room for what ends an element of fields that are not all in it.
const OMITTED_BYTES: usize = 32;

/// The length of the part of a time that changes only each second: `2026-11-20T21:23:45`.
const SECOND_BYTES: usize = 19;

/// Writes messages of one sender.
#[derive(Debug)]
pub struct Writer {
    facility: u8,
    sequence: u32,
    second: Option<(u64, String)>,
    /// A message whose length goes before it; empty between two calls.
    message: Vec<u8>,
}

impl Writer {
    /// Messages of this facility, 0 to 23; their numbers begin with 1.
    pub fn new(facility: u8) -> Self {
        Writer { facility: facility.min(23), sequence: 0, second: None, message: Vec::new() }
    }

    /// Appends the message of a record, which has at most `room` bytes unless that is too little for its head, about
    /// 500 bytes at most: fields that do not fit are left out, and a text that does not is cut with a mark.
    pub fn write(&mut self, record: &Record, room: usize, out: &mut Vec<u8>) {
        let began = out.len();
        let owner = &record.owner;
        let severity = record.level.unwrap_or(Level::Info).severity();
        // Writing to memory cannot fail, here and below.
        let _ = write!(out, "<{}>1 ", u16::from(self.facility) * 8 + u16::from(severity));
        self.put_time(record.at, out);
        out.push(b' ');
        match (&*owner.host, owner.host_ip) {
            ("", Some(address)) => drop(write!(out, "{address}")),
            (host, _) => put_word(host, HOSTNAME_MAX, out),
        }
        out.push(b' ');
        put_word(&owner.service, APP_NAME_MAX, out);
        let stream = match record.stream {
            Some(Stream::Out) => "stdout",
            Some(Stream::Err) => "stderr",
            None => "-",
        };
        let _ = write!(out, " {} {stream} ", owner.instance);
        self.sequence = if self.sequence >= SEQUENCE_MAX { 1 } else { self.sequence + 1 };
        let _ = write!(out, "[meta sequenceId=\"{}\"]", self.sequence);
        put_origin(owner.host_ip, out);
        out.extend_from_slice(b"[tutela@0 guard=\"");
        put_value(&owner.guard, out);
        let _ = write!(out, "\" id=\"{}-{}\"", record.id.file, record.id.offset);
        if let Some(level) = record.level {
            let _ = write!(out, " level=\"{}\"", level.word());
        }
        out.push(b']');
        let fields_end = began + room / FIELDS_PART;
        put_fields(&record.fields, fields_end, out);
        if !record.message.is_empty() {
            out.push(b' ');
            let left = room.saturating_sub(out.len() - began);
            put_message(&record.message, left, out);
        }
    }

    /// Appends the same with its length before it, as it goes over a connection (RFC 6587, 3.4.1): whatever bytes a message
    /// has, the next one begins behind it.
    pub fn write_counted(&mut self, record: &Record, room: usize, out: &mut Vec<u8>) {
        let mut message = std::mem::take(&mut self.message);
        self.write(record, room, &mut message);
        let _ = write!(out, "{} ", message.len());
        out.append(&mut message);
        self.message = message;
    }

    fn put_time(&mut self, at: Wall, out: &mut Vec<u8>) {
        let (second, micros) = (at.as_micros() / 1_000_000, at.as_micros() % 1_000_000);
        let text = match &mut self.second {
            Some((of, text)) if *of == second => text,
            stale => {
                let mut text = at.to_string();
                text.truncate(SECOND_BYTES);
                &mut stale.insert((second, text)).1
            }
        };
        let _ = write!(out, "{text}.{micros:06}Z");
    }
}

fn put_origin(address: Option<IpAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[origin");
    if let Some(address) = address {
        let _ = write!(out, " ip=\"{address}\"");
    }
    out.extend_from_slice(concat!(" software=\"tutela\" swVersion=\"", env!("CARGO_PKG_VERSION"), "\"]").as_bytes());
}

/// The program's own fields, as far as they end before `end`.
fn put_fields(fields: &[(String, String)], end: usize, out: &mut Vec<u8>) {
    if fields.is_empty() {
        return;
    }
    out.extend_from_slice(b"[fields@0");
    let mut omitted = 0_usize;
    for (name, value) in fields {
        let before = out.len();
        // Nothing is made of a value that cannot fit.
        if before + value.len() / 2 + OMITTED_BYTES > end {
            omitted += 1;
            continue;
        }
        out.push(b' ');
        put_name(name, out);
        out.extend_from_slice(b"=\"");
        put_value(&plain(value), out);
        out.push(b'"');
        if out.len() + OMITTED_BYTES > end {
            out.truncate(before);
            omitted += 1;
        }
    }
    if omitted > 0 {
        let _ = write!(out, " omitted=\"{omitted}\"");
    }
    out.push(b']');
}

/// Printable ASCII without spaces; nothing is said by `-`.
fn put_word(text: &str, max: usize, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    }
    out.extend(text.chars().take(max).map(|c| if c.is_ascii_graphic() { c as u8 } else { b'_' }));
}

/// A word without what ends a name.
fn put_name(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'_');
    }
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"');
    out.extend(text.chars().take(PARAM_NAME_MAX).map(|c| if is_plain(&c) { c as u8 } else { b'_' }));
}

fn put_value(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn put_message(message: &[u8], room: usize, out: &mut Vec<u8>) {
    let is_text = std::str::from_utf8(message).is_ok();
    let mut message = message;
    while let Some(rest) = message.strip_prefix(BOM) {
        message = rest;
    }
    let mut room = room;
    if is_text && !message.is_ascii() {
        out.extend_from_slice(BOM);
        room = room.saturating_sub(BOM.len());
    }
    match cut(message, room) {
        None => out.extend_from_slice(message),
        Some((kept, mark)) => {
            out.extend_from_slice(kept);
            out.extend_from_slice(mark.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::record::{Owner, RecordId};
    use proptest::prelude::*;
    use std::sync::Arc;

    const ROOM: usize = 64 * 1024;

    fn saying(message: impl AsRef<[u8]>) -> Record {
        let host_ip = Some([192, 0, 2, 7].into());
        let owner =
            Owner { guard: "shop".into(), service: "api".into(), instance: 2, host: "box.example".into(), host_ip };
        Record {
            owner: Arc::new(owner),
            id: RecordId { file: 1_795_209_825_000_001, offset: 4711 },
            at: Wall::from_micros(1_795_209_825_123_456),
            stream: Some(Stream::Out),
            level: Some(Level::Warn),
            message: message.as_ref().into(),
            fields: Vec::new(),
            time: None,
        }
    }

    fn written(record: &Record, room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Writer::new(16).write(record, room, &mut out);
        out
    }

    #[test]
    fn a_message_is_as_the_rfc_has_it() {
        let mut record = saying("it \"failed\"\nbadly");
        record.fields = vec![("user id".into(), "\"a]b\\\"c\"".into()), ("n".into(), "[1,2]".into())];
        let wanted = concat!(
            "<132>1 2026-11-20T21:23:45.123456Z box.example api 2 stdout [meta sequenceId=\"1\"]",
            "[origin ip=\"192.0.2.7\" software=\"tutela\" swVersion=\"",
            env!("CARGO_PKG_VERSION"),
            "\"][tutela@0 guard=\"shop\" id=\"1795209825000001-4711\" level=\"warn\"]",
            "[fields@0 user_id=\"a\\]b\\\"c\" n=\"[1,2\\]\"] it \"failed\"\nbadly"
        );
        assert_eq!(String::from_utf8(written(&record, ROOM)).unwrap(), wanted);
    }

    #[test]
    fn a_message_with_its_length_before_it_is_followed_by_the_next_whatever_is_in_it() {
        let (mut writer, mut out) = (Writer::new(1), Vec::new());
        for message in ["12 <0>1 ", "\n\n", ""] {
            writer.write_counted(&saying(message), ROOM, &mut out);
        }
        let mut rest = &out[..];
        let mut messages = Vec::new();
        while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
            let (message, tail) = rest[blank + 1..].split_at(length);
            messages.push(read(message).unwrap().message);
            rest = tail;
        }
        assert_eq!(messages, [&b"12 <0>1 "[..], b"\n\n", b""]);
    }

    #[test]
    fn text_that_is_not_ascii_has_a_mark_and_bytes_that_are_no_text_have_none() {
        let text_of = |message: &[u8]| read(&written(&saying(message), ROOM)).unwrap().message;
        assert_eq!(text_of("grün".as_bytes()), [BOM, "grün".as_bytes()].concat());
        assert_eq!(text_of(b"green"), b"green");
        assert_eq!(text_of(b"gr\xfcn\0"), b"gr\xfcn\0");
        assert_eq!(text_of(&[BOM, b"green"].concat()), b"green");
        assert_eq!(text_of(&[BOM, BOM, b"gr\xfcn"].concat()), b"gr\xfcn");
        assert_eq!(text_of(b""), b"");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let mut record = saying("ü".repeat(5_000));
        record.fields = vec![("big".into(), format!("\"{}\"", "]".repeat(2_000))), ("small".into(), "1".into())];
        let out = written(&record, 2_048);
        assert!(out.len() <= 2_048, "{}", out.len());
        let got = read(&out).unwrap();
        assert_eq!(got.elements[3].1, [("small".to_owned(), "1".to_owned()), ("omitted".into(), "1".into())]);
        let text = String::from_utf8(got.message).unwrap();
        assert!(text.ends_with(" bytes more]"), "{text}");
    }

    #[test]
    fn numbers_count_up_and_begin_again_with_one() {
        let (mut writer, record) = (Writer::new(1), saying("x"));
        writer.sequence = SEQUENCE_MAX - 1;
        for wanted in [SEQUENCE_MAX, 1, 2] {
            let mut out = Vec::new();
            writer.write(&record, ROOM, &mut out);
            assert_eq!(read(&out).unwrap().elements[0].1, [("sequenceId".to_owned(), wanted.to_string())]);
        }
    }

    prop_compose! {
        fn a_record()(
            names in prop::collection::vec(any::<String>(), 3),
            instance in any::<u16>(),
            micros in 0..253_402_207_199_999_999_u64,
            level in prop::option::of(prop::sample::select(&Level::ALL[..])),
            stream in prop::sample::select(vec![None, Some(Stream::Out), Some(Stream::Err)]),
            message in prop_oneof![any::<String>().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..200)],
            fields in prop::collection::vec((any::<String>(), any::<String>()), 0..5),
        ) -> Record {
            let [guard, service, host] = [0, 1, 2].map(|at| Arc::from(names[at].as_str()));
            let fields = fields.into_iter().map(|(name, value)| (name, serde_json::Value::from(value).to_string()));
            Record {
                owner: Arc::new(Owner { guard, service, instance, host, host_ip: None }),
                id: RecordId { file: 7, offset: 8 },
                at: Wall::from_micros(micros),
                time: None,
                stream,
                level,
                message: message.into(),
                fields: fields.collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_program_writes_a_reader_gets_back(record in a_record(), facility in 0..24_u8) {
            let mut out = Vec::new();
            Writer::new(facility).write(&record, ROOM, &mut out);
            let got = read(&out).unwrap();
            let severity = record.level.unwrap_or(Level::Info).severity();
            prop_assert_eq!(got.priority, u16::from(facility) * 8 + u16::from(severity));
            prop_assert_eq!(got.time, record.at.to_string());
            let ascii = |text: &str, max: usize| -> String {
                let word = text.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect::<String>();
                if word.is_empty() { "-".into() } else { word }
            };
            prop_assert_eq!(got.host, ascii(&record.owner.host, 255));
            prop_assert_eq!(got.app, ascii(&record.owner.service, 48));
            prop_assert_eq!(got.process, record.owner.instance.to_string());
            let stream = match record.stream { None => "-", Some(Stream::Out) => "stdout", Some(Stream::Err) => "stderr" };
            prop_assert_eq!(got.kind, stream);
            prop_assert_eq!(&got.elements[2].1[0].1, &*record.owner.guard);
            let wanted: Vec<String> =
                record.fields.iter().map(|(_, value)| serde_json::from_str(value).unwrap()).collect();
            let values: Option<Vec<String>> = got.elements.get(3).map(|(_, params)| params.iter().map(|(_, value)| value.clone()).collect());
            prop_assert_eq!(values.unwrap_or_default(), wanted);
            let mut message = &record.message[..];
            while let Some(rest) = message.strip_prefix(BOM) {
                message = rest;
            }
            let is_text = std::str::from_utf8(message).is_ok() && !message.is_ascii();
            prop_assert_eq!(got.message.starts_with(BOM), is_text);
            prop_assert_eq!(got.message.strip_prefix(BOM).unwrap_or(&got.message), message);
        }

        #[test]
        fn no_message_is_longer_than_its_room(record in a_record(), room in 2_048..4_096_usize) {
            let out = written(&record, room);
            prop_assert!(out.len() <= room, "{} > {room}", out.len());
            prop_assert!(read(&out).is_some());
        }
    }

    /// A message as a receiver reads it, by the grammar of RFC 5424, section 6.
    #[derive(Debug)]
    struct Message {
        priority: u16,
        time: String,
        host: String,
        app: String,
        process: String,
        kind: String,
        elements: Vec<(String, Vec<(String, String)>)>,
        message: Vec<u8>,
    }

    fn read(bytes: &[u8]) -> Option<Message> {
        let end = bytes.iter().position(|byte| *byte == b'>')?;
        let priority = std::str::from_utf8(bytes.get(1..end)?).ok()?.parse().ok().filter(|it| *it <= 191)?;
        let mut rest = bytes[end..].strip_prefix(b">1 ")?;
        let mut word = |max: usize| {
            let end = rest.iter().position(|byte| *byte == b' ')?;
            let (word, tail) = (&rest[..end], &rest[end + 1..]);
            rest = tail;
            let is_word = (1..=max).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic);
            is_word.then(|| String::from_utf8_lossy(word).into_owned())
        };
        let (time, host, app, process, kind) = (word(32)?, word(255)?, word(48)?, word(128)?, word(32)?);
        let mut elements = Vec::new();
        while let Some(inside) = rest.strip_prefix(b"[") {
            let (element, tail) = read_element(inside)?;
            elements.push(element);
            rest = tail;
        }
        let message = match rest {
            [] => &[],
            [b' ', message @ ..] => message,
            _ => return None,
        };
        let names: std::collections::BTreeSet<&String> = elements.iter().map(|(name, _)| name).collect();
        (names.len() == elements.len()).then_some(())?;
        Some(Message { priority, time, host, app, process, kind, elements, message: message.to_vec() })
    }

    type Element = (String, Vec<(String, String)>);

    fn read_element(bytes: &[u8]) -> Option<(Element, &[u8])> {
        let is_name = |text: &[u8]| {
            let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"');
            (1..=32).contains(&text.len()) && text.iter().all(is_plain)
        };
        let end = bytes.iter().position(|byte| matches!(byte, b' ' | b']'))?;
        let (name, mut rest) = bytes.split_at(end);
        is_name(name).then_some(())?;
        let mut params = Vec::new();
        loop {
            match rest {
                [b']', tail @ ..] => return Some(((String::from_utf8_lossy(name).into_owned(), params), tail)),
                [b' ', tail @ ..] => {
                    let end = tail.iter().position(|byte| *byte == b'=')?;
                    is_name(&tail[..end]).then_some(())?;
                    let param = String::from_utf8_lossy(&tail[..end]).into_owned();
                    let (mut value, mut bytes) = (Vec::new(), tail[end + 1..].strip_prefix(b"\"")?);
                    loop {
                        match bytes {
                            [b'\\', byte @ (b'"' | b'\\' | b']'), tail @ ..] => {
                                value.push(*byte);
                                bytes = tail;
                            }
                            [b'"', tail @ ..] => {
                                rest = tail;
                                break;
                            }
                            [b']', ..] | [] => return None,
                            [byte, tail @ ..] => {
                                value.push(*byte);
                                bytes = tail;
                            }
                        }
                    }
                    params.push((param, String::from_utf8(value).ok()?));
                }
                _ => return None,
            }
        }
    }
}
