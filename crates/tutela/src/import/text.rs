//! Texts in the notation of a spec, and the small values with a notation of their own.

use std::fmt::Write as _;
use std::time::Duration;
use tutela_core::names::{NAME_BYTES_MAX, Name};

/// The longest duration that a spec can have.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A text as a spec has it: dollars that mean nothing are doubled where they would mean something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Text(String);

impl Text {
    /// A text that means itself.
    pub(super) fn literal(text: &str) -> Text {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            out.push(c);
            // A dollar before another one, a brace or the end of this piece could begin a variable.
            if c == '$' && matches!(chars.peek(), None | Some('$' | '{')) {
                out.push('$');
            }
        }
        Text(out)
    }

    /// A text that is in the notation of a spec already.
    pub(super) fn spec(text: impl Into<String>) -> Text {
        Text(text.into())
    }

    /// A variable that is empty where it is not set.
    pub(super) fn variable(name: &str) -> Text {
        Text(format!("${{{name}:}}"))
    }

    /// A variable that has to be set: a secret that was not copied. Without it the spec is refused, so that no program
    /// starts with an empty one.
    pub(super) fn secret(name: &str) -> Text {
        Text(format!("${{{name}:?a secret that was not copied}}"))
    }

    /// The number of the instance.
    pub(super) fn instance() -> Text {
        Text("${instance}".to_owned())
    }

    pub(super) fn push(&mut self, other: &Text) {
        self.0.push_str(&other.0);
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text where nothing at all would be refused, such as a folder: a variable alone that may be missing gets this
    /// default instead of none.
    pub(super) fn or(&self, default: &str) -> Text {
        match self.0.strip_prefix("${").and_then(|rest| rest.strip_suffix(":}")) {
            Some(name) if !name.contains(['$', '{', '}', ':']) => Text(format!("${{{name}:{default}}}")),
            _ => self.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it differs from instance to instance.
    pub(super) fn varies(&self) -> bool {
        self.0.contains("${instance}")
    }
}

/// A name that services and guards can have, and how it differs; `fallback` is for what leaves nothing.
pub(super) fn fit_name(wanted: &str, fallback: &str) -> (String, Option<String>) {
    let wanted = wanted.trim();
    if Name::new(wanted).is_ok() {
        return (wanted.to_owned(), None);
    }
    let mut name = String::new();
    for c in wanted.chars() {
        let fits = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match fits {
            true => name.push(c),
            // Several signs in a row are one dash.
            false if !name.ends_with('-') => name.push('-'),
            false => {}
        }
    }
    let name = name.trim_start_matches(['.', '_', '-']);
    let name = name.get(..name.len().min(NAME_BYTES_MAX)).unwrap_or_default().trim_end_matches('-');
    let name = if name.is_empty() { fallback } else { name };
    let how = format!("{wanted:?} is no name here: it has letters, digits, '.', '_' and '-', at most {NAME_BYTES_MAX}");
    (name.to_owned(), Some(how))
}

/// A key of TOML: in quotes where it has to be.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A text of TOML. One with backslashes, as paths on Windows have them, is written as it is where that is possible.
pub(super) fn quoted(text: &str) -> String {
    let plain = !text.contains(['\'', '\n']) && !text.chars().any(|c| c.is_control());
    if plain && text.contains(['\\', '"']) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A duration as people write it.
pub(super) fn span(span: Duration) -> String {
    let span = span.min(DURATION_MAX);
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    match (seconds, millis) {
        (0, 0) if span.subsec_nanos() > 0 => format!("{}us", span.subsec_micros().max(1)),
        (0, 0) => "0s".to_owned(),
        (seconds, millis) if millis > 0 => match seconds {
            0 => format!("{millis}ms"),
            seconds => format!("{seconds}s {millis}ms"),
        },
        (seconds, _) if seconds % 86400 == 0 => format!("{}d", seconds / 86400),
        (seconds, _) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, _) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, _) if seconds > 60 && seconds < 3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        (seconds, _) => format!("{seconds}s"),
    }
}

/// A size as people write it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1 << 60, "EiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, word)) => format!("{}{word}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Whether a name says that its value is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let words = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "APIKEY",
        "API_KEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
        "CREDENTIAL",
    ];
    words.iter().any(|word| upper.contains(word)) || upper.split('_').any(|part| part == "PASS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dollars_that_could_begin_a_variable_are_doubled() {
        for (given, expected) in [("a$b", "a$b"), ("${x}", "$${x}"), ("$$", "$$$$"), ("cost $", "cost $$"), ("x", "x")]
        {
            assert_eq!(Text::literal(given).as_str(), expected, "{given}");
        }
    }

    #[test]
    fn a_name_is_made_of_anything() {
        assert_eq!(fit_name("api", "x"), ("api".to_owned(), None));
        for (given, expected) in [("My Service (prod)", "My-Service-prod"), ("", "x"), ("é", "x"), ("_a", "a")] {
            assert_eq!(fit_name(given, "x").0, expected, "{given}");
            assert!(fit_name(given, "x").1.is_some());
        }
        assert_eq!(fit_name(&"n".repeat(99), "x").0.len(), NAME_BYTES_MAX);
    }

    #[test]
    fn texts_of_toml_read_back_as_what_they_were() {
        for text in ["C:\\a b\\c.exe", "it's", "tab\there", "quote \" and ' both", "\u{1}", "", "\\'"] {
            let table: toml::Table = format!("a = {}", quoted(text)).parse().expect("it is TOML");
            assert_eq!(table.get("a").and_then(toml::Value::as_str), Some(text));
        }
    }

    #[test]
    fn durations_and_sizes_have_the_nearest_whole_unit() {
        let spans = [
            (0, "0s"),
            (1500, "1s 500ms"),
            (500, "500ms"),
            (90_000, "1m 30s"),
            (3_600_000, "1h"),
            (4_000_000, "4000s"),
        ];
        for (millis, expected) in spans {
            assert_eq!(span(Duration::from_millis(millis)), expected);
        }
        assert_eq!((size(52_428_800).as_str(), size(1000).as_str()), ("50MiB", "1000B"));
    }
}
