//! One label's file: forms, rotation, and a disk that refuses.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::doors::tests::DOORS;
use crate::lines::{Part, Splitter};
use proptest::prelude::*;
use std::path::Path;

/// A writer with its own folder, batch and clocks.
struct Bench {
    dir: tempfile::TempDir,
    writer: Writer,
    batch: Batch,
    splitter: Splitter,
    now: Now,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs");
        let mut policy = Policy { keep: 1000, ..Policy::new(path, Form::Stamped) };
        change(&mut policy);
        let now = Now { wall: Wall::from_micros(1_795_209_825_123_456), tick: Instant::now() };
        let writer = Writer::new(Arc::from("api-0"), Arc::new(policy), DOORS);
        Bench { dir, writer, batch: Batch::default(), splitter: Splitter::default(), now }
    }

    fn feed(&mut self, chunk: &[u8]) {
        let Bench { writer, batch, splitter, now, .. } = self;
        if writer.form() == Form::Stamped {
            splitter.feed(chunk, |piece| writer.entry(batch, Stream::Out, piece, *now));
            writer.flush(batch, *now);
        } else {
            writer.raw(batch, chunk, *now);
        }
    }

    fn finish(&mut self) {
        let Bench { writer, batch, splitter, now, .. } = self;
        splitter.finish(|piece| writer.entry(batch, Stream::Out, piece, *now));
        writer.flush(batch, *now);
    }

    fn pass(&mut self, span: Duration) {
        self.now.tick += span;
        self.now.wall = Wall::from_micros(self.now.wall.as_micros() + span.as_micros() as u64);
    }

    fn change(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut policy = (*self.writer.policy).clone();
        change(&mut policy);
        self.writer.set_policy(Arc::new(policy));
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("logs")
    }

    fn current(&self) -> String {
        String::from_utf8(std::fs::read(self.path().join("api-0.log")).unwrap()).unwrap()
    }

    /// Every file's bytes, oldest first.
    fn files(&self) -> Vec<Vec<u8>> {
        files_of(&self.path())
    }
}

fn files_of(dir: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !is_index(path));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "index")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lines_that_come_together_are_written_as_those_that_come_one_by_one(
        chunks in prop::collection::vec(prop::collection::vec((any::<bool>(), 0usize..200, any::<bool>()), 1..120), 1..6),
        limit in prop::option::of(1u64..40_000),
        long in prop::option::of(0usize..3),
    ) {
        let [mut one, mut together] = [(); 2].map(|()| Bench::new(|policy| policy.rotate_size = limit));
        for (number, lines) in chunks.iter().enumerate() {
            let mut chunk = Vec::new();
            for (is_many, length, is_ended) in lines {
                chunk.extend(b"some bytes".repeat(if *is_many { *length } else { *length / 100 }));
                chunk.extend(is_ended.then_some(b'\n'));
            }
            if long == Some(number) {
                chunk.extend(b"y".repeat(2 * LINE_BYTES_MAX + number));
            }
            one.feed(&chunk);
            let Bench { writer, batch, splitter, now, .. } = &mut together;
            splitter.feed_parts(&chunk, |part| match part {
                Part::Lines(lines) => writer.lines(batch, Stream::Out, lines, *now),
                Part::Piece(piece) => writer.entry(batch, Stream::Out, piece, *now),
            });
            writer.flush(batch, *now);
            one.pass(Duration::from_millis(700));
            together.pass(Duration::from_millis(700));
        }
        one.finish();
        together.finish();
        prop_assert_eq!(together.writer.status().lines, one.writer.status().lines);
        prop_assert_eq!(together.writer.status().bytes, one.writer.status().bytes);
        prop_assert!(together.files() == one.files());
    }
}

#[test]
fn a_silent_program_costs_no_file_and_no_folder() {
    let mut bench = Bench::new(|_| {});
    bench.feed(b"");
    bench.feed(b"no newline yet");
    assert!(!bench.path().exists());
    assert_eq!(bench.writer.status(), CaptureStatus::default());
}

#[test]
fn an_entry_has_its_time_and_stream_and_the_bytes_as_they_are() {
    let mut bench = Bench::new(|_| {});
    bench.feed(b"one\r\n\ntw");
    bench.feed(b"o");
    bench.finish();
    assert_eq!(
        bench.current(),
        "2026-11-20T21:23:45.123456Z out one\r\n2026-11-20T21:23:45.123456Z out \n2026-11-20T21:23:45.123456Z out+ two\n"
    );
    let status = bench.writer.status();
    assert_eq!((status.bytes, status.lines, status.dropped_bytes), (9, 2, 0));
    assert_eq!(status.file, Some(bench.path().join("api-0.log")));
}

#[test]
fn a_file_is_rotated_at_the_first_end_of_line_behind_its_size_and_named_by_the_moment() {
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (Form::Raw, Some(10)));
    bench.feed(b"0123\n0123456");
    bench.feed(b"7\nnext\n");
    assert_eq!(bench.files(), [b"0123\n01234567\n".to_vec(), b"next\n".to_vec()]);
    assert!(bench.path().join("api-0.20261120T212345.123456Z.log").exists());
}

#[test]
fn a_line_without_end_does_not_keep_a_file_from_being_rotated() {
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (Form::Raw, Some(1000)));
    for _ in 0..100 {
        bench.feed(&[b'x'; 1000]);
    }
    let files = bench.files();
    assert!(files.iter().all(|file| file.len() <= 1000 + LINE_BYTES_MAX));
    assert_eq!(files.iter().map(Vec::len).sum::<usize>(), 100_000);
}

#[test]
fn a_file_is_rotated_by_age_when_the_next_line_comes_and_only_so_many_are_kept() {
    let mut bench = Bench::new(|policy| (policy.rotate_every, policy.keep) = (Some(Duration::from_secs(60)), 2));
    for index in 0..5 {
        bench.feed(format!("{index}\n").as_bytes());
        bench.pass(Duration::from_secs(59));
        bench.feed(b"same file\n");
        bench.pass(Duration::from_secs(1));
    }
    let files = bench.files();
    assert_eq!(files.len(), 3);
    assert!(files[2].ends_with(b"same file\n") && files[2].windows(5).any(|part| part == b"out 4"));
}

#[test]
fn rotated_files_stay_in_order_when_the_clock_is_set_back() {
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (Form::Raw, Some(1)));
    for index in 0..20u8 {
        bench.feed(&[b'a' + index, b'\n']);
        bench.now.wall = bench.now.wall.before(Duration::from_secs(3600));
    }
    let all = bench.files().concat();
    assert_eq!(all.iter().filter(|byte| **byte != b'\n').copied().collect::<Vec<_>>(), b"abcdefghijklmnopqrst");
}

#[test]
fn a_file_never_mixes_the_two_forms() {
    let mut bench = Bench::new(|policy| policy.form = Form::Raw);
    bench.feed(b"raw without end");
    bench.change(|policy| policy.form = Form::Stamped);
    bench.feed(b"stamped\n");
    bench.change(|policy| policy.form = Form::Raw);
    bench.feed(b"raw again\n");
    let files = bench.files();
    assert_eq!(files.len(), 3);
    assert_eq!((&files[0][..], &files[2][..]), (&b"raw without end"[..], &b"raw again\n"[..]));
}

#[test]
fn a_change_of_folder_and_of_keep_takes_effect_at_once() {
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (Form::Raw, Some(1)));
    for _ in 0..4 {
        bench.feed(b"x\n");
    }
    bench.change(|policy| policy.keep = 1);
    assert_eq!(bench.files().len(), 2);
    let other = bench.dir.path().join("deep/er");
    bench.change(|policy| policy.dir = other.clone());
    bench.feed(b"there\n");
    assert_eq!(std::fs::read(other.join("api-0.log")).unwrap(), b"there\n");
}

#[test]
fn an_entry_cut_off_by_a_power_cut_gets_an_end() {
    let mut bench = Bench::new(|_| {});
    std::fs::create_dir_all(bench.path()).unwrap();
    std::fs::write(bench.path().join("api-0.log"), "2026-11-20T21:23:45.123456Z out hal").unwrap();
    bench.feed(b"next\n");
    assert!(bench.current().ends_with("hal\n2026-11-20T21:23:45.123456Z out next\n"));
}

#[test]
fn a_file_that_somebody_removed_or_emptied_is_noticed_within_a_second() {
    let mut bench = Bench::new(|policy| policy.form = Form::Raw);
    bench.feed(b"one\n");
    std::fs::remove_file(bench.path().join("api-0.log")).unwrap();
    bench.pass(Duration::from_secs(1));
    bench.feed(b"two\n");
    assert_eq!(bench.current(), "two\n");
    std::fs::write(bench.path().join("api-0.log"), "").unwrap();
    bench.pass(Duration::from_secs(1));
    bench.feed(b"three\n");
    assert_eq!(bench.current(), "three\n");
    assert_eq!(bench.writer.status().bytes, 14);
}

#[test]
fn a_disk_that_refuses_costs_counted_lines_and_is_tried_again_once_a_second() {
    let mut bench = Bench::new(|_| {});
    // A file where the folder should be refuses everybody, root too.
    std::fs::write(bench.path(), "").unwrap();
    bench.feed(b"lost 1\nlost 2\n");
    bench.feed(b"lost 3\n");
    let status = bench.writer.status();
    assert_eq!((status.bytes, status.dropped_bytes, status.dropped_lines), (0, 21, 3));
    assert!(status.last_error.unwrap().starts_with("failed to write "));
    std::fs::remove_file(bench.path()).unwrap();
    bench.feed(b"lost 4\n");
    bench.pass(RETRY_EVERY);
    bench.feed(b"kept\n");
    let text = bench.current();
    assert!(text.contains("gap 28 bytes in 4 lines were not stored: ") && text.ends_with(" out kept\n"), "{text}");
    assert_eq!(bench.writer.status().last_error, None);
    let events = bench.writer.take_events();
    assert!(matches!(&events[0], WriterEvent::Failing { .. }));
    assert_eq!(events[1..], [WriterEvent::Recovered { dropped_bytes: 28, dropped_lines: 4 }]);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        Just(b"\r\n".to_vec()),
        (0usize..LINE_BYTES_MAX * 2).prop_map(|length| vec![b'l'; length]),
        Just(vec![b'\n'; 40]),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn written(bytes: &[u8], cuts: &[usize], stamps: bool, limit: Option<u64>) -> (Vec<Vec<u8>>, CaptureStatus) {
    let form = if stamps { Form::Stamped } else { Form::Raw };
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (form, limit));
    let mut rest = bytes;
    for cut in cuts {
        let (chunk, later) = rest.split_at((*cut).min(rest.len()));
        bench.feed(chunk);
        rest = later;
    }
    bench.feed(rest);
    bench.finish();
    (bench.files(), bench.writer.status())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_cut_into_chunks_changes_the_files(
        bytes in bytes(),
        cuts in prop::collection::vec(0usize..3000, 0..20),
        stamps: bool,
        limit in prop::option::of(1u64..40_000),
    ) {
        let (whole, status) = written(&bytes, &[], stamps, limit);
        let (cut, cut_status) = written(&bytes, &cuts, stamps, limit);
        prop_assert!(whole == cut, "the files differ");
        prop_assert_eq!((status.bytes, status.lines), (cut_status.bytes, cut_status.lines));
        prop_assert_eq!(status.bytes, bytes.len() as u64);
    }

    #[test]
    fn rotation_loses_no_byte_and_cuts_no_entry(bytes in bytes(), stamps: bool, limit in 1u64..5000) {
        let (rotated, _) = written(&bytes, &[], stamps, Some(limit));
        let (whole, _) = written(&bytes, &[], stamps, None);
        prop_assert!(rotated.concat() == whole.concat());
        for file in rotated.iter().rev().skip(1) {
            prop_assert!(file.len() as u64 >= limit);
            prop_assert!(file.len() as u64 <= limit + entry_bytes_max(Form::Stamped) as u64);
            prop_assert!(!stamps || file.ends_with(b"\n"));
        }
    }
}

#[test]
fn a_rotation_that_was_asked_for_comes_with_the_next_line_and_only_once() {
    for form in [Form::Stamped, Form::Raw] {
        let mut bench = Bench::new(|policy| policy.form = form);
        bench.writer.rotate();
        bench.feed(b"one\ntw");
        bench.writer.rotate();
        bench.feed(b"o\n");
        bench.pass(Duration::from_secs(1));
        bench.feed(b"three\n");
        bench.feed(b"four\n");
        let files = bench.files();
        assert_eq!(files.len(), 2, "{files:?}");
        let all = files.concat();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 4);
    }
}

/// Names in the folder but for indexes, in order.
fn names(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| !is_index(path));
    let mut names: Vec<_> = paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_lies_in_the_place_of_the_file_and_is_none_is_put_aside_and_told_and_costs_no_byte() {
    let mut bench = Bench::new(|policy| policy.form = Form::Raw);
    std::fs::create_dir_all(bench.path().join("api-0.log/inside")).unwrap();
    bench.feed(b"one\n");
    assert_eq!(bench.current(), "one\n");
    assert_eq!(names(&bench), ["api-0.log", "api-0.log.aside-20261120T212345.123456Z"]);
    assert!(bench.path().join("api-0.log.aside-20261120T212345.123456Z/inside").is_dir());
    let events = bench.writer.take_events();
    assert!(matches!(&events[..], [WriterEvent::Blemish { text }] if text.contains("a folder")), "{events:?}");
    assert!(bench.writer.status().last_error.unwrap().contains("aside"));
    // While it runs: noticed within a second, told once an hour.
    for (spans, told) in [(1, 0), (1, 0), (3600, 1)] {
        std::fs::rename(bench.path().join("api-0.log"), bench.dir.path().join(format!("{spans} {told}"))).unwrap();
        std::fs::create_dir(bench.path().join("api-0.log")).unwrap();
        bench.pass(Duration::from_secs(spans));
        bench.feed(b"next\n");
        assert_eq!(bench.current(), "next\n");
        assert_eq!(bench.writer.take_events().len(), told);
    }
    assert_eq!((bench.writer.status().bytes, bench.writer.status().dropped_bytes), (19, 0));
}

#[test]
fn an_entry_that_is_no_file_ends_no_pruning_and_is_told_once() {
    let mut bench = Bench::new(|policy| {
        (policy.form, policy.rotate_size, policy.keep) = (Form::Raw, Some(1), 2);
    });
    let stranger = "api-0.20200101T000000.000000Z.log";
    std::fs::create_dir_all(bench.path().join(stranger)).unwrap();
    for _ in 0..6 {
        bench.feed(b"x\n");
        bench.pass(Duration::from_secs(1));
    }
    let names = names(&bench);
    assert_eq!(names.len(), 4, "two rotated ones, the current one and the stranger: {names:?}");
    assert_eq!(names[0], stranger);
    let mut events = bench.writer.take_events();
    events.retain(|event| *event != WriterEvent::Rotated);
    assert!(matches!(&events[..], [WriterEvent::Blemish { text }] if text.contains(stranger)), "{events:?}");
    assert!(bench.writer.status().last_error.unwrap().contains(stranger));
}

#[test]
fn output_goes_to_another_folder_at_once_when_the_disk_of_the_first_refuses_it() {
    let mut bench = Bench::new(|policy| policy.form = Form::Raw);
    std::fs::write(bench.path(), "").unwrap();
    bench.feed(b"lost\n");
    let other = bench.dir.path().join("other");
    bench.change(|policy| policy.dir = other.clone());
    bench.now.tick = Instant::now();
    bench.feed(b"kept\n");
    assert_eq!(std::fs::read(other.join("api-0.log")).unwrap(), b"kept\n");
    assert_eq!((bench.writer.status().dropped_lines, bench.writer.status().last_error), (1, None));
}

#[test]
fn a_rotated_file_is_never_written_over_and_nothing_is_lost_where_no_later_name_is_left() {
    let mut bench = Bench::new(|policy| (policy.form, policy.rotate_size) = (Form::Raw, Some(1)));
    std::fs::create_dir(bench.path()).unwrap();
    // The last moment that there is, and what is no moment and would sort behind it.
    let last = bench.path().join("api-0.99991230T215959.999999Z.log");
    let none = bench.path().join("api-0.99999999T999999.999999Z.log");
    std::fs::write(&last, "before\n").unwrap();
    std::fs::write(&none, "not ours\n").unwrap();
    for line in ["one\n", "two\n", "three\n"] {
        bench.feed(line.as_bytes());
        bench.pass(Duration::from_secs(2));
    }
    assert_eq!(std::fs::read(&last).unwrap(), b"before\n");
    assert_eq!(std::fs::read(&none).unwrap(), b"not ours\n");
    assert_eq!(bench.current(), "one\ntwo\nthree\n");
    assert!(bench.writer.status().last_error.unwrap().contains("no later moment"));
    assert_eq!(bench.writer.status().dropped_bytes, 0);
}
