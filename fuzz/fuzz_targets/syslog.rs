//! Any record as syslog: a reader that knows nothing but the grammar of RFC 5424 (section 6) and the counting of RFC 6587
//! (section 3.4.1) gets every part of it back, and no message is taken for a part of another one.
//! `cargo fuzz run syslog fuzz/corpus/syslog fuzz/seeds/syslog`.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tutela_core::level::Level;
use tutela_logs::record::syslog::Writer;
use tutela_logs::record::{Owner, Parts, Record, RecordId};
use tutela_logs::{Stream, Wall};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A guard's name is one of a spec; the others come from the computer and from programs.
const GUARD_CHARS_MAX: usize = 40;

/// What goes before the fields is no longer than this, so this much room and as much again is enough for any message.
const HEAD_MAX: usize = 1024;
const ROOM_MIN: usize = 2 * HEAD_MAX;

// ---- what is sent

fn text(bytes: &mut Unstructured<'_>, max: usize) -> arbitrary::Result<Arc<str>> {
    Ok(bytes.arbitrary::<&str>()?.chars().take(max).collect::<String>().into())
}

fn record(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Record> {
    let host_ip = match bytes.int_in_range(0..=2)? {
        0 => None,
        1 => Some(IpAddr::from(bytes.arbitrary::<[u8; 4]>()?)),
        _ => Some(IpAddr::from(bytes.arbitrary::<[u8; 16]>()?)),
    };
    let owner = Owner {
        guard: text(bytes, GUARD_CHARS_MAX)?,
        service: text(bytes, usize::MAX)?,
        instance: bytes.arbitrary()?,
        host: text(bytes, usize::MAX)?,
        host_ip,
    };
    let (file, offset, at) = (bytes.arbitrary()?, bytes.arbitrary()?, Wall::from_micros(bytes.arbitrary()?));
    let stream = *bytes.choose(&[None, Some(Stream::Out), Some(Stream::Err)])?;
    let begins = bytes.arbitrary()?;
    let (level, fields) = (bytes.arbitrary::<u8>()?, bytes.arbitrary::<Vec<(&str, &str)>>()?);
    let line: &[u8] = bytes.arbitrary()?;
    // Often long enough to be cut.
    let line = line.repeat(if bytes.ratio(1, 8)? { 400 } else { 1 });
    // As the guard makes it: a line of JSON has fields, any other is a message.
    let Parts { time, level: said, message, fields: own } = Parts::of(&line, begins);
    let more = fields.into_iter().map(|(name, value)| (name.to_owned(), serde_json::Value::from(value).to_string()));
    Ok(Record {
        owner: Arc::new(owner),
        id: RecordId { file, offset },
        at,
        time,
        stream,
        level: said.or(Level::ALL.get(usize::from(level)).copied()),
        message,
        fields: own.into_iter().chain(more).collect(),
    })
}

// ---- what is received

struct Message<'a> {
    priority: u16,
    at: Wall,
    host: &'a str,
    app: &'a str,
    process: &'a str,
    kind: &'a str,
    elements: Vec<(&'a str, Vec<(&'a str, String)>)>,
    text: Option<&'a [u8]>,
}

/// Takes what the grammar names, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn mark(&mut self, mark: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(mark)?;
        Some(())
    }

    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| ends(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// `1*max PRINTUSASCII`, and what is left out of it.
    fn word(&mut self, max: usize, without: &[u8]) -> Option<&'a str> {
        let word = self.until(|byte| !(33..=126).contains(&byte) || without.contains(&byte));
        (1..=max).contains(&word.len()).then(|| std::str::from_utf8(word).ok())?
    }

    fn name(&mut self) -> Option<&'a str> {
        self.word(32, b"= ]\"")
    }

    /// A number as the RFCs write it, without zeros before it.
    fn number(&mut self, digits: usize) -> Option<u64> {
        let digits =
            Some(self.until(|byte| !byte.is_ascii_digit())).filter(|text| (1..=digits).contains(&text.len()))?;
        (digits == b"0" || digits[0] != b'0').then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
    }

    /// Two or more digits, as they stand in a time.
    fn digits(&mut self, count: usize) -> Option<u64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// `FULL-DATE "T" FULL-TIME` in UTC with six places.
    fn time(&mut self) -> Option<Wall> {
        let year = self.digits(4)?;
        self.mark(b"-")?;
        let month = self.digits(2)?;
        self.mark(b"-")?;
        let day = self.digits(2)?;
        self.mark(b"T")?;
        let hour = self.digits(2)?;
        self.mark(b":")?;
        let minute = self.digits(2)?;
        self.mark(b":")?;
        let second = self.digits(2)?;
        self.mark(b".")?;
        let micros = self.digits(6)?;
        self.mark(b"Z")?;
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
        if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let before: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
        let days = before + lengths.iter().take(month as usize - 1).sum::<u64>() + day - 1;
        Some(Wall::from_micros((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros))
    }

    /// `%d34 PARAM-VALUE %d34`: UTF-8 in which a quote, a backslash and a bracket have a backslash before them.
    fn value(&mut self) -> Option<String> {
        self.mark(b"\"")?;
        let mut value = Vec::new();
        loop {
            value.extend_from_slice(self.until(|byte| b"\"\\]".contains(&byte)));
            match self.0 {
                [b'\\', escaped @ (b'"' | b'\\' | b']'), rest @ ..] => {
                    value.push(*escaped);
                    self.0 = rest;
                }
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return String::from_utf8(value).ok();
                }
                _ => return None,
            }
        }
    }

    fn element(&mut self) -> Option<(&'a str, Vec<(&'a str, String)>)> {
        self.mark(b"[")?;
        let (id, mut params) = (self.name()?, Vec::new());
        while self.mark(b" ").is_some() {
            let name = self.name()?;
            self.mark(b"=")?;
            params.push((name, self.value()?));
        }
        self.mark(b"]")?;
        Some((id, params))
    }

    /// `HEADER SP STRUCTURED-DATA [SP MSG]`.
    fn message(mut self) -> Option<Message<'a>> {
        self.mark(b"<")?;
        let priority = self.number(3).filter(|priority| *priority <= 191)? as u16;
        self.mark(b">1 ")?;
        let at = self.time()?;
        let mut words = [""; 4];
        for (word, max) in words.iter_mut().zip([255, 48, 128, 32]) {
            self.mark(b" ")?;
            *word = self.word(max, b"")?;
        }
        let [host, app, process, kind] = words;
        self.mark(b" ")?;
        let mut elements = Vec::new();
        while self.0.first() == Some(&b'[') {
            elements.push(self.element()?);
        }
        let ids: BTreeSet<_> = elements.iter().map(|(id, _)| *id).collect();
        let text = match self.0 {
            [] => None,
            [b' ', text @ ..] => Some(text),
            _ => return None,
        };
        (!elements.is_empty() && ids.len() == elements.len()).then_some(Message {
            priority,
            at,
            host,
            app,
            process,
            kind,
            elements,
            text,
        })
    }
}

/// `MSG-LEN SP SYSLOG-MSG`, as often as it comes.
fn frames(stream: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut reader, mut frames) = (Reader(stream), Vec::new());
    while !reader.0.is_empty() {
        let length = reader.number(9).filter(|length| *length > 0)?;
        reader.mark(b" ")?;
        let (frame, rest) = reader.0.split_at_checked(length as usize)?;
        frames.push(frame);
        reader.0 = rest;
    }
    Some(frames)
}

// ---- that both are the same

/// What becomes of a text where only printable ASCII may stand.
fn ascii(text: &str, max: usize, without: &str) -> String {
    let keep = |c: char| if c.is_ascii_graphic() && !without.contains(c) { c } else { '_' };
    text.chars().take(max).map(keep).collect()
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

fn check_fields(record: &Record, got: &Message<'_>, room: usize) {
    let wanted: Vec<(String, String)> = record
        .fields
        .iter()
        .map(|(name, value)| {
            let text = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.clone());
            (or(&ascii(name, 32, "=]\""), "_").to_owned(), text)
        })
        .collect();
    let Some((_, params)) = got.elements.get(3) else {
        return assert!(wanted.is_empty());
    };
    let got: Vec<(String, String)> = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if got == wanted {
        return;
    }
    // Some were too long; how many is said behind the others, which are all there and in order.
    let ((name, omitted), kept) = got.split_last().expect("something is said");
    assert_eq!((name.as_str(), omitted.parse()), ("omitted", Ok(wanted.len() - kept.len())), "{wanted:?} {got:?}");
    let mut all = wanted.iter();
    assert!(kept.iter().all(|field| all.any(|wanted| wanted == field)), "{wanted:?} {got:?}");
    let length: usize = record.fields.iter().map(|(name, value)| name.len() + 2 * value.len() + 4).sum();
    assert!(length + HEAD_MAX > room / 2, "{length} bytes of fields have room in {room}");
}

fn check_text(record: &Record, got: &Message<'_>, is_full: bool) {
    let mut message = &record.message[..];
    let is_text = std::str::from_utf8(message).is_ok();
    while let Some(rest) = message.strip_prefix(BOM) {
        message = rest;
    }
    assert_eq!(got.text.is_none(), record.message.is_empty());
    let text = got.text.unwrap_or_default();
    assert_eq!(text.starts_with(BOM), is_text && !message.is_ascii());
    let body = text.strip_prefix(BOM).unwrap_or(text);
    assert!(!is_text || std::str::from_utf8(body).is_ok(), "a text stays one");
    if body == message {
        return;
    }
    assert!(is_full, "it is cut though there is room");
    let end = body.strip_suffix(b" bytes more]").expect("a cut is said");
    let begins = end.iter().rposition(|byte| !byte.is_ascii_digit()).expect("there is a word before the number") + 1;
    let missing: usize = std::str::from_utf8(&end[begins..]).expect("digits").parse().expect("a number");
    let kept = end[..begins].strip_suffix(b" [cut: ").expect("a cut is said");
    assert_eq!(kept.len() + missing, message.len());
    assert!(message.starts_with(kept));
}

fn check(record: &Record, number: usize, facility: u8, room: usize, frame: &[u8]) {
    let shown = String::from_utf8_lossy(frame);
    let got = Reader(frame).message().unwrap_or_else(|| panic!("no message: {shown}"));
    let severity = match record.level {
        Some(Level::Fatal) => 2,
        Some(Level::Error) => 3,
        Some(Level::Warn) => 4,
        Some(Level::Notice) => 5,
        Some(Level::Info) | None => 6,
        Some(Level::Debug | Level::Trace) => 7,
    };
    assert_eq!((got.priority, got.at), (u16::from(facility) * 8 + severity, record.at), "{shown}");
    let Owner { guard, service, instance, host, host_ip } = &*record.owner;
    let ip = host_ip.map(|ip| ip.to_string()).unwrap_or_default();
    let host = ascii(or(host, &ip), 255, "");
    assert_eq!((got.host, got.app), (or(&host, "-"), or(&ascii(service, 48, ""), "-")));
    assert_eq!(got.process, instance.to_string());
    assert_eq!(
        got.kind,
        match record.stream {
            Some(Stream::Out) => "stdout",
            Some(Stream::Err) => "stderr",
            None => "-",
        }
    );
    let ids: Vec<&str> = got.elements.iter().map(|(id, _)| *id).collect();
    let all = ["meta", "origin", "tutela@0", "fields@0"];
    assert_eq!(ids, all[..if record.fields.is_empty() { 3 } else { 4 }]);
    assert_eq!(got.elements[0].1, [("sequenceId", number.to_string())]);
    let origin: Vec<&str> = got.elements[1].1.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        origin,
        if host_ip.is_some() { &["ip", "software", "swVersion"][..] } else { &["software", "swVersion"] }
    );
    assert!(host_ip.is_none() || got.elements[1].1[0].1 == ip);
    let mut own = vec![("guard", guard.to_string()), ("id", format!("{}-{}", record.id.file, record.id.offset))];
    own.extend(record.level.map(|level| ("level", level.word().to_owned())));
    assert_eq!(got.elements[2].1, own);
    check_fields(record, &got, room);
    let whole = frame.len() - got.text.map_or(0, <[u8]>::len) + record.message.len() + BOM.len();
    check_text(record, &got, whole > room);
    assert!(frame.len() <= room, "{} bytes in {room}", frame.len());
}

fn send(bytes: &[u8]) -> arbitrary::Result<()> {
    let mut bytes = Unstructured::new(bytes);
    let facility = bytes.int_in_range(0..=23)?;
    let (mut writer, mut stream, mut sent) = (Writer::new(facility), Vec::new(), Vec::new());
    while !bytes.is_empty() && sent.len() < 8 {
        let (room, record) = (bytes.int_in_range(ROOM_MIN..=64 * 1024)?, record(&mut bytes)?);
        writer.write_counted(&record, room, &mut stream);
        sent.push((room, record));
    }
    let got = frames(&stream).expect("a stream of counted messages");
    assert_eq!(got.len(), sent.len());
    for (index, ((room, record), frame)) in sent.iter().zip(got).enumerate() {
        check(record, index + 1, facility, *room, frame);
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes for a record are no finding.
    let _ = send(bytes);
});
