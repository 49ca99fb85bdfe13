//! A program's own fields and a message that is too long, for receivers that know only text.
//!
//! Called by [`super::syslog`] and by those sinks of the guard that have no form for values.

use std::borrow::Cow;

/// The text of a field's value, which is JSON: a string without its quotes, anything else as it stands.
pub fn plain(json: &str) -> Cow<'_, str> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) if !inside.contains('\\') => Cow::Borrowed(inside),
        Some(_) => serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}

/// `text`, cut to `room` bytes with a mark that says how much is missing; whole characters where it is UTF-8. A room
/// that is smaller than the mark holds the mark alone.
pub fn cut(text: &[u8], room: usize) -> Option<(&[u8], String)> {
    if text.len() <= room {
        return None;
    }
    let mark = |kept: usize| format!(" [cut: {} bytes more]", text.len() - kept);
    let mut kept = room.saturating_sub(mark(0).len());
    // The beginning of a character, wherever the text is UTF-8; at most four bytes back.
    for _ in 0..3 {
        if kept > 0 && text[kept] & 0xc0 == 0x80 {
            kept -= 1;
        }
    }
    Some((&text[..kept], mark(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_lose_their_quotes_and_other_values_stay_json() {
        assert_eq!(plain(r#""a b""#), "a b");
        assert_eq!(plain(r#""a\n\u00fc\"""#), "a\nü\"");
        assert_eq!(plain("[1,\"x\"]"), "[1,\"x\"]");
        assert_eq!(plain("12.50"), "12.50");
        assert_eq!(plain("\""), "\"");
        assert_eq!(plain("\"\\x\""), "\"\\x\"");
    }

    #[test]
    fn a_cut_text_has_whole_characters_and_says_what_is_missing() {
        assert_eq!(cut(b"short", 5), None);
        let text = "ü".repeat(100);
        for room in 24..60 {
            let (kept, mark) = cut(text.as_bytes(), room).unwrap_or_default();
            assert!(std::str::from_utf8(kept).is_ok() && kept.len() + mark.len() <= room, "{room}");
            assert_eq!(mark, format!(" [cut: {} bytes more]", 200 - kept.len()));
        }
        assert_eq!(cut(&[0xbf; 100], 40).map(|(kept, _)| kept.len()), Some(15));
        assert_eq!(cut(text.as_bytes(), 3).map(|(kept, _)| kept.len()), Some(0));
    }
}
