//! Lines to records to JSON and back: what programs write, what is hostile, and any bytes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::json::{Teller, put_gap, put_owner, put_record, read};
use super::*;
use crate::stamp::StampReader;
use proptest::prelude::*;
use serde_json::Value;

const AT: Wall = Wall::from_micros(1_795_209_825_123_456);

fn owner() -> Owner {
    Owner {
        guard: Arc::from("shop"),
        service: Arc::from("api"),
        instance: 3,
        host: Arc::from("web\"1"),
        host_ip: Some([192, 0, 2, 7].into()),
    }
}

/// A line as it stands in a file, with its newline.
fn written(text: &[u8], partial: bool) -> Vec<u8> {
    let (mut face, mut out) = (Vec::new(), Vec::new());
    put_owner(&owner(), &mut face);
    let stamp = *Stamper::default().text(AT);
    put_record(&stamp, Some(Stream::Err), &face, &normalise(text), partial, &mut Stamper::default(), &mut out);
    out
}

fn value(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

fn parts(text: &str) -> Parts {
    Parts::of(text.as_bytes(), true)
}

#[test]
fn a_plain_line_is_the_message_of_a_record_with_our_names() {
    let line = written(b"ERROR \"disk\"\tis slow\r", true);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "{\"timestamp\":\"2026-11-20T21:23:45.123456Z\",\"stream\":\"err\",\"level\":\"error\",\"service_name\":\"api\",\
         \"instance\":\"3\",\"host\":\"web\\\"1\",\"host_ip\":\"192.0.2.7\",\"partial\":true,\
         \"message\":\"ERROR \\\"disk\\\"\\tis slow\\r\"}\n"
    );
}

#[test]
fn what_json_says_is_understood_and_the_rest_stays_as_it_stood() {
    let text = br#"{"b":1.50,"ts":1795209825.5,"a":{"x":[ 1]},"level":"WARN","msg":"slow \"disk\"","c":null}"#;
    let line = String::from_utf8(written(text, false)).unwrap();
    let own = r#""time":"2026-11-20T21:23:45.500000Z","message":"slow \"disk\"","b":1.50,"a":{"x":[ 1]},"c":null}"#;
    assert!(line.ends_with(&format!("{own}\n")), "{line}");
    assert!(line.contains(r#","level":"warn","#));
}

#[test]
fn a_programs_field_with_a_name_of_ours_never_takes_our_place() {
    let text = br#"{"host":"evil","program_host":2,"timestamp":"soon","stream":"out","message":"m","body":"b","tutela":"gap"}"#;
    let line = written(text, false);
    let json = value(&line);
    assert_eq!(json["host"], "web\"1");
    assert_eq!((&json["program_host"], &json["program_program_host"]), (&"evil".into(), &2.into()));
    assert_eq!((&json["program_timestamp"], &json["program_stream"]), (&"soon".into(), &"out".into()));
    assert_eq!((&json["message"], &json["body"], &json["program_tutela"]), (&"m".into(), &"b".into(), &"gap".into()));
    let names: Vec<_> = read(line.trim_ascii_end(), &mut StampReader::default())
        .unwrap()
        .parts
        .fields
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(names, ["host", "program_host", "timestamp", "stream", "body", "tutela"]);
}

/// The names of an object as they stand, where a parser would keep one of two.
fn names(line: &[u8]) -> Vec<String> {
    let members = members::members(line.trim_ascii_end()).unwrap();
    members.into_iter().map(|(name, _)| name.into_owned()).collect()
}

#[test]
fn a_name_that_comes_again_gets_a_number_and_every_value_is_there() {
    let text = br#"{"a":1,"a":2,"a_2":3,"\u0061":4,"level":"warn","level":"x","message":"m","message":"n","message":5,"tutela_id":6}"#;
    let line = written(text, false);
    let own = names(&line).split_off(8);
    let want = ["a", "a_3", "a_2", "a_4", "program_level", "program_message", "message_2", "program_tutela_id"];
    assert_eq!(own, want);
    let json = value(&line);
    let values: Vec<_> = own.iter().map(|name| json[name].to_string()).collect();
    assert_eq!(values, ["1", "2", "3", "4", "\"x\"", "\"n\"", "5", "6"]);
    // As many as a line can have are no reason to be slow.
    let many: Vec<String> = (0..3000).map(|at| format!("\"{}\":{at}", if at % 2 == 0 { "a" } else { "b" })).collect();
    let parts = parts(&format!("{{{}}}", many.join(",")));
    assert_eq!((&*parts.fields[2].0, &*parts.fields[2999].0, parts.fields.len()), ("a_2", "b_1500", 3000));
}

#[test]
fn times_are_understood_in_every_usual_unit_and_kept_where_they_are_not() {
    let nanos = 1_795_209_825_123_456_789;
    for (text, want) in [
        ("\"2026-11-20T21:23:45.123456789Z\"", nanos),
        ("\"2026-11-20 22:23:45.123456789+01:00\"", nanos),
        ("1795209825.123456789", nanos),
        ("1795209825123.456789", nanos),
        ("1795209825123456", nanos - 789),
        ("1795209825123456789", nanos),
        ("\"1795209825\"", 1_795_209_825_000_000_000),
        ("1795209825", 1_795_209_825_000_000_000),
    ] {
        let parts = parts(&format!("{{\"time\":{text},\"msg\":\"m\"}}"));
        assert_eq!((parts.time, parts.fields.len()), (Some(want), 0), "{text}");
    }
    for text in
        ["12", "-1795209825", "\"21:23:45\"", "true", "1e9", "99999999999999999999", "\"\"", "{}", "\"äöüäöüäöüäöü\""]
    {
        let parts = parts(&format!("{{\"time\":{text},\"msg\":\"m\"}}"));
        assert_eq!((parts.time, &parts.fields[0].1[..]), (None, text), "{text}");
    }
}

#[test]
fn the_best_name_that_can_be_understood_counts() {
    let it = parts(
        r#"{"event":"login","msg":"m","message":5,"ts":1795209825,"timestamp":"x","level":30,"severity":"error"}"#,
    );
    assert_eq!((&*it.message, it.level), (&b"m"[..], Some(Level::Info)));
    assert_eq!(it.time, Some(1_795_209_825_000_000_000));
    let names: Vec<_> = it.fields.iter().map(|it| &*it.0).collect();
    assert_eq!(names, ["event", "message", "timestamp", "severity"]);
    let nested =
        parts(r#"{"timestamp":"2026-11-20T21:23:45Z","level":"INFO","fields":{"message":"hi","n":1},"target":"t"}"#);
    assert_eq!((&*nested.message, nested.fields.len()), (&b"hi"[..], 2));
    assert_eq!(parts(r#"{"status":200}"#).text(), b"status=200");
    assert_eq!(parts(r#"{"msg":"m","a":"b","c":"d e","f":[1]}"#).text(), br#"m a=b c="d e" f=[1]"#);
}

#[test]
fn what_goes_on_with_a_long_line_is_no_json_whatever_it_looks_like() {
    assert_eq!(&*Parts::of(br#"{"msg":"m"}"#, false).message, br#"{"msg":"m"}"#);
}

#[test]
fn bytes_that_are_no_text_can_be_had_back() {
    let line = written(b"caf\xe9 \x1b[0m", false);
    let json = value(&line);
    assert_eq!((&json["message"], &json["message_base64"]), (&"caf\u{fffd} \u{1b}[0m".into(), &"Y2Fm6SAbWzBt".into()));
    let back = read(line.trim_ascii_end(), &mut StampReader::default()).unwrap();
    assert_eq!(&*back.parts.message, b"caf\xe9 \x1b[0m");
}

#[test]
fn json_of_several_lines_becomes_one_line() {
    let line = written(b"{\n  \"msg\": \"m\",\n  \"a\": {\n    \"b\": \"x\\ny\"\n  }\n}", false);
    assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
    assert_eq!(value(&line)["a"]["b"], "x\ny");
}

#[test]
fn a_gap_is_told_as_a_record_and_read_as_one() {
    let (mut face, mut line) = (Vec::new(), Vec::new());
    put_owner(&owner(), &mut face);
    put_gap(Stamper::default().text(AT), &face, 8192, 41, "no \"space\"", &mut line);
    let json = value(&line);
    assert_eq!(
        (&json["tutela"], &json["dropped_bytes"], &json["dropped_lines"]),
        (&"gap".into(), &8192.into(), &41.into())
    );
    let back = read(line.trim_ascii_end(), &mut StampReader::default()).unwrap();
    assert_eq!((back.at, back.teller), (AT, Teller::Gap));
    assert_eq!(back.parts.text(), b"8192 bytes in 41 lines were not stored: no \"space\"");
}

#[test]
fn a_record_is_written_as_the_file_has_it() {
    let text = br#"{"msg":"m","time":1795209825,"level":"warn","host":[1]}"#;
    let Parts { time, level, message, fields } = Parts::of(text, true);
    let id = RecordId { file: 0, offset: 0 };
    let record =
        Record { owner: Arc::new(owner()), id, at: AT, time, stream: Some(Stream::Err), level, message, fields };
    let mut out = Vec::new();
    record.put_json(&mut out);
    assert_eq!(out, written(text, false));
}

/// Any JSON, as programs write it.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    let usual =
        ["ts", "time", "level", "msg", "message", "host", "stream", "partial", "program_host", "message_base64"];
    prop_oneof![prop::sample::select(usual.to_vec()).prop_map(str::to_owned), ".{0,6}"]
}

proptest! {
    #[test]
    fn every_line_becomes_one_line_of_json_and_comes_back(bytes: Vec<u8>, partial: bool) {
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\n').collect();
        let line = written(&bytes, partial);
        prop_assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
        value(&line);
        let back = read(&line[..line.len() - 1], &mut StampReader::default()).unwrap();
        prop_assert_eq!((back.at, back.teller, back.partial), (AT, Teller::Program(Stream::Err), partial));
        prop_assert_eq!(back.parts, Parts::of(&bytes, true));
    }

    #[test]
    fn every_object_keeps_its_fields(members in prop::collection::vec((name(), json()), 1..8)) {
        let text: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", Value::from(&**name))).collect();
        let text = format!("{{{}}}", text.join(","));
        let line = written(text.as_bytes(), false);
        value(&line);
        let back = read(&line[..line.len() - 1], &mut StampReader::default()).unwrap();
        let here = Parts::of(text.as_bytes(), true);
        prop_assert_eq!(&back.parts, &here);
        // Whatever was not understood is there, as it stood and in its order.
        let mut all = members.iter().map(|(name, value)| (name.clone(), value.to_string()));
        for (name, value) in &here.fields {
            // The name as it was, or with a number.
            let is_it = |of: &(String, String)| {
                let rest = name.strip_prefix(&*of.0).map(|rest| rest.strip_prefix('_').unwrap_or(rest));
                rest.is_some_and(|rest| rest.is_empty() || rest.parse::<usize>().is_ok()) && of.1 == *value
            };
            prop_assert!(all.any(|of| is_it(&of)), "{:?}", name);
        }
        let mut unique = names(&line);
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), names(&line).len());
        prop_assert!(here.fields.len() + 3 >= members.len());
        let json = value(&line);
        prop_assert_eq!(&json["service_name"], "api");
        prop_assert_eq!(&json["host"], "web\"1");
        prop_assert_eq!(&json["stream"], "err");
    }
}
