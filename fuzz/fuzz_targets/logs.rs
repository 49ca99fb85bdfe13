//! Any bytes as a program's output: they are cut into lines, masked, joined and taken apart; no byte is lost on the way,
//! no secret comes through, and every record is one line of JSON with our members in it.
//! `cargo fuzz run logs fuzz/corpus/logs fuzz/seeds/logs`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tutela_logs::Wall;
use tutela_logs::lines::{LINE_BYTES_MAX, Piece, Splitter};
use tutela_logs::record::join::{Joiner, Multiline, RECORD_BYTES_MAX, Rule};
use tutela_logs::record::redact::{Redactor, Tail};
use tutela_logs::record::{Owner, Parts, Record, RecordId};

const SECRET: &str = "hunter2!";

static MASK: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new([SECRET, "ter2!hun"], &["id=([0-9]+)".to_owned()]).expect("they are patterns"));
static RULE: LazyLock<Multiline> = LazyLock::new(|| {
    let regex = regex::bytes::Regex::new(r"^\s").expect("it is a pattern");
    Multiline::new(Rule::Continue(regex), Duration::from_secs(1), 50)
});

/// The pieces, put together again.
fn put(out: &mut Vec<u8>, text: &[u8], ended: bool) {
    out.extend_from_slice(text);
    if ended {
        out.push(b'\n');
    }
}

/// Splits the bytes into chunks of this size, and what comes out into lines.
fn lines(bytes: &[u8], size: usize, mut each: impl FnMut(Piece<'_>)) {
    let mut splitter = Splitter::default();
    for chunk in bytes.chunks(size) {
        splitter.feed(chunk, &mut each);
    }
    splitter.finish(&mut each);
}

fn record(text: &[u8], begins: bool) {
    let Parts { time, level, message, fields } = Parts::of(text, begins);
    let owner = Owner { guard: "g".into(), service: "s".into(), instance: 7, host: "h".into(), host_ip: None };
    let id = RecordId { file: 0, offset: 0 };
    let record =
        Record { owner: Arc::new(owner), id, at: Wall::from_micros(1), time, stream: None, level, message, fields };
    let mut line = Vec::new();
    record.put_json(&mut line);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let value: serde_json::Value = serde_json::from_slice(&line).expect("it is JSON");
    assert_eq!((&value["service_name"], &value["instance"], &value["host"]), (&"s".into(), &"7".into(), &"h".into()));
    let _ = record.text();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    // Often long enough for the cut of a line.
    let bytes = &bytes.repeat(if first & 1 == 1 { 40 } else { 1 });
    let (mut whole, mut masked, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tail, mut joiner) = (Tail::default(), Joiner::default());
    lines(bytes, usize::from(*first) + 1, |piece| {
        assert!(piece.text.len() <= LINE_BYTES_MAX);
        put(&mut whole, piece.text, piece.ended);
        MASK.piece(&mut tail, piece, |piece| {
            assert!(piece.text.len() <= LINE_BYTES_MAX);
            put(&mut masked, piece.text, piece.ended);
            joiner.feed(Some(&RULE), (), Wall::from_micros(2), piece, |it| {
                assert!(it.text.len() <= RECORD_BYTES_MAX);
                put(&mut joined, it.text, it.ended);
                record(it.text, it.begins);
            });
        });
    });
    MASK.finish(&mut tail, |piece| {
        put(&mut masked, piece.text, piece.ended);
        joiner.feed(Some(&RULE), (), Wall::from_micros(2), piece, |it| put(&mut joined, it.text, it.ended));
    });
    joiner.give(&mut |it| put(&mut joined, it.text, it.ended));
    assert_eq!(&whole, bytes);
    assert_eq!(joined, masked);
    assert!(!masked.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    record(bytes, true);
});
