//! The level in a line for people: walks its first words until one of them is a level where levels stand.
//!
//! What is before a level is a moment, a name, a number, a thread in brackets, a colour. What is before a word such
//! as `error` in a sentence is another word in small letters; so a word behind a plain word counts only if
//! what is behind it makes it a heading (`:`, `|`, ` - `), and after a few plain words nothing counts any more.

use super::{Level, is_weak};

/// How much of a line is looked at: a moment, a host, a program, a thread and a logger fit in.
pub(super) const HEAD_BYTES: usize = 200;

/// After more plain words than these it is a sentence. `Mon Jan  1 12:00:00 host app` has four.
const PLAIN_WORDS_MAX: usize = 4;

/// What the last word was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Start,
    /// Letters, some of them small.
    Plain,
    /// `name:`, `|`, `-`.
    Mark,
    /// A moment, a number, brackets, capitals.
    Other,
}

/// How many bytes of white space and colours are at the beginning.
pub(super) fn blank(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' => at += 1,
            0x1b => at += escape(&bytes[at..]),
            _ => break,
        }
    }
    at
}

/// The length of the escape sequence at the beginning: `ESC [ 1;32 m`. At least 1.
fn escape(bytes: &[u8]) -> usize {
    if bytes.get(1) != Some(&b'[') {
        return 1;
    }
    let parameters = bytes[2..].iter().take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
    (2 + parameters + 1).min(bytes.len())
}

/// `<3>`, `<134>`.
pub(super) fn syslog(line: &[u8]) -> Option<Level> {
    let digits = line[1..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || line.get(1 + digits) != Some(&b'>') {
        return None;
    }
    let number = line[1..=digits].iter().fold(0u16, |number, digit| number * 10 + u16::from(digit - b'0'));
    // 23 facilities of 8 severities.
    if number > 191 { None } else { Level::of_severity((number & 7) as u8) }
}

/// `E0102 15:04:05.000000`, and the form with the year.
pub(super) fn glog(line: &[u8]) -> Option<Level> {
    let level = match line.first()? {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        b'D' => Level::Debug,
        _ => return None,
    };
    let digits = line[1..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    match line.get(1 + digits..)? {
        [b' ', h, _, b':', ..] if matches!(digits, 4 | 8) && h.is_ascii_digit() => Some(level),
        _ => None,
    }
}

/// `1:M 01 Jan 2024 12:00:00.000 # text`: the sign is the level.
pub(super) fn redis(line: &[u8]) -> Option<Level> {
    let digits = line.iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let [b':', b'M' | b'S' | b'C' | b'X', b' ', rest @ ..] = line.get(digits..)? else { return None };
    match rest.get(24..27)? {
        b" # " => Some(Level::Warn),
        b" * " => Some(Level::Notice),
        b" - " => Some(Level::Info),
        b" . " => Some(Level::Debug),
        _ => None,
    }
}

/// Walks the words.
pub(super) fn level(line: &[u8]) -> Option<Level> {
    let head = &line[..line.len().min(HEAD_BYTES)];
    let (mut at, mut plain, mut before) = (0, 0, Before::Start);
    loop {
        let gap = blank(&head[at..]);
        let tabbed = gap > 0 && head[at + gap - 1] == b'\t';
        at += gap;
        match *head.get(at)? {
            b'"' => {
                at = quote_end(head, at + 1)? + 1;
                before = Before::Other;
            }
            open @ (b'[' | b'(' | b'<') => {
                let close = match open {
                    b'[' => inner_end(head, at + 1),
                    b'(' => memchr::memchr(b')', &head[at..]).map(|end| at + end),
                    _ => memchr::memchr(b'>', &head[at..]).map(|end| at + end),
                };
                let Some(end) = close else {
                    at += 1;
                    before = Before::Other;
                    continue;
                };
                if before != Before::Plain
                    && let Some(level) = bracketed(&head[at + 1..end])
                {
                    return Some(level);
                }
                at = end + 1;
                before = Before::Other;
            }
            _ => {
                let end = at + word_end(&head[at..]);
                // A quoted value is stepped over as a whole.
                if let Some(equals) = memchr::memchr(b'=', &head[at..end]) {
                    let (key, value) = (&head[at..at + equals], at + equals + 1);
                    let quoted = head.get(value) == Some(&b'"');
                    let until = if quoted { quote_end(head, value + 1)? } else { end };
                    let value = value + usize::from(quoted);
                    if is_level(key)
                        && let Some(level) = valued(&head[value..until])
                    {
                        return Some(level);
                    }
                    at = (until + usize::from(quoted)).max(end);
                    before = Before::Other;
                    continue;
                }
                let word = &head[at..end];
                let behind = &head[end..];
                if let Some(level) = standing(word, behind, before, tabbed) {
                    return Some(level);
                }
                before = kind(word);
                if before == Before::Plain {
                    plain += 1;
                    if plain > PLAIN_WORDS_MAX {
                        return None;
                    }
                }
                at = end;
            }
        }
    }
}

/// A word ends before white space, a colour, and a bracket that follows `]`.
fn word_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b' ' | b'\t' | 0x1b)).unwrap_or(bytes.len())
}

fn quote_end(head: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', head.get(from..)?)?;
        if head[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// The `]` that closes: colours within have a `[` of their own, and no `]`.
fn inner_end(head: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(b']', &head[from..]).map(|end| from + end)
}

fn is_level(key: &[u8]) -> bool {
    matches!(key, b"level" | b"lvl" | b"severity" | b"log.level" | b"loglevel" | b"log_level" | b"levelname" | b"Level")
}

/// A value of `level=`: `warn`, `INFO+2`, `DEBUG-4`, `error,`.
fn valued(value: &[u8]) -> Option<Level> {
    let end = value.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(value.len());
    // A number with something behind it is a quantity.
    let whole = end == value.len() || !value[0].is_ascii_digit();
    if whole { Level::parse(&value[..end]) } else { None }
}

/// What is in brackets: `error`, `core:error`, `main/INFO`, `12:00:00 INF`, `WARN  mycrate`.
fn bracketed(content: &[u8]) -> Option<Level> {
    let is_border = |byte: u8| matches!(byte, b' ' | b'\t' | b':' | b'/' | b'|' | b',');
    let mut at = 0;
    while at < content.len() {
        let byte = content[at];
        if byte == 0x1b {
            at += escape(&content[at..]);
            continue;
        }
        if is_border(byte) {
            at += 1;
            continue;
        }
        let end = content[at..]
            .iter()
            .position(|byte| is_border(*byte) || *byte == 0x1b)
            .map_or(content.len(), |end| at + end);
        let word = &content[at..end];
        if let Some(level) = Level::of_word(word) {
            let alone = end + blank(&content[end..]) == content.len();
            let in_sentence = content.get(end) == Some(&b' ') && !alone;
            if is_upper(word) && !(in_sentence && is_weak(word)) || alone && (at == 0 || content[at - 1] != b' ') {
                return Some(level);
            }
        }
        at = end;
    }
    None
}

/// A word that stands free.
fn standing(word: &[u8], behind: &[u8], before: Before, tabbed: bool) -> Option<Level> {
    let letters = word.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(word.len());
    let (name, rest) = word.split_at(letters);
    let Some(level) = Level::of_word(name) else { return inside(word) };
    let next = &behind[blank(behind)..];
    if is_upper(name) {
        return match rest {
            [] => {
                let headed = is_heading(next);
                (headed || before != Before::Plain && !is_weak(name)).then_some(level)
            }
            [b':', ..] => Some(level),
            [b'|', ..] => Some(level),
            // `INFO[0000] text`, `npm ERR! text`
            [b'[', ..] | [b'!'] if before != Before::Plain || rest == b"!" => Some(level),
            _ => None,
        };
    }
    match rest {
        // `warn:` of a heading; a colour may end between the word and the colon.
        [b':'] if before != Before::Plain => Some(level),
        [b'[', .., b']', b':'] if before != Before::Plain => Some(level),
        [] if level == Level::Fatal && before != Before::Plain && next.starts_with(b"error:") => Some(level),
        [] if tabbed && (behind.is_empty() || behind[0] == b'\t') => Some(level),
        [] if before != Before::Plain && behind.first() == Some(&0x1b) && next.starts_with(b":") => Some(level),
        [] if before == Before::Mark && next.starts_with(b"|") => Some(level),
        _ => None,
    }
}

/// Whether what is behind a word makes it a heading.
fn is_heading(next: &[u8]) -> bool {
    matches!(next, [b'-', b' ' | b'-', ..] | [b'|', ..] | [b':', b' ', ..])
}

/// A level within a word: `local.ERROR:`, `12:00:00.000|ERROR|name`.
fn inside(word: &[u8]) -> Option<Level> {
    if let [front @ .., b':'] = word
        && let Some(dot) = memchr::memrchr(b'.', front)
    {
        let name = &front[dot + 1..];
        if is_upper(name) && !is_weak(name) {
            return Level::of_word(name);
        }
    }
    if memchr::memchr(b'|', word).is_some() {
        let mut parts = word.split(|byte| *byte == b'|').skip(1);
        return parts.find_map(Level::of_word);
    }
    None
}

fn is_upper(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_uppercase)
}

fn kind(word: &[u8]) -> Before {
    match word {
        [b'-' | b'|' | b':', ..] => Before::Mark,
        [.., b':'] => Before::Mark,
        // Names itself before each line: `npm WARN text`.
        b"npm" => Before::Mark,
        _ => {
            let letters = match word {
                [front @ .., b',' | b'.' | b'!' | b'?'] => front,
                all => all,
            };
            let is_word = letters.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'\'' || *byte >= 0x80);
            if is_word && letters.iter().any(|byte| !byte.is_ascii_uppercase()) { Before::Plain } else { Before::Other }
        }
    }
}
