//! A record as JSON, as the way "http" sends it: one object in one line.
//!
//! Invariants: each name occurs once, the guard's own come first, and of a program's field with one of their names
//! an underscore is put behind the name. Bytes that are no UTF-8 are shown as U+FFFD: JSON has no place for them.

use std::fmt::Write;
use tutela_logs::Stream;
use tutela_logs::record::Record;

/// The names that are the guard's.
const OWN: [&str; 10] =
    ["timestamp", "level", "service_name", "instance", "host", "host_ip", "guard", "stream", "message", "id"];

/// Writes a record behind `out`.
pub fn write(record: &Record, out: &mut Vec<u8>) {
    let owner = &record.owner;
    let mut head = String::with_capacity(256);
    // Into memory: there is nothing to fail.
    let _ = write!(head, "{{\"timestamp\":\"{}\"", record.at);
    if let Some(level) = record.level {
        let _ = write!(head, ",\"level\":\"{}\"", level.word());
    }
    text(&mut head, "service_name", &owner.service);
    let _ = write!(head, ",\"instance\":{}", owner.instance);
    text(&mut head, "host", &owner.host);
    if let Some(address) = owner.host_ip {
        let _ = write!(head, ",\"host_ip\":\"{address}\"");
    }
    text(&mut head, "guard", &owner.guard);
    if let Some(stream) = record.stream {
        text(&mut head, "stream", if stream == Stream::Out { "stdout" } else { "stderr" });
    }
    let id = &record.id;
    let _ = write!(head, ",\"id\":\"{}-{}:{}:{}\"", owner.service, owner.instance, id.file, id.offset);
    text(&mut head, "message", &String::from_utf8_lossy(&record.message));
    for (name, value) in &record.fields {
        head.push(',');
        quote(&mut head, name);
        if OWN.contains(&name.as_str()) {
            head.insert(head.len() - 1, '_');
        }
        head.push(':');
        head.push_str(value);
    }
    head.push('}');
    out.extend_from_slice(head.as_bytes());
}

fn text(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":");
    quote(out, value);
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => drop(write!(out, "\\u{other:04x}")),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::sinks::samples::record;
    use tutela_core::level::Level;

    #[test]
    fn a_record_is_one_object_in_one_line_whatever_is_in_it() {
        let mut record = record("a \"b\"\\\n\t\u{1}é");
        record.message = [&record.message[..], b"\xff"].concat().into();
        record.level = Some(Level::Warn);
        record.fields = vec![("user".into(), "7".into()), ("message".into(), "{\"x\":[1]}".into())];
        let mut out = Vec::new();
        write(&record, &mut out);
        assert!(!out.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["message"], "a \"b\"\\\n\t\u{1}é\u{fffd}");
        assert_eq!((&value["user"], &value["message_"]["x"][0]), (&7.into(), &1.into()));
        assert_eq!(
            (&value["level"], &value["instance"], &value["stream"]),
            (&"warn".into(), &2.into(), &"stderr".into())
        );
        assert_eq!((&value["service_name"], &value["host_ip"]), (&"api".into(), &"192.0.2.7".into()));
        assert_eq!(value["id"], "api-2:11:22");
        assert_eq!(value["timestamp"], "2026-11-20T21:23:45.123456Z");
    }
}
