//! Texts as unit files want them. Each kind of value has rules of its own, and each function here is for one.
//!
//! The rules are those of `systemd.syntax(7)`, `systemd.service(5)` (command lines) and `systemd.exec(5)`. Deliberately
//! absent: a function for "any value". What cannot be written is `None`, and whoever asks refuses it.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

/// A word of a command line after the program: `%` and `$` stand for themselves, everything else is kept byte by byte.
pub fn argument(word: &OsStr) -> String {
    quoted(word, true)
}

/// An assignment of `Environment=`, in which `$` means nothing.
pub fn assignment(name: &str, value: &str) -> String {
    quoted(OsStr::new(&format!("{name}={value}")), false)
}

fn quoted(word: &OsStr, dollars: bool) -> String {
    let bytes = word.as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@".contains(byte);
    // A lone `-` or `:` after the program is an argument like every other; an empty word has to be seen.
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '%' => out.push_str("%%"),
                '$' if dollars => out.push_str("$$"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // Two digits after \x, four after \u: other control characters, and line separators of Unicode.
                control if control.is_control() && control.is_ascii() => {
                    let _ = write!(out, "\\x{:02x}", u32::from(control));
                }
                control if control.is_control() => {
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                letter => out.push(letter),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// The program of a command line. Variables are not put into it, and systemd takes no quotes, backslashes and control
/// characters in it: `None` then.
pub fn program(path: &Path) -> Option<String> {
    let text = one_of(path, "\"'\\")?;
    let text = text.replace('%', "%%");
    Some(if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text })
}

/// A word of a list of paths, such as `ReadWritePaths=`.
pub fn listed_path(path: &Path) -> Option<String> {
    program(path)
}

/// A word of a list of `source:destination`, where a colon would end the path.
pub fn bound_path(path: &Path) -> Option<String> {
    program(path).filter(|text| !text.contains(':'))
}

/// A path that is the whole value, such as `WorkingDirectory=`.
pub fn whole_path(path: &Path) -> Option<String> {
    let text = one_of(path, "")?;
    // What is around a value is cut off, and a backslash at its end goes on in the next line.
    let kept = text.trim() == text && !text.ends_with('\\');
    kept.then(|| text.replace('%', "%%"))
}

/// An absolute path as text, without control characters and those of `refused`.
fn one_of<'a>(path: &'a Path, refused: &str) -> Option<&'a str> {
    let text = path.to_str()?;
    // As systemd would read it on Linux, wherever this text is made.
    let absolute = text.starts_with('/');
    (absolute && !text.chars().any(|it| it.is_control() || refused.contains(it))).then_some(text)
}

/// A text for people, on one line.
pub fn prose(text: &str) -> String {
    let line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    line.trim().trim_end_matches('\\').trim_end().replace('%', "%%")
}

/// A span as systemd reads it: `90s`, `1500ms`, `infinity`.
pub fn span(span: std::time::Duration) -> String {
    let millis = span.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// The full name of a unit that somebody named as people do: `postgresql` is `postgresql.service`. `None`: no unit can
/// have that name.
pub fn unit_name(name: &str) -> Option<String> {
    /// The suffixes that a unit can have.
    const KINDS: [&str; 11] = [
        ".service",
        ".socket",
        ".target",
        ".mount",
        ".path",
        ".timer",
        ".device",
        ".swap",
        ".automount",
        ".slice",
        ".scope",
    ];
    let fits = |it: char| it.is_ascii_alphanumeric() || ":-_.\\@".contains(it);
    let full = if KINDS.iter().any(|kind| name.ends_with(kind)) { name.to_owned() } else { format!("{name}.service") };
    // The longest name of a unit.
    (!name.is_empty() && full.len() < 256 && full.chars().all(fits)).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd makes of one word of a command line: quotes and escapes first, then specifiers, then variables.
    fn read(text: &str) -> Vec<u8> {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let mut out = Vec::new();
        match inner {
            None => out.extend_from_slice(text.as_bytes()),
            Some(inner) => {
                let mut letters = inner.chars();
                let hex = |letters: &mut std::str::Chars<'_>, count: usize| {
                    let digits: String = letters.take(count).collect();
                    u32::from_str_radix(&digits, 16).expect("digits")
                };
                while let Some(letter) = letters.next() {
                    assert!(letter != '"' && letter != '\n', "{text}");
                    if letter != '\\' {
                        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        continue;
                    }
                    match letters.next() {
                        Some('n') => out.push(b'\n'),
                        Some('r') => out.push(b'\r'),
                        Some('t') => out.push(b'\t'),
                        Some('x') => out.push(u8::try_from(hex(&mut letters, 2)).expect("a byte")),
                        Some('u') => {
                            let letter = char::from_u32(hex(&mut letters, 4)).expect("a letter");
                            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        Some(other @ ('"' | '\\')) => out.push(other as u8),
                        other => panic!("an escape that systemd does not know: {other:?} in {text}"),
                    }
                }
            }
        }
        for sign in [b'%', b'$'] {
            let mut halved = Vec::new();
            let mut bytes = out.iter();
            while let Some(byte) = bytes.next() {
                halved.push(*byte);
                if *byte == sign {
                    assert_eq!(bytes.next(), Some(&sign), "a single {} in {text}", sign as char);
                }
            }
            out = halved;
        }
        out
    }

    /// Words of every length with the characters that mean something, drawn by a counter.
    fn words() -> impl Iterator<Item = String> {
        const LETTERS: [char; 22] = [
            'a', ' ', '"', '\'', '\\', '%', '$', '\n', '\t', '\r', ';', '{', '}', 'é', '漢', '🦀', '\u{1}', '\u{85}',
            '\u{2028}', '#', '*', '-',
        ];
        (0..20_000_u64).map(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let length = seed % 9;
            (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    LETTERS[usize::try_from(state >> 33).expect("small") % LETTERS.len()]
                })
                .collect()
        })
    }

    #[test]
    fn every_word_comes_back_from_a_command_line_as_it_was() {
        for word in words() {
            let text = argument(OsStr::new(&word));
            assert!(!text.contains('\n'), "{text:?}");
            assert_eq!(read(&text), word.as_bytes(), "{word:?} as {text}");
        }
    }

    #[test]
    fn an_assignment_keeps_its_dollars_single() {
        assert_eq!(assignment("A", "1"), "A=1");
        assert_eq!(assignment("A", "$x %y \"z\""), "\"A=$x %%y \\\"z\\\"\"");
    }

    #[test]
    fn signs_that_mean_something_to_systemd_are_doubled_or_escaped() {
        assert_eq!(argument(OsStr::new("")), "\"\"");
        assert_eq!(argument(OsStr::new("a b")), "\"a b\"");
        assert_eq!(argument(OsStr::new("50%")), "\"50%%\"");
        assert_eq!(argument(OsStr::new("${HOME}")), "\"$${HOME}\"");
        assert_eq!(argument(OsStr::new("C:\\x")), "\"C:\\\\x\"");
        assert_eq!(argument(OsStr::new("é")), "\"é\"");
        assert_eq!(argument(OsStr::new(";")), "\";\"");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_kept() {
        use std::os::unix::ffi::OsStrExt;
        let word = OsStr::from_bytes(b"a\xff\xfeb");
        assert_eq!(argument(word), "\"a\\xff\\xfeb\"");
        assert_eq!(read(&argument(word)), b"a\xff\xfeb");
    }

    #[test]
    fn a_program_that_systemd_cannot_be_told_is_none() {
        assert_eq!(program(Path::new("/usr/bin/tutela")).as_deref(), Some("/usr/bin/tutela"));
        assert_eq!(program(Path::new("/opt/my %app/tutela")).as_deref(), Some("\"/opt/my %%app/tutela\""));
        for path in ["tutela", "/a\"b", "/a\\b", "/a\nb", "/a'b"] {
            assert_eq!(program(Path::new(path)), None, "{path:?}");
        }
        assert_eq!(bound_path(Path::new("/a:b")), None);
        assert_eq!(whole_path(Path::new("/a b\\")), None);
        assert_eq!(whole_path(Path::new("/a b")).as_deref(), Some("/a b"));
    }

    #[test]
    fn prose_stays_on_its_line() {
        assert_eq!(prose("100% of\nit\\"), "100%% of it");
        assert_eq!(prose(" a\u{7}b \\\\ "), "a b");
    }

    #[test]
    fn a_service_is_named_without_its_suffix() {
        assert_eq!(unit_name("postgresql").as_deref(), Some("postgresql.service"));
        assert_eq!(unit_name("network-online.target").as_deref(), Some("network-online.target"));
        assert_eq!(unit_name("pg@15-main").as_deref(), Some("pg@15-main.service"));
        assert_eq!(unit_name("a b"), None);
        assert_eq!(unit_name(""), None);
    }
}
