//! A text to its parts: what a program's own JSON says, under the names that everybody uses.
//!
//! Called for every record that is written as JSON or sent. A text that is a JSON object ([`mod@self`] says which names
//! are understood) is taken apart; of any other the text is the message.
//!
//! | part | names, the first that can be understood counts | values |
//! |---|---|---|
//! | time | `timestamp`, `@timestamp`, `time`, `ts`, `@t` | RFC 3339; seconds, milli-, micro- or nanoseconds since 1970, told apart by their size |
//! | level | `level`, `severity`, `log.level`, `lvl`, `levelname`, `@l` | a word; a number of syslog (0 to 7) or of bunyan and pino (10 to 60) |
//! | message | `message`, `msg`, `@m`, `event`, `body` | a text |
//!
//! What was understood is not among the fields; everything else is, as it stood, also a time that cannot be understood.
//! A name that comes again gets the next number, `user_2`: most receivers would keep one of the two, and some take neither.
//! Where an object has no message but a `fields` with one, as the `tracing` of Rust writes them, that one counts, and
//! `fields` stays. Deliberately absent: taking fields apart, and guessing at what has no common name.

use super::members::{Member, members, string};
use crate::level;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use tutela_core::level::Level;

/// The parts of a text. Everything is borrowed from it.
#[derive(Debug)]
pub struct Normal<'a> {
    /// The time that the program itself says, in nanoseconds since 1970.
    pub time: Option<u64>,
    /// How much it matters.
    pub level: Option<Level>,
    /// The message.
    pub message: Message<'a>,
    /// The program's other fields: names, and values as JSON text.
    pub fields: Vec<Member<'a>>,
}

/// A message as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The bytes themselves.
    Plain(&'a [u8]),
    /// A JSON string with its quotes.
    Quoted(&'a str),
}

impl Message<'_> {
    /// The bytes.
    pub fn bytes(&self) -> Box<[u8]> {
        match self {
            Message::Plain(bytes) => (*bytes).into(),
            Message::Quoted(text) => string(text).map_or(text.as_bytes().into(), |text| text.as_bytes().into()),
        }
    }
}

/// A part and how good a name for it is: the less the better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Time(u8),
    Level(u8),
    Message(u8),
    Fields,
}

fn role(name: &str) -> Option<Role> {
    Some(match name {
        "timestamp" => Role::Time(0),
        "@timestamp" => Role::Time(1),
        "time" => Role::Time(2),
        "ts" => Role::Time(3),
        "@t" => Role::Time(4),
        "level" => Role::Level(0),
        "severity" => Role::Level(1),
        "log.level" => Role::Level(2),
        "lvl" => Role::Level(3),
        "levelname" => Role::Level(4),
        "@l" => Role::Level(5),
        "message" => Role::Message(0),
        "msg" => Role::Message(1),
        "@m" => Role::Message(2),
        "event" => Role::Message(3),
        "body" => Role::Message(4),
        "fields" => Role::Fields,
        _ => return None,
    })
}

/// The best that was found for a part: what, how good its name is, and where it stands.
struct Best<T>(Option<(T, u8, usize)>);

impl<T> Best<T> {
    fn offer(&mut self, rank: u8, at: usize, read: impl FnOnce() -> Option<T>) {
        if self.0.as_ref().is_none_or(|(_, best, _)| rank < *best)
            && let Some(found) = read()
        {
            self.0 = Some((found, rank, at));
        }
    }
}

/// Takes a whole text apart.
pub fn normalise(text: &[u8]) -> Normal<'_> {
    let Some(mut fields) = members(text) else { return plain(text) };
    let (mut time, mut level, mut message) = (Best(None), Best(None), Best(None));
    let mut nested = None;
    for (at, (name, value)) in fields.iter().enumerate() {
        match role(name) {
            Some(Role::Time(rank)) => time.offer(rank, at, || read_time(value)),
            Some(Role::Level(rank)) => level.offer(rank, at, || read_level(value)),
            Some(Role::Message(rank)) => message.offer(rank, at, || value.starts_with('"').then_some(*value)),
            Some(Role::Fields) => nested = Some(*value),
            None => {}
        }
    }
    let understood = [time.0.map(|it| it.2), level.0.map(|it| it.2), message.0.map(|it| it.2)];
    let mut at = 0..;
    fields.retain(|_| !understood.contains(&at.next()));
    tell_apart(&mut fields);
    let message = message.0.map(|it| it.0).or_else(|| message_of(nested?));
    let message = message.map_or(Message::Plain(b""), Message::Quoted);
    let found = || match message {
        Message::Quoted(quoted) => level::detect(&quoted.as_bytes()[1..]),
        Message::Plain(_) => None,
    };
    Normal { time: time.0.map(|it| it.0), level: level.0.map(|it| it.0).or_else(found), message, fields }
}

/// So many names are compared each with each; that is quicker than a table, and usual records have fewer.
const COMPARED_MAX: usize = 24;

/// Gives names that come again a number: the first keeps its own.
fn tell_apart(fields: &mut [Member<'_>]) {
    let is_unique = if fields.len() <= COMPARED_MAX {
        let is_new = |(at, (name, _)): (usize, &Member<'_>)| fields[..at].iter().all(|(other, _)| other != name);
        fields.iter().enumerate().all(is_new)
    } else {
        let mut seen = HashSet::with_capacity(fields.len());
        fields.iter().all(|(name, _)| seen.insert(&**name))
    };
    if is_unique {
        return;
    }
    let mut taken: HashSet<String> = fields.iter().map(|(name, _)| name.to_string()).collect();
    // How often each came. A number that was tried is never tried again, so this is quick whatever the names are.
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (name, _) in fields {
        let count = counts.entry(name.to_string()).or_default();
        *count += 1;
        if *count == 1 {
            continue;
        }
        loop {
            let told_apart = format!("{name}_{count}");
            if taken.insert(told_apart.clone()) {
                *name = Cow::Owned(told_apart);
                break;
            }
            *count += 1;
        }
    }
}

/// A text that is the message as a whole.
pub fn plain(text: &[u8]) -> Normal<'_> {
    Normal { time: None, level: level::detect(text), message: Message::Plain(text), fields: Vec::new() }
}

fn message_of(nested: &str) -> Option<&str> {
    let members = members(nested.as_bytes())?;
    members.into_iter().find(|(name, value)| name == "message" && value.starts_with('"')).map(|(_, value)| value)
}

/// The nanoseconds since 1970 that a value says.
fn read_time(value: &str) -> Option<u64> {
    let Some(text) = string(value) else { return read_epoch(value) };
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return read_epoch(&text);
    }
    // The shortest form with its offset: 2026-11-20T21:23:45Z.
    if text.len() < 20 || !text.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok()
}

/// A number since 1970. Its unit is told by its size: from 2001 on, and as long as people write numbers of this
/// length, no moment of one unit is one of another.
fn read_epoch(value: &str) -> Option<u64> {
    const UNITS: [(u64, u64); 4] = [
        (1_000_000_000, 1_000_000_000),
        (1_000_000_000_000, 1_000_000),
        (1_000_000_000_000_000, 1000),
        (1_000_000_000_000_000_000, 1),
    ];
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let unit = UNITS.iter().rev().find(|(from, _)| whole >= *from).filter(|(from, _)| whole / from < 100)?.1;
    // Digit by digit, since a fraction of binary digits is another one.
    let (mut nanos, mut place) = (0, unit / 10);
    for digit in part.bytes() {
        nanos += u64::from(digit - b'0') * place;
        place /= 10;
    }
    whole.checked_mul(unit)?.checked_add(nanos)
}

fn read_level(value: &str) -> Option<Level> {
    match string(value) {
        Some(word) => Level::parse(word.as_bytes()),
        None => Level::parse(value.as_bytes()),
    }
}
