//! Reading back across rotation, by time, by stream, and while files grow.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::doors::tests::DOORS;
use crate::lines::Splitter;
use crate::policy::{Form, Policy};
use crate::record::join::Joined;
use crate::writer::{Batch, Now, Writer};
use proptest::prelude::*;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

/// Micros of the first moment of a test.
pub(super) const START: u64 = 1_795_209_825_000_000;

/// Writes files as the pump does, one second a chunk.
pub(crate) struct Pen {
    pub(crate) writer: Writer,
    batch: Batch,
    splitters: [Splitter; 2],
    pub(crate) now: Now,
}

impl Pen {
    pub(crate) fn new(dir: &Path, label: &str, timestamps: bool, rotate_size: Option<u64>) -> Self {
        Self::of_form(dir, label, if timestamps { Form::Stamped } else { Form::Raw }, rotate_size)
    }

    pub(super) fn of_form(dir: &Path, label: &str, form: Form, rotate_size: Option<u64>) -> Self {
        let policy = Policy { rotate_size, keep: 10_000, ..Policy::new(dir.to_owned(), form) };
        let now = Now { wall: Wall::from_micros(START), tick: std::time::Instant::now() };
        let writer = Writer::new(Arc::from(label), Arc::new(policy), DOORS);
        Pen { writer, batch: Batch::default(), splitters: Default::default(), now }
    }

    pub(crate) fn put(&mut self, stream: Stream, chunk: &[u8]) {
        let Pen { writer, batch, splitters, now } = self;
        if writer.form() == Form::Stamped {
            splitters[stream as usize].feed(chunk, |piece| writer.entry(batch, stream, piece, *now));
            writer.flush(batch, *now);
        } else {
            writer.raw(batch, chunk, *now);
        }
        self.now.wall = Wall::from_micros(self.now.wall.as_micros() + 1_000_000);
    }

    /// A line in any form; of a record, one that was begun so long before.
    pub(super) fn put_line(&mut self, line: &[u8], held: Duration) {
        if self.writer.form() != Form::Json {
            return self.put(Stream::Out, &[line, b"\n"].concat());
        }
        let at = self.now.wall.before(held);
        let joined = Joined { mark: (), at, text: line, lines: 1, begins: true, ended: true };
        self.writer.record(&mut self.batch, Stream::Out, &joined, self.now);
        self.writer.flush(&mut self.batch, self.now);
        self.now.wall = Wall::from_micros(self.now.wall.as_micros() + 1_000_000);
    }

    pub(crate) fn finish(&mut self) {
        let Pen { writer, batch, splitters, now } = self;
        for (splitter, stream) in splitters.iter_mut().zip([Stream::Out, Stream::Err]) {
            splitter.finish(|piece| writer.entry(batch, stream, piece, *now));
        }
        writer.flush(batch, *now);
    }
}

pub(super) fn texts(reader: LogReader) -> Vec<String> {
    reader.map(|entry| String::from_utf8(entry.unwrap().text).unwrap()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

pub(super) fn at(second: u64) -> Wall {
    Wall::from_micros(START + second * 1_000_000)
}

#[test]
fn nothing_written_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(texts(tail(DOORS, &dir.path().join("none"), "api-0", 10).unwrap()), Vec::<String>::new());
}

#[test]
fn the_last_lines_come_from_as_many_files_as_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    for (label, timestamps) in [("a", true), ("b", false)] {
        let mut pen = Pen::new(dir.path(), label, timestamps, Some(100));
        for number in 0..50 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
        for n in [0, 1, 2, 7, 49, 50, 1000] {
            let first = 50u32.saturating_sub(n);
            assert_eq!(texts(tail(DOORS, dir.path(), label, n as usize).unwrap()), numbers(first..50), "{label} {n}");
        }
    }
}

#[test]
fn the_last_lines_of_a_large_file_are_found_across_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", true, None);
    let mut expected = Vec::new();
    for number in 0..3000usize {
        let (stream, text) = (if number % 3 == 0 { Stream::Err } else { Stream::Out }, "y".repeat(number % 200));
        pen.put(stream, format!("{number} {text}\n").as_bytes());
        if stream == Stream::Err {
            expected.push(format!("{number} {text}"));
        }
    }
    for n in [1, 10, 500, 999, 1000] {
        let query = Query { last: Some(n), stream: Some(Stream::Err), ..Query::default() };
        let found = texts(LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap());
        assert!(found == expected[1000 - n..], "last {n}");
    }
}

#[test]
fn the_last_lines_go_back_over_a_long_line_and_not_over_one_without_an_end() {
    for (zeros, is_cut) in [(3 << 20, false), (40 << 20, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"first\n").unwrap();
        // A hole reads as zeros and takes no room.
        file.set_len(6 + zeros).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        let found: Vec<Entry> = tail(DOORS, dir.path(), "a", 3).unwrap().map(Result::unwrap).collect();
        let bytes: u64 = found.iter().map(|entry| entry.text.len() as u64).sum();
        let (first, last) = (&found[0].text, &found[found.len() - 1].text);
        assert_eq!(&last[..], b"last");
        if is_cut {
            assert!(first.starts_with(b"[cut: ") && first.ends_with(&[0]) && bytes < 128 * 1024, "{bytes}");
            assert!(found.iter().filter(|entry| entry.text.starts_with(b"[cut")).count() == 1);
            let wants = LineFilter::new(|text, _| text == b"last");
            let query = Query { last: Some(3), ..Query::default() };
            let reader = LogReader::open_filtered(DOORS, &[place(dir.path(), "a")], query, wants).unwrap();
            assert_eq!(texts(reader), ["last"]);
        } else {
            assert!(first == b"first" && bytes == zeros + 9, "{bytes}");
        }
    }
}

#[test]
fn times_and_streams_filter_lines_across_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", true, Some(200));
    for number in 0..40 {
        pen.put(if number % 2 == 0 { Stream::Out } else { Stream::Err }, format!("{number}\n").as_bytes());
    }
    assert_eq!(texts(since(DOORS, dir.path(), "a", at(33)).unwrap()), numbers(33..40));
    let query = Query { since: Some(at(10)), until: Some(at(15)), stream: Some(Stream::Out), last: None };
    let reader = LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap();
    assert!(!reader.time_is_coarse());
    assert_eq!(texts(reader), ["10", "12", "14"]);
    let query = Query { until: Some(at(20)), last: Some(3), ..Query::default() };
    assert_eq!(texts(LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap()), ["17", "18", "19"]);
}

/// Removes every index.
fn without_indexes(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "index") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn lines_without_timestamps_have_the_times_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", false, Some(50));
    // What stands behind the last mark counts as written when the file was: one more than is asked for.
    for number in 0..41 {
        pen.put(Stream::Out, format!("{number}\n").as_bytes());
        pen.now.tick += Duration::from_secs(1);
    }
    for (from, to) in [(0, 40), (7, 12), (33, 40), (39, 40), (20, 20), (12, 13)] {
        let query = Query { since: Some(at(from)), until: Some(at(to)), ..Query::default() };
        let reader = LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap();
        assert!(!reader.time_is_coarse());
        assert_eq!(texts(reader), numbers(from as u32..to as u32), "{from} {to}");
        let query = Query { last: Some(2), ..query };
        let reader = LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap();
        assert_eq!(texts(reader), numbers((from as u32).max((to as u32).saturating_sub(2))..to as u32), "{from} {to}");
    }
}

#[test]
fn lines_are_found_by_time_in_a_large_file_with_and_without_an_index_and_after_a_clock_that_was_set_back() {
    for is_back in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", true, None);
        let mut expected = Vec::new();
        let (since, until) = (at(2000), at(2010));
        for number in 0..4000u64 {
            if is_back && number == 3000 {
                pen.now.wall = at(1995);
            }
            if (since..until).contains(&pen.now.wall) {
                expected.push(number.to_string());
            }
            pen.put(Stream::Out, format!("{number}\n{}\n", "x".repeat(500)).as_bytes());
            pen.now.tick += Duration::from_secs(1);
        }
        assert_eq!(expected.len(), if is_back { 20 } else { 10 });
        for indexed in [true, false] {
            if !indexed {
                without_indexes(dir.path());
            }
            let query = Query { since: Some(since), until: Some(until), ..Query::default() };
            let reader = LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap();
            let mut found = texts(reader);
            found.retain(|text| !text.starts_with('x'));
            assert_eq!(found, expected, "{is_back} {indexed}");
        }
    }
}

#[test]
fn a_file_without_timestamps_and_index_is_taken_or_left_as_a_whole_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    Pen::new(dir.path(), "a", false, None).put(Stream::Out, b"one\ntwo\n");
    without_indexes(dir.path());
    let hour = Duration::from_secs(3600);
    let reader = since(DOORS, dir.path(), "a", Wall::now().before(hour)).unwrap();
    assert!(reader.time_is_coarse());
    assert_eq!(texts(reader), ["one", "two"]);
    let later = Wall::from_micros(Wall::now().as_micros() + 3_600_000_000);
    assert_eq!(texts(since(DOORS, dir.path(), "a", later).unwrap()), Vec::<String>::new());
}

#[test]
fn several_labels_come_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut pens = ["a", "b", "c"].map(|label| Pen::new(dir.path(), label, true, Some(150)));
    for number in 0..60usize {
        let pen = &mut pens[number % 3];
        pen.now.wall = at(number as u64);
        pen.put(Stream::Out, format!("{number}\n").as_bytes());
    }
    let places = ["a", "b", "c"].map(|label| place(dir.path(), label));
    assert_eq!(texts(LogReader::open(DOORS, &places, Query::default()).unwrap()), numbers(0..60));
    let query = Query { last: Some(10), ..Query::default() };
    assert_eq!(texts(LogReader::open(DOORS, &places, query).unwrap()), numbers(50..60));
}

#[test]
fn following_sees_every_line_once_across_rotation_and_half_a_line_not_before_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    for (label, timestamps) in [("a", true), ("b", false)] {
        let mut pen = Pen::new(dir.path(), label, timestamps, Some(120));
        let mut reader =
            LogReader::open(DOORS, &[place(dir.path(), label)], Query { last: Some(3), ..Query::default() }).unwrap();
        let mut seen = Vec::new();
        for number in 0..200 {
            pen.put(Stream::Out, format!("{number}").as_bytes());
            pen.put(Stream::Out, b"\n");
            if number % 7 == 0 {
                while let Some(entry) = reader.next_now().unwrap() {
                    seen.push(String::from_utf8(entry.text).unwrap());
                }
            }
        }
        // One look finds that a file was rotated, the next one may find the one after it.
        for _ in 0..3 {
            while let Some(entry) = reader.next_now().unwrap() {
                seen.push(String::from_utf8(entry.text).unwrap());
            }
        }
        assert_eq!(seen, numbers(0..200), "{label}");
    }
}

#[test]
fn following_shows_an_unended_line_of_a_raw_file_once_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", false, None);
    pen.put(Stream::Out, b"password: ");
    let mut reader =
        LogReader::open(DOORS, &[place(dir.path(), "a")], Query { last: Some(0), ..Query::default() }).unwrap();
    assert_eq!(reader.next_now().unwrap(), None);
    pen.put(Stream::Out, b"again: ");
    assert_eq!(reader.next_now().unwrap(), None);
    let entry = reader.next_now().unwrap().unwrap();
    assert_eq!((&entry.text[..], entry.ended), (&b"again: "[..], false));
}

#[test]
fn files_that_come_while_others_are_followed_are_followed_from_a_moment_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut pens = ["a", "b"].map(|label| Pen::new(dir.path(), label, true, Some(100)));
    let places = ["a", "b"].map(|label| place(dir.path(), label));
    pens[0].put(Stream::Out, b"a0\n");
    let wants = LineFilter::new(|text, _| !text.ends_with(b"no"));
    let mut reader = LogReader::open_filtered(DOORS, &places[..1], Query::default(), wants).unwrap();
    let seen = |reader: &mut LogReader| {
        std::iter::from_fn(|| reader.next_now().unwrap())
            .map(|entry| String::from_utf8(entry.text).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut reader), ["a0"]);
    for number in 0..9 {
        pens[1].put(Stream::Out, format!("b{number}\n").as_bytes());
    }
    for place in &places {
        reader.follow_too(DOORS, place, at(6)).unwrap();
    }
    assert_eq!(seen(&mut reader), ["b6", "b7", "b8"]);
    pens[1].put(Stream::Out, b"b9\nno\n");
    pens[0].now.wall = at(20);
    pens[0].put(Stream::Out, b"a1\n");
    assert_eq!(seen(&mut reader), ["b9", "a1"]);
}

#[test]
fn a_followed_line_wakes_who_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", true, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut reader = tail(DOORS, dir.path(), "a", 5).unwrap();
    let entry = runtime.block_on(async {
        let write = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            pen.put(Stream::Err, b"late\n");
        };
        tokio::join!(reader.next_entry(), write).0.unwrap()
    });
    assert_eq!((&entry.text[..], entry.origin), (&b"late"[..], Origin::Stream(Stream::Err)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn each_streams_bytes_come_back_exactly(
        chunks in prop::collection::vec((any::<bool>(), prop::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..600), 1usize..30), 0..12),
        limit in prop::option::of(300u64..9000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", true, limit);
        let mut wanted = [Vec::new(), Vec::new()];
        for (is_err, part, times) in chunks {
            let chunk = part.repeat(times);
            let stream = if is_err { Stream::Err } else { Stream::Out };
            pen.put(stream, &chunk);
            wanted[stream as usize].extend(chunk);
        }
        pen.finish();
        let mut found = [Vec::new(), Vec::new()];
        for entry in LogReader::open(DOORS, &[place(dir.path(), "a")], Query::default()).unwrap() {
            let entry = entry.unwrap();
            let Origin::Stream(stream) = entry.origin else { panic!("{entry:?}") };
            entry.write_raw(&mut found[stream as usize]).unwrap();
        }
        prop_assert!(found == wanted);
    }
}

#[test]
fn what_has_the_name_of_a_log_file_and_is_none_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    for stranger in ["a.20200101T000000.000000Z.log", "a.20270101T000000.000000Z.log", "b.log"] {
        std::fs::create_dir(dir.path().join(stranger)).unwrap();
    }
    let mut pen = Pen::new(dir.path(), "a", true, Some(100));
    let mut reader = tail(DOORS, dir.path(), "a", 0).unwrap();
    for line in numbers(0..10) {
        pen.put(Stream::Out, format!("{line}\n").as_bytes());
    }
    assert_eq!(texts(tail(DOORS, dir.path(), "a", 100).unwrap()), numbers(0..10));
    assert_eq!(texts(tail(DOORS, dir.path(), "b", 100).unwrap()), Vec::<String>::new());
    let mut followed = Vec::new();
    while let Some(entry) = reader.next_now().unwrap() {
        followed.push(String::from_utf8(entry.text).unwrap());
    }
    assert_eq!(followed, numbers(0..10));
}

#[test]
fn a_filter_sees_the_text_and_the_last_lines_are_counted_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut pens = ["a", "b"].map(|label| Pen::new(dir.path(), label, true, Some(4000)));
    for number in 0..3000usize {
        let pen = &mut pens[number % 2];
        pen.now.wall = at(number as u64);
        pen.put(Stream::Out, format!("{number}\n").as_bytes());
    }
    let wants = || LineFilter::new(|text, _| text.ends_with(b"00") || text.ends_with(b"01"));
    let places = ["a", "b"].map(|label| place(dir.path(), label));
    let all: Vec<String> = (0..3000).filter(|n| n % 100 < 2 && *n > 1).map(|n| n.to_string()).collect();
    let open = |query| LogReader::open_filtered(DOORS, &places, query, wants()).unwrap();
    assert_eq!(texts(open(Query::default())), all);
    for last in [0, 1, 7, 58, 1000] {
        let query = Query { last: Some(last), ..Query::default() };
        assert_eq!(texts(open(query)), all[all.len().saturating_sub(last)..], "last {last}");
    }
    let query = Query { last: Some(2), until: Some(at(500)), ..Query::default() };
    assert_eq!(texts(open(query)), ["400", "401"]);
    let mut followed = open(Query { last: Some(1), ..Query::default() });
    pens[0].put(Stream::Out, b"no\nyes 00\n");
    let mut seen = Vec::new();
    while let Some(entry) = followed.next_now().unwrap() {
        seen.push(String::from_utf8(entry.text).unwrap());
    }
    assert_eq!(seen, ["2901", "yes 00"]);
}
