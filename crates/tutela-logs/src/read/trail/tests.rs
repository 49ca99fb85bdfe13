//! Every line once, whatever happens to the files; and a number where one cannot be had.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::doors::tests::DOORS;
use crate::pack::FRAME_BYTES;
use crate::policy::{Compression, Stream};
use crate::read::tests::Pen;
use proptest::prelude::*;
use std::path::Path;

fn place(dir: &Path, label: &str) -> Place {
    Place { dir: dir.to_owned(), label: label.to_owned() }
}

/// Every line that there is.
fn texts(trail: &mut Trail) -> Vec<String> {
    let mut found = Vec::new();
    while trail.read(usize::MAX, |line| found.push(String::from_utf8(line.text.to_vec()).unwrap())).unwrap() > 0 {}
    found
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn rotated(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with("Z.log"));
    paths.sort();
    paths
}

#[test]
fn a_cursor_is_the_same_as_its_text() {
    let cursor = Cursor { file: 1_795_209_825_000_000, offset: 7, lines: u64::MAX };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for bad in ["", "1:2", "1:2:3:4", "1:2:x", "-1:2:3", "1:2:99999999999999999999999"] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
}

#[test]
fn every_line_comes_once_across_rotations_and_reopenings_at_any_cursor() {
    for (label, timestamps) in [("a", true), ("b", false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), label, timestamps, Some(120));
        let mut trail = Trail::open(DOORS, &place(dir.path(), label), Start::Beginning).unwrap();
        let mut seen = Vec::new();
        for number in 0..300 {
            pen.put(Stream::Out, format!("{number}").as_bytes());
            if number % 5 == 0 {
                seen.extend(texts(&mut trail));
            }
            pen.put(Stream::Out, b"\n");
            if number % 11 == 0 {
                trail.read(1, |line| seen.push(String::from_utf8(line.text.to_vec()).unwrap())).unwrap();
                let cursor = trail.cursor().to_string().parse().unwrap();
                trail = Trail::open(DOORS, &place(dir.path(), label), Start::At(cursor)).unwrap();
                assert_eq!(trail.cursor(), cursor);
            }
        }
        seen.extend(texts(&mut trail));
        assert_eq!(seen, numbers(0..300), "{label}");
        assert_eq!((trail.cursor().lines, trail.lost(), trail.backlog().unwrap()), (300, Lost::default(), 0));
    }
}

#[test]
fn what_was_removed_unread_is_a_number_and_the_rest_is_read() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(200));
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        for number in 0..400 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
            if number == 10 {
                assert_eq!(texts(&mut trail).len(), 11);
            }
        }
        let cursor = trail.cursor();
        for path in &rotated(dir.path())[..5] {
            std::fs::remove_file(path).unwrap();
        }
        // The open one goes on, as far as its file had more; the other one finds its file gone.
        for mut trail in [trail, Trail::open(DOORS, &place(dir.path(), "a"), Start::At(cursor)).unwrap()] {
            let rest = texts(&mut trail).len() as u64;
            let lost = trail.lost();
            assert_eq!((11 + rest + lost.lines, lost.unknown), (400, 0), "{rest} {lost:?}");
            assert!(lost.lines > 0);
            assert_eq!(trail.lost(), Lost::default());
        }
    }
}

#[test]
fn the_backlog_is_what_is_behind_the_cursor_and_skipping_leaves_at_most_so_much_and_counts() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(3000));
        for number in 0..1000 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
        let all: u64 = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_str().unwrap().ends_with(".log"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        for leave in [u64::MAX, all, all - 1, all / 2, 3001, 3000, 100, 1, 0] {
            let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
            assert_eq!(trail.backlog().unwrap(), all);
            let skipped = trail.skip(leave).unwrap();
            assert!(trail.backlog().unwrap() <= leave, "{leave}");
            let rest = texts(&mut trail);
            assert_eq!(rest, numbers(skipped.lines as u32..1000), "{leave}");
            assert_eq!((trail.lost(), skipped.unknown), (Lost::default(), 0));
        }
    }
}

#[test]
fn the_end_is_behind_the_last_whole_line_and_half_a_line_is_given_when_it_is_whole() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, None);
        pen.put(Stream::Out, b"old\nha");
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::End).unwrap();
        assert_eq!(texts(&mut trail), [""; 0]);
        pen.put(Stream::Out, b"lf\nnext");
        assert_eq!(texts(&mut trail), ["half"]);
        assert_eq!(trail.cursor().lines, 2);
    }
}

#[test]
fn an_emptied_or_replaced_file_is_begun_anew_and_what_came_before_is_counted() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, None);
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        pen.put(Stream::Out, b"one\ntwo\n");
        assert_eq!(texts(&mut trail), ["one", "two"]);
        let first = trail.cursor().file;
        pen.put(Stream::Out, b"three\n");
        std::fs::write(dir.path().join("a.log"), "").unwrap();
        assert_eq!(texts(&mut trail), [""; 0]);
        pen.now.tick += std::time::Duration::from_secs(1);
        pen.put(Stream::Out, b"four\n");
        assert_eq!(texts(&mut trail), ["four"]);
        assert_eq!((trail.lost().lines, trail.cursor().lines), (1, 4));
        assert_ne!(trail.cursor().file, first);
        std::fs::remove_file(dir.path().join("a.log")).unwrap();
        assert_eq!(texts(&mut trail), [""; 0]);
        pen.now.tick += std::time::Duration::from_secs(1);
        pen.put(Stream::Out, b"five\n");
        assert_eq!(texts(&mut trail), ["five"]);
        assert_eq!(trail.lost(), Lost::default());
    }
}

#[test]
fn without_any_index_every_line_still_comes_once_and_what_went_missing_is_told() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(200));
        for number in 0..100 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with(".index") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        let mut seen = Vec::new();
        while trail.read(1, |line| seen.push(String::from_utf8(line.text.to_vec()).unwrap())).unwrap() > 0 {
            let cursor = trail.cursor();
            trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::At(cursor)).unwrap();
        }
        assert_eq!(seen, numbers(0..100));
    }
}

#[test]
fn lines_without_a_time_of_their_own_have_that_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", false, Some(50));
    let mut expected = Vec::new();
    for _ in 0..40 {
        expected.push(Some(pen.now.wall));
        pen.put(Stream::Out, b"a line\n");
        pen.now.tick += std::time::Duration::from_secs(1);
    }
    let mut found = Vec::new();
    let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
    while trail.read(10, |line| found.push(line.at)).unwrap() > 0 {}
    assert_eq!(found, expected);
}

/// Puts a compressed file that is none in the place of a rotated one.
fn break_packed(path: &Path) {
    std::fs::write(path.with_extension("log.gz"), "garbage").unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_breaks_while_it_is_compressed_holds_up_nothing_and_is_told_once() {
    for timestamps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(200));
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        pen.put(Stream::Out, b"0\n");
        assert_eq!(texts(&mut trail), ["0"]);
        let cursor = trail.cursor();
        // The open file is rotated, and then what has its name is broken.
        for number in 1..400 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
        for path in &rotated(dir.path())[..2] {
            break_packed(path);
        }
        let second = Trail::open(DOORS, &place(dir.path(), "a"), Start::At(cursor)).unwrap();
        for (mut trail, written) in [(trail, 400), (second, 401)] {
            let rest = texts(&mut trail).len() as u64;
            let lost = trail.lost();
            assert_eq!((1 + rest + lost.lines, lost.unknown), (written, 0), "{lost:?}");
            assert!(rest > 0 && lost.lines > 0);
            let told = trail.passed_over();
            assert!(told.len() == 2 && told.iter().all(|note| note.contains("compressed")), "{told:?}");
            pen.put(Stream::Out, b"more\n");
            assert_eq!(texts(&mut trail).last().map(String::as_str), Some("more"));
            assert_eq!(trail.passed_over(), [""; 0]);
        }
    }
}

/// Digits that no compression makes short.
fn noise(number: u64) -> String {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (state >> 27);
        format!("{state:016x}")
    };
    (0..60).map(|_| next()).collect()
}

#[test]
fn a_flaw_within_a_compressed_file_holds_up_no_skip() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", true, Some(3 * FRAME_BYTES as u64));
    const LINES: u64 = 4000;
    let line = |number: u64| format!("{number} {}", noise(number));
    for number in 0..LINES {
        pen.put(Stream::Out, format!("{}\n", line(number)).as_bytes());
    }
    let path = rotated(dir.path()).remove(0);
    let packed = path.with_extension("log.zst");
    let (mut from, mut to) = (std::fs::File::open(&path).unwrap(), Vec::new());
    crate::pack::pack(Compression::Zstd, &mut from, &mut to, || Ok(())).unwrap();
    // Its beginning and its table of frames stay whole: it is found out when it is read.
    let middle = to.len() / 2;
    to[middle] ^= 0xff;
    std::fs::write(packed, to).unwrap();
    std::fs::remove_file(path).unwrap();
    for part in [2, 4, 100] {
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        let leave = trail.backlog().unwrap() / part;
        let skipped = trail.skip(leave).unwrap();
        assert!(trail.backlog().unwrap() <= leave, "{part}");
        let rest = texts(&mut trail);
        let lost = trail.lost();
        assert_eq!((rest.len() as u64 + skipped.lines + lost.lines, skipped.unknown + lost.unknown), (LINES, 0));
        assert_eq!(rest.last(), Some(&line(LINES - 1)));
        assert!(part > 2 || trail.passed_over().len() == 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_garbage_in_an_index_changes_what_is_read(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        from in 0usize..200,
        timestamps: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(500));
        for number in 0..60 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
            pen.now.tick += std::time::Duration::from_secs(1);
        }
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with(".index") {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.truncate(from);
                bytes.extend(&garbage);
                std::fs::write(path, bytes).unwrap();
            }
        }
        let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
        prop_assert_eq!(texts(&mut trail), numbers(0..60));
        let mut pen = Pen::new(dir.path(), "a", timestamps, Some(500));
        for number in 60..90 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
        prop_assert_eq!(texts(&mut trail), numbers(60..90));
    }
}

#[test]
fn a_file_that_was_compressed_badly_while_it_was_read_stops_nobody_and_costs_nothing_that_was_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut pen = Pen::new(dir.path(), "a", true, None);
    pen.put(Stream::Out, b"0\n");
    let mut trail = Trail::open(DOORS, &place(dir.path(), "a"), Start::Beginning).unwrap();
    assert_eq!(texts(&mut trail), ["0"]);
    pen.put(Stream::Out, b"1\n");
    pen.writer.rotate();
    pen.put(Stream::Out, b"2\n");
    let file = rotated(dir.path()).pop().unwrap();
    std::fs::write(dir.path().join(format!("{}.zst", file.to_str().unwrap())), "garbage").unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(trail.backlog().is_ok());
    assert_eq!(texts(&mut trail), ["1", "2"]);
}
