//! Which files are needed: never too few, whatever became of the clock and of the indexes, and few of many.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::tests::{Pen, START, at, texts};
use super::track::Track;
use super::*;
use crate::doors::Found;
use crate::doors::tests::DOORS;
use crate::files;
use crate::index::look::Index;
use crate::pack::pack;
use crate::policy::{Compression, Form};
use crate::writer::span_of_moments;
use proptest::prelude::*;
use std::cell::Cell;
use std::fs::{File, OpenOptions};

/// What happens while a log is written.
#[derive(Debug, Clone)]
enum Happening {
    /// A line of so many bytes, in JSON begun so many seconds before.
    Line(usize, u64),
    /// So many seconds pass without one.
    Silence(u64),
    /// The clock is set by so many seconds.
    Clock(i64),
    Rotation,
    /// The guard is killed and started again. What of the index was on the disk: so many parts of 256, and what they are
    /// followed by.
    Crash(usize, Vec<u8>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => (prop_oneof![1usize..60, 9_000usize..16_000], 0u64..3).prop_map(|(size, held)| Happening::Line(size, held)),
        2 => (0u64..20).prop_map(Happening::Silence),
        2 => (-40i64..20).prop_map(Happening::Clock),
        1 => Just(Happening::Rotation),
        1 => damage().prop_map(|(kept, garbage)| Happening::Crash(kept, garbage)),
    ]
}

/// How much of an index is left, and garbage behind it.
fn damage() -> impl Strategy<Value = (usize, Vec<u8>)> {
    (prop_oneof![Just(256usize), 0usize..257], prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..70)])
}

/// What becomes of a file afterwards.
#[derive(Debug, Clone)]
struct Fate {
    index: Option<(usize, Vec<u8>)>,
    compression: Compression,
}

fn fate() -> impl Strategy<Value = Fate> {
    let compression = prop_oneof![
        3 => Just(Compression::None), 1 => Just(Compression::Zstd), 1 => Just(Compression::Gzip)
    ];
    let index = prop_oneof![6 => Just(Some((256, Vec::new()))), 1 => Just(None), 1 => damage().prop_map(Some)];
    (index, compression).prop_map(|(index, compression)| Fate { index, compression })
}

fn hurt(index: &Path, kept: usize, garbage: &[u8]) {
    let Ok(mut bytes) = std::fs::read(index) else { return };
    bytes.truncate(bytes.len() * kept / 256);
    bytes.extend_from_slice(garbage);
    std::fs::write(index, bytes).unwrap();
}

/// The latest moment of a line of the file.
fn latest(path: &Path, form: Form) -> Option<Wall> {
    let mut index = Index::open(DOORS, &files::index_of(path));
    let marked =
        index.as_mut().and_then(|index| (0..index.count()).filter_map(|it| index.mark(it)).map(|it| it.at).max());
    let mut file = File::open(path).unwrap();
    let stamped = span_of_moments(&mut file, 0, u64::MAX, form).unwrap().map(|(_, latest)| latest);
    marked.max(stamped)
}

fn suffer(path: &Path, form: Form, fate: &Fate, may_pack: bool) {
    // Of a file without an index one thing is believed.
    if let Some(latest) = latest(path, form) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_micros(latest.as_micros())).unwrap();
    }
    match &fate.index {
        Some((kept, garbage)) => hurt(&files::index_of(path), *kept, garbage),
        None => drop(std::fs::remove_file(files::index_of(path))),
    }
    if may_pack && fate.compression != Compression::None {
        let mut from = File::open(path).unwrap();
        let mut to = File::create(files::packed(path, fate.compression)).unwrap();
        pack(fate.compression, &mut from, &mut to, || Ok(())).unwrap();
        to.set_modified(from.metadata().unwrap().modified().unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

/// What a reader gives that reads everything.
fn all(place: &Place, query: &Query) -> Vec<Entry> {
    let (mut track, _) = Track::open(DOORS, place, &Query::default()).unwrap();
    let mut found = Vec::new();
    while track.peek(query).unwrap().is_some() {
        found.extend(track.take());
    }
    found
}

fn number(entry: Entry) -> String {
    let text = String::from_utf8(entry.text).unwrap();
    text.split(' ').next().unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_answer_leaves_out_a_line_whatever_became_of_the_clock_and_the_indexes(
        form in prop_oneof![Just(Form::Raw), Just(Form::Stamped), Just(Form::Json)],
        happenings in prop::collection::vec(happening(), 1..60),
        limit in 200u64..60_000,
        fates in prop::collection::vec(fate(), 1..12),
        queries in prop::collection::vec((prop::option::of(0u64..150), prop::option::of(0u64..150), prop::option::of(0usize..9)), 12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::of_form(dir.path(), "a", form, Some(limit));
        pen.now.wall = at(60);
        let pass = |pen: &mut Pen, by: i64| {
            let micros = pen.now.wall.as_micros().saturating_add_signed(by * 1_000_000);
            pen.now.wall = Wall::from_micros(micros.max(START));
        };
        for (index, happening) in happenings.iter().enumerate() {
            match happening {
                Happening::Line(size, held) => {
                    pen.put_line(format!("{index} {}", "x".repeat(*size)).as_bytes(), Duration::from_secs(*held));
                    pen.now.tick += Duration::from_secs(1);
                }
                Happening::Silence(seconds) => {
                    pass(&mut pen, *seconds as i64);
                    pen.now.tick += Duration::from_secs(*seconds);
                }
                Happening::Clock(by) => pass(&mut pen, *by),
                Happening::Rotation => pen.writer.rotate(),
                Happening::Crash(kept, garbage) => {
                    let now = pen.now;
                    drop(pen);
                    hurt(&dir.path().join("a.log.index"), *kept, garbage);
                    pen = Pen::of_form(dir.path(), "a", form, Some(limit));
                    pen.now = now;
                }
            }
        }
        drop(pen);
        let stamps = files::rotated_stamps(dir.path(), "a").unwrap();
        for (stamp, fate) in stamps.iter().zip(fates.iter().cycle()) {
            suffer(&files::rotated(dir.path(), "a", stamp), form, fate, true);
        }
        let current = files::current(dir.path(), "a");
        if current.exists() {
            suffer(&current, form, &fates[0], false);
        }
        let place = place(dir.path(), "a");
        for (since, until, last) in queries {
            let query = Query { since: since.map(at), until: until.map(at), stream: None, last: None };
            let mut expected: Vec<_> = all(&place, &query).into_iter().map(number).collect();
            let reader = LogReader::open(DOORS, std::slice::from_ref(&place), query).unwrap();
            let found: Vec<_> = reader.map(|entry| number(entry.unwrap())).collect();
            prop_assert_eq!(&found, &expected, "{:?}", query);
            if form != Form::Raw && let Some(last) = last {
                let query = Query { last: Some(last), ..query };
                let reader = LogReader::open(DOORS, std::slice::from_ref(&place), query).unwrap();
                expected.drain(..expected.len().saturating_sub(last));
                prop_assert_eq!(reader.map(|entry| number(entry.unwrap())).collect::<Vec<_>>(), expected, "{:?}", query);
            }
        }
    }
}

#[test]
fn lines_before_a_clock_was_set_back_in_a_rotated_file_are_found_with_all_of_its_index_and_with_little() {
    for form in [Form::Stamped, Form::Json] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::of_form(dir.path(), "a", form, None);
        for number in 0..20u64 {
            match number {
                10 => pen.now.wall = at(2),
                13 => pen.writer.rotate(),
                _ => {}
            }
            pen.put_line(number.to_string().as_bytes(), Duration::ZERO);
        }
        drop(pen);
        let stamps = files::rotated_stamps(dir.path(), "a").unwrap();
        let index = files::index_of(&files::rotated(dir.path(), "a", &stamps[0]));
        let whole = std::fs::metadata(&index).unwrap().len();
        for kept in [whole, 3 * crate::index::RECORD_BYTES as u64, 2 * crate::index::RECORD_BYTES as u64] {
            OpenOptions::new().write(true).open(&index).unwrap().set_len(kept).unwrap();
            let query = Query { since: Some(at(8)), until: Some(at(11)), ..Query::default() };
            let found = texts(LogReader::open(DOORS, &[place(dir.path(), "a")], query).unwrap());
            let mut expected = vec!["8", "9"];
            // The clock says the same again.
            expected.extend(["16", "17", "18"]);
            assert_eq!(found, expected, "{form:?} {kept}");
        }
    }
}

thread_local! {
    /// How many logs and how many indexes this thread opened.
    static OPENED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn counted(path: &Path) -> io::Result<Found> {
    let (logs, indexes) = OPENED.get();
    let is_index = path.extension().is_some_and(|end| end == "index");
    OPENED.set(if is_index { (logs, indexes + 1) } else { (logs + 1, indexes) });
    (DOORS.read)(path)
}

#[test]
fn a_minute_among_hundreds_of_files_opens_a_handful_of_indexes_and_the_logs_that_have_it() {
    for (form, is_back) in [(Form::Stamped, false), (Form::Raw, false), (Form::Stamped, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut pen = Pen::of_form(dir.path(), "a", form, Some(1));
        for number in 0..600u64 {
            if is_back && number == 400 {
                pen.now.wall = at(390);
            }
            pen.put_line(number.to_string().as_bytes(), Duration::ZERO);
        }
        drop(pen);
        OPENED.set((0, 0));
        let doors = crate::Doors { read: counted, ..DOORS };
        let query = Query { since: Some(at(200)), until: Some(at(203)), ..Query::default() };
        let found = texts(LogReader::open(doors, &[place(dir.path(), "a")], query).unwrap());
        assert_eq!(found, ["200", "201", "202"]);
        let (logs, indexes) = OPENED.get();
        // Those of the answer, the one that is written, one that may end in it; each is opened to look and to read.
        assert!(logs <= 12, "{form:?} {is_back}: {logs}");
        assert!(indexes <= if is_back { 48 } else { 24 }, "{form:?} {is_back}: {indexes}");
    }
}
