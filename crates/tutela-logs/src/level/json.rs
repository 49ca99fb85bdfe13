//! The level in a JSON object: the value of `level` and its kin, of the object itself.
//!
//! It steps from string to string and checks nothing else: what is no JSON gives no level or one that stands there.

use super::Level;

/// How much of an object is looked at: some libraries put the level behind the message.
pub(super) const HEAD_BYTES: usize = 1024;

/// `line` begins with `{`.
pub(super) fn level(line: &[u8]) -> Option<Level> {
    let head = &line[..line.len().min(HEAD_BYTES)];
    let (mut at, mut depth) = (0, 0u32);
    // Whether the object that we are in is the value of `log`, as in `{"log":{"level":"warn"}}`.
    let mut in_log = false;
    let mut after_log = false;
    loop {
        match head.get(at)? {
            b'{' => {
                depth += 1;
                in_log = depth == 2 && after_log;
                after_log = false;
                at += 1;
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return None;
                }
                in_log = false;
                at += 1;
            }
            b'"' => {
                let end = string_end(head, at + 1)?;
                let key = &head[at + 1..end];
                at = end + 1;
                let mut value = at + blank(&head[at..]);
                if head.get(value) != Some(&b':') {
                    continue;
                }
                value += 1;
                value += blank(head.get(value..)?);
                after_log = depth == 1 && key == b"log";
                if depth == 1 && is_level(key) || in_log && depth == 2 && key == b"level" {
                    if let Some(level) = scalar(head, value).and_then(Level::parse) {
                        return Some(level);
                    }
                } else if depth == 1 && key == b"s" {
                    // MongoDB: one letter, and for debugging a digit behind it.
                    if let Some([letter, b'1'..=b'5'] | [letter]) = scalar(head, value)
                        && letter.is_ascii_uppercase()
                    {
                        return Level::parse(&[*letter]);
                    }
                }
                if head.get(value) == Some(&b'"') {
                    at = string_end(head, value + 1)? + 1;
                } else {
                    at = value;
                }
            }
            _ => at += next_mark(&head[at..])?,
        }
    }
}

fn is_level(key: &[u8]) -> bool {
    matches!(
        key,
        b"level"
            | b"lvl"
            | b"severity"
            | b"log.level"
            | b"loglevel"
            | b"logLevel"
            | b"log_level"
            | b"levelname"
            | b"level_name"
            | b"Level"
            | b"LEVEL"
            | b"LogLevel"
            | b"Severity"
            | b"SeverityText"
            | b"severity_text"
            | b"severityText"
            | b"@l"
            | b"@level"
    )
}

/// The characters of a string or a number that begins at `from`. `None`: it is neither, or goes on too long.
fn scalar(head: &[u8], from: usize) -> Option<&[u8]> {
    match head.get(from)? {
        b'"' => Some(&head[from + 1..string_end(head, from + 1)?]),
        b'0'..=b'9' => {
            let length = head[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            Some(&head[from..from + length])
        }
        _ => None,
    }
}

/// Where the quote is that ends a string whose first character is at `from`.
fn string_end(head: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', head.get(from..)?)?;
        if head[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

fn blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// How far the next string, object or end of one is.
fn next_mark(bytes: &[u8]) -> Option<usize> {
    memchr::memchr3(b'"', b'{', b'}', bytes)
}
