//! The members of a JSON object, as they stand: names, and values as their text.
//!
//! The one reader of JSON here, for what programs write and for our own files. It reads once over the text and copies
//! nothing but names with escapes. What it takes is JSON that every reader takes: one object, UTF-8, no lone
//! surrogates, nested at most [`DEPTH_MAX`] deep. Deliberately absent: values, which hardly anybody here looks into.

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// How deep a value may be nested. Programs' records are a few levels deep, and readers give up at about a hundred:
/// what is passed on has to be readable for whoever comes behind us.
const DEPTH_MAX: usize = 64;

/// Room for the members of a usual record.
const USUAL: usize = 16;

/// A name and a value.
pub(super) type Member<'a> = (Cow<'a, str>, &'a str);

/// The members of the object that `text` is, in order. `None`: it is no object, or an empty one.
pub(super) fn members(text: &[u8]) -> Option<Vec<Member<'_>>> {
    if *text.iter().find(|byte| !byte.is_ascii_whitespace())? != b'{' {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).ok()?;
    reader.end().ok()?;
    // Half of a pair of escapes is a text to the grammar only; the strict look is for texts that could have one.
    let may_have_surrogates = memchr::memmem::find_iter(text.as_bytes(), b"\\u")
        .any(|at| matches!(text.as_bytes().get(at + 2), Some(b'd' | b'D')));
    if may_have_surrogates && serde_json::from_str::<serde_json::Value>(text).is_err() {
        return None;
    }
    let fits = members.iter().all(|(_, value)| !value.starts_with(['{', '[']) || depth(value) < DEPTH_MAX);
    (fits && !members.is_empty()).then_some(members)
}

/// The text of a JSON string. `None`: the value is none.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value).ok().map(Cow::Owned)
}

/// How deep the brackets of a valid JSON text are nested.
fn depth(value: &str) -> usize {
    let (mut depth, mut deepest, mut within, mut escaped) = (0usize, 0, false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            b'{' | b'[' if !within => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !within => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(USUAL);
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value::<&RawValue>()?.get()));
        }
        Ok(members)
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn members_come_as_they_stand_and_in_their_order() {
        let found = members(br#" {"b":1.50 , "a\n":[ 1,"x"], "b":null} "#).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(found, [("b", "1.50"), ("a\n", "[ 1,\"x\"]"), ("b", "null")]);
    }

    #[test]
    fn what_not_every_reader_takes_is_no_object() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
        assert!(members(&deep(DEPTH_MAX - 1)).is_some());
        for bad in [
            &b"{}"[..],
            b"[1]",
            b"{\"a\":1",
            b"{\"a\":1} x",
            b"{\"a\":01}",
            b"{a:1}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\n\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":["\uD800x"]}"#,
            b"",
            b"plain",
            &deep(DEPTH_MAX),
            &b"{\"a\":[".repeat(8000),
        ] {
            assert!(members(bad).is_none(), "{}", String::from_utf8_lossy(&bad[..bad.len().min(40)]));
        }
        assert!(members(br#"{"a":"\ud83d\ude00"}"#).is_some());
    }
}
