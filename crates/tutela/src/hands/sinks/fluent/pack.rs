//! Records as entries of the forward protocol: a time and a map each.
//!
//! The map has the names of the JSON form: `level`, `service_name`, `instance`, `host`, `host_ip`, `stream`, `message`,
//! and beside them `guard` and `id`; then the program's own fields, typed as in its JSON, with `program_` before a name of
//! ours. A message that is not UTF-8
//! is of the type `bin`.

use rmp::encode;
use serde_json::Value;
use tutela_logs::record::{Record, name_beside};
use tutela_logs::{Stream, Wall};

/// The names that are ours.
const OURS: [&str; 9] = ["level", "service_name", "instance", "host", "host_ip", "stream", "message", "guard", "id"];

/// The type of the protocol's times among MessagePack's extensions.
const EVENT_TIME: i8 = 0;

/// The entries of the first of these records, of about `bytes` and at least one; and how many they are.
pub(super) fn entries(records: &[Record], bytes: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(bytes.min(records.len().saturating_mul(512)));
    let mut count = 0;
    for record in records {
        put_entry(record, &mut out);
        count += 1;
        if out.len() >= bytes {
            break;
        }
    }
    (out, count)
}

/// What stands before the entries of a chunk. Writing to memory cannot fail, here and below.
pub(super) fn head(tag: &str, entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tag.len() + 16);
    let _ = encode::write_array_len(&mut out, 3);
    let _ = encode::write_str(&mut out, tag);
    // A chunk is far shorter than 4 GiB: its records are bounded, and it ends soon after `CHUNK_BYTES`.
    let _ = encode::write_bin_len(&mut out, entries.len() as u32);
    out
}

/// What stands behind them: the name that the receiver is to say back.
pub(super) fn options(chunk: &str, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let _ = encode::write_map_len(&mut out, 2);
    put_text("chunk", chunk, &mut out);
    let _ = encode::write_str(&mut out, "size");
    let _ = encode::write_uint(&mut out, count as u64);
    out
}

fn put_entry(record: &Record, out: &mut Vec<u8>) {
    let _ = encode::write_array_len(out, 2);
    put_time(record.at, out);
    let owner = &record.owner;
    let optional = [record.level.is_some(), owner.host_ip.is_some(), record.stream.is_some()];
    let present = optional.iter().filter(|is_there| **is_there).count();
    // More fields than a record can have bytes.
    let _ = encode::write_map_len(out, (OURS.len() - optional.len() + present + record.fields.len()) as u32);
    if let Some(level) = record.level {
        put_text("level", level.word(), out);
    }
    put_text("guard", &owner.guard, out);
    put_text("service_name", &owner.service, out);
    let _ = encode::write_str(out, "instance");
    let _ = encode::write_uint(out, owner.instance.into());
    put_text("host", &owner.host, out);
    if let Some(address) = owner.host_ip {
        put_text("host_ip", &address.to_string(), out);
    }
    if let Some(stream) = record.stream {
        put_text("stream", if stream == Stream::Out { "stdout" } else { "stderr" }, out);
    }
    put_text("id", &format!("{}-{}", record.id.file, record.id.offset), out);
    let _ = encode::write_str(out, "message");
    match std::str::from_utf8(&record.message) {
        Ok(text) => drop(encode::write_str(out, text)),
        Err(_) => drop(encode::write_bin(out, &record.message)),
    }
    for (name, value) in &record.fields {
        let _ = encode::write_str(out, &name_beside(name, |name| OURS.contains(&name)));
        match serde_json::from_str(value) {
            Ok(value) => put_value(&value, out),
            Err(_) => drop(encode::write_str(out, value)),
        }
    }
}

/// Seconds and nanoseconds since 1970; seconds end in 2106.
fn put_time(at: Wall, out: &mut Vec<u8>) {
    let (seconds, micros) = (at.as_micros() / 1_000_000, at.as_micros() % 1_000_000);
    let _ = encode::write_ext_meta(out, 8, EVENT_TIME);
    out.extend_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&((micros * 1000) as u32).to_be_bytes());
}

fn put_text(name: &str, text: &str, out: &mut Vec<u8>) {
    let _ = encode::write_str(out, name);
    let _ = encode::write_str(out, text);
}

/// As deep as the reader of JSON went, which stops at 128.
fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => drop(encode::write_nil(out)),
        Value::Bool(value) => drop(encode::write_bool(out, *value)),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => drop(encode::write_uint(out, number)),
            (None, Some(number)) => drop(encode::write_sint(out, number)),
            (None, None) => drop(encode::write_f64(out, number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => drop(encode::write_str(out, text)),
        Value::Array(values) => {
            let _ = encode::write_array_len(out, values.len() as u32);
            values.iter().for_each(|value| put_value(value, out));
        }
        Value::Object(values) => {
            let _ = encode::write_map_len(out, values.len() as u32);
            for (name, value) in values {
                let _ = encode::write_str(out, name);
                put_value(value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::sinks::samples;

    #[test]
    fn an_entry_has_a_time_and_our_names_before_the_programs_own() {
        let mut record = samples::saying(b"caf\xe9");
        record.level = None;
        record.fields = vec![
            ("message".into(), "1".into()),
            ("n".into(), "-3".into()),
            ("deep".into(), "{\"a\":[1.5,null]}".into()),
        ];
        let (bytes, count) = entries(&[record], 1);
        assert_eq!(count, 1);
        let mut wanted = b"\x92\xd7\0".to_vec();
        wanted.extend_from_slice(&1_795_209_825_u32.to_be_bytes());
        wanted.extend_from_slice(&123_456_000_u32.to_be_bytes());
        wanted
            .extend_from_slice(b"\x8b\xa5guard\xa4shop\xacservice_name\xa3api\xa8instance\x02\xa4host\xabbox.example");
        wanted.extend_from_slice(b"\xa7host_ip\xa9192.0.2.7\xa6stream\xa6stdout\xa2id\xb51795209825000001-4711");
        wanted
            .extend_from_slice(b"\xa7message\xc4\x04caf\xe9\xafprogram_message\x01\xa1n\xfd\xa4deep\x81\xa1a\x92\xcb\x3f\xf8\0\0\0\0\0\0\xc0");
        assert_eq!(bytes.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }

    #[test]
    fn a_chunk_ends_soon_after_its_size_and_has_at_least_one_record() {
        let records = samples::numbered(100);
        let (_, all) = entries(&records, usize::MAX);
        let (bytes, some) = entries(&records, 1000);
        assert_eq!((all, entries(&records, 0).1), (100, 1));
        assert!(bytes.len() >= 1000 && bytes.len() < 1300 && some < 10, "{} bytes, {some} records", bytes.len());
    }
}
