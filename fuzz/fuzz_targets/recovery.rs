//! Log files and their indexes, torn at any byte, overwritten, mixed up: every line that is still there is read, by both
//! readers, from the beginning, from the end and from a saved place; none that is not; reading ends; and a writer goes on.
//!
//! What is true is found by reading the files with a splitter of this target's own, before and after they were damaged.
//! `cargo fuzz run recovery fuzz/corpus/recovery fuzz/seeds/recovery`.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use tutela_logs::lines::Piece;
use tutela_logs::read::trail::{Cursor, Start, Trail};
use tutela_logs::read::{LogReader, Place, Query};
use tutela_logs::writer::{Batch, Now, Writer};
use tutela_logs::{Doors, Form, Found, Policy, Stream, Wall};

/// Nobody else is there: plain files are enough.
const DOORS: Doors = Doors {
    append: |path, _| OpenOptions::new().read(true).append(true).create(true).open(path).map(Found::Plain),
    read: |path| File::open(path).map(Found::Plain),
    give: |_, _| Ok(()),
    like: |_, _| Ok(()),
    // Asked for by who takes over a tray, of which there is none here.
    identity: |_| Err(std::io::ErrorKind::Unsupported.into()),
    rename: |from, to| std::fs::rename(from, to),
    remove: |path| std::fs::remove_file(path),
    folder: |path, _| std::fs::create_dir_all(path),
};

/// Later than any clock, so that no file seems younger than its lines.
const START_MICROS: u64 = 2_400_000_000_000_000;
const LONG_AFTER: Duration = Duration::from_secs(2_500_000_000);

const LABEL: &str = "a-0";
const INDEX: &str = ".index";

/// The length of what stands before the text of an entry: a stamp, a blank, `out`, a blank.
const PREFIX: usize = 32;

/// More lines than any run writes, damages make, or splitting long ones gives: a reader that gives more does not end.
const ENDLESS: usize = 10_000;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = parent.join(format!("tutela-recovery-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
});

fn place() -> Place {
    Place { dir: FOLDER.clone(), label: LABEL.to_owned() }
}

/// Every file, by name; the one that is written comes behind those that were rotated.
fn files(index: bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&*FOLDER).expect("the folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(INDEX) == index);
    paths.sort_by_key(|path| path.to_string_lossy().replace("a-0.log", "a-0.~"));
    paths
}

fn texts_of(entries: &[(Vec<u8>, bool)]) -> Vec<Vec<u8>> {
    entries.iter().map(|(text, _)| text.clone()).collect()
}

fn bytes_of(entries: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (text, ended) in entries {
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(if *ended { b"\n" } else { b"" });
    }
    bytes
}

fn read(query: Query) -> Vec<(Vec<u8>, bool)> {
    let reader = LogReader::open(DOORS, &[place()], query).expect("readable");
    let entries = reader.take(ENDLESS).map(|entry| entry.map(|entry| (entry.text, entry.ended)).expect("readable"));
    let entries: Vec<_> = entries.collect();
    assert!(entries.len() < ENDLESS, "it does not end");
    entries
}

fn follow(trail: &mut Trail) -> Vec<(Vec<u8>, bool)> {
    let mut entries = Vec::new();
    while trail.read(4096, |line| entries.push((line.text.to_vec(), line.ended))).expect("readable") > 0 {
        assert!(entries.len() < ENDLESS, "it does not end");
    }
    entries
}

fn trail(start: Start) -> Trail {
    Trail::open(DOORS, &place(), start).expect("readable")
}

/// Writes as the pump does.
struct Pen {
    writer: Writer,
    batch: Batch,
    now: Now,
    form: Form,
}

impl Pen {
    fn new(form: Form, micros: u64) -> Pen {
        let policy = Policy { keep: 1000, ..Policy::new(FOLDER.clone(), form) };
        let now = Now { wall: Wall::from_micros(micros), tick: Instant::now() };
        Pen { writer: Writer::new(Arc::from(LABEL), Arc::new(policy), DOORS), batch: Batch::default(), now, form }
    }

    fn put(&mut self, text: &[u8]) {
        let Pen { writer, batch, now, form } = self;
        if *form == Form::Raw {
            writer.raw(batch, &[text, b"\n"].concat(), *now);
        } else {
            writer.entry(batch, Stream::Out, Piece { text, ended: true }, *now);
            writer.flush(batch, *now);
        }
    }
}

/// What was written.
struct Written {
    form: Form,
    lines: Vec<(Wall, Vec<u8>)>,
    /// A place, and how many lines were before it.
    saved: Option<(Cursor, usize)>,
    /// Whether the clock was set back.
    back: bool,
}

fn write(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Written> {
    let form = if bytes.arbitrary()? { Form::Raw } else { Form::Stamped };
    let mut pen = Pen::new(form, START_MICROS);
    let mut written = Written { form, lines: Vec::new(), saved: None, back: false };
    for number in 0..bytes.int_in_range(1..=24)? {
        if bytes.is_empty() {
            break;
        }
        match bytes.int_in_range(0..=7)? {
            7 => pen.writer.rotate(),
            1 => pen.writer.close(),
            2 => {
                let mut trail = trail(Start::Beginning);
                assert_eq!(follow(&mut trail).len(), written.lines.len());
                written.saved = Some((trail.cursor(), written.lines.len()));
            }
            3 => {
                written.back = true;
                pen.now.wall = pen.now.wall.before(Duration::from_secs(3600));
            }
            _ => {}
        }
        let mut text = format!("l{number}:").into_bytes();
        text.extend(bytes.arbitrary::<&[u8]>()?.iter().filter(|byte| **byte != b'\n').take(64));
        if bytes.arbitrary::<u8>()? > 230 {
            text.resize(15_000, b'x');
        }
        pen.put(&text);
        written.lines.push((pen.now.wall, text));
        pen.now.tick += Duration::from_secs(1);
        pen.now.wall = Wall::from_micros(pen.now.wall.as_micros() + 1_000_000);
    }
    if bytes.arbitrary()? {
        pen.writer.close();
    }
    if let Some((cursor, before)) = written.saved {
        let rest = texts_of(&follow(&mut trail(Start::At(cursor))));
        assert!(rest.iter().eq(written.lines[before..].iter().map(|(_, text)| text)), "{cursor} of {before}");
    }
    for path in files(false) {
        let file = File::options().append(true).open(path).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH + LONG_AFTER).expect("a time");
    }
    Ok(written)
}

/// Tears, overwrites or lengthens a file; which bytes are not what they were.
fn damage(bytes: &mut Unstructured<'_>, path: &Path) -> arbitrary::Result<Range<u64>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let length = file.metadata().expect("a length").len();
    let at = bytes.int_in_range(0..=length)?;
    Ok(match bytes.int_in_range(0..=2)? {
        0 => {
            file.set_len(at).expect("it can be cut");
            at..length
        }
        1 => {
            let new = bytes.arbitrary::<&[u8]>()?;
            let new = &new[..new.len().min((length - at) as usize)];
            file.seek(SeekFrom::Start(at)).expect("a place");
            file.write_all(new).expect("it can be written");
            at..at + new.len() as u64
        }
        _ => {
            file.seek(SeekFrom::End(0)).expect("a place");
            file.write_all(bytes.arbitrary()?).expect("it can be written");
            length..length
        }
    })
}

/// What the check of a record of an index is made of; by it a lie is told from an accident.
fn is_checked(record: &[u8]) -> bool {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in 0u64.to_le_bytes().iter().chain(&record[..28]) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    record[28..32] == ((hash ^ (hash >> 32)) as u32).to_le_bytes()
}

/// Damages indexes only. Answers whether what a file is was lied about: another one's name, with a check that fits.
fn damage_indexes(bytes: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    let head = |path: &Path| std::fs::read(path).ok().and_then(|bytes| bytes.get(..32).map(<[u8]>::to_vec));
    let heads: BTreeMap<PathBuf, _> = files(true).into_iter().map(|path| (path.clone(), head(&path))).collect();
    for _ in 0..bytes.int_in_range(0..=4)? {
        let paths = files(true);
        if paths.is_empty() {
            break;
        }
        let path = bytes.choose(&paths)?;
        match bytes.int_in_range(0..=7)? {
            0 => std::fs::remove_file(path).expect("it can be removed"),
            1 => drop(std::fs::copy(bytes.choose(&paths)?, path).expect("it can be copied")),
            _ => drop(damage(bytes, path)?),
        }
    }
    let is_lie = |(path, before): (&PathBuf, &Option<Vec<u8>>)| {
        head(path).is_some_and(|after| Some(&after) != before.as_ref() && is_checked(&after))
    };
    Ok(heads.iter().any(is_lie))
}

fn check_damaged_indexes(bytes: &mut Unstructured<'_>, written: &Written) -> arbitrary::Result<()> {
    let Written { form, lines, saved, back } = written;
    let lies = damage_indexes(bytes)?;
    let mut all: Vec<Vec<u8>> = lines.iter().map(|(_, text)| text.clone()).collect();
    let check = |all: &[Vec<u8>], last: usize| {
        assert!(texts_of(&read(Query::default())) == all, "not every line, or another one");
        let tail = read(Query { last: Some(last), ..Query::default() });
        assert!(texts_of(&tail) == all[all.len().saturating_sub(last)..], "not the last {last}");
        let mut trail = trail(Start::Beginning);
        assert!(texts_of(&follow(&mut trail)) == all, "the trail has not every line, or another one");
        assert!(lies || trail.lost().lines == 0, "nothing is lost, and it is said to be");
        if let Some((cursor, before)) = saved {
            let rest = texts_of(&follow(&mut self::trail(Start::At(*cursor))));
            // Where nobody knows the place any more, lines may come twice; none may be missing, unless the clock was set
            // back besides, by which files are told apart then.
            let is_whole = all.ends_with(&rest) && rest.len() >= all.len() - before;
            assert!(lies || *back || is_whole, "{cursor} of {before}");
        }
    };
    check(&all, bytes.int_in_range(0..=lines.len() + 1)?);
    if *form == Form::Stamped && !back {
        let [since, until] = [bytes.int_in_range(0..=25)?, bytes.int_in_range(0..=25)?]
            .map(|second| Some(Wall::from_micros(START_MICROS + second * 1_000_000)));
        let wanted: Vec<_> = lines.iter().filter(|(at, _)| Some(*at) >= since && Some(*at) < until).collect();
        let found = texts_of(&read(Query { since, until, ..Query::default() }));
        assert!(found.iter().eq(wanted.iter().map(|(_, text)| text)), "not what was written in a time");
    }
    // Another writer goes on with what it finds.
    let mut pen = Pen::new(*form, START_MICROS + 1_000_000_000);
    for number in 0..4 {
        let text = format!("more {number}").into_bytes();
        pen.put(&text);
        all.push(text);
        if number == 1 {
            pen.writer.rotate();
        }
    }
    check(&all, bytes.int_in_range(0..=all.len())?);
    Ok(())
}

/// The lines of a file that are still there as they were: both ends of each, and the first line, which tells the form.
fn untouched<'a>(former: &'a [u8], touched: &[Range<u64>]) -> Vec<&'a [u8]> {
    let is_whole = |part: Range<usize>| {
        touched.iter().all(|range| range.end <= part.start as u64 || range.start >= part.end as u64)
    };
    let (mut lines, mut start, mut first) = (Vec::new(), 0, None);
    for line in former.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        let whole = is_whole(start.saturating_sub(1)..end);
        if *first.get_or_insert(whole) && whole {
            lines.push(&line[PREFIX..line.len() - 1]);
        }
        start = end;
    }
    lines
}

fn is_within(lines: &[&[u8]], entries: &[(Vec<u8>, bool)]) -> bool {
    let mut entries = entries.iter();
    lines.iter().all(|line| entries.any(|(text, _)| text == line))
}

fn contents() -> Vec<u8> {
    files(false).iter().map(|path| std::fs::read(path).expect("a file")).collect::<Vec<_>>().concat()
}

fn check_damaged_files(bytes: &mut Unstructured<'_>, written: &Written) -> arbitrary::Result<()> {
    let former: Vec<(PathBuf, Vec<u8>)> =
        files(false).into_iter().map(|path| (path.clone(), std::fs::read(&path).expect("a file"))).collect();
    let mut touched: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
    for _ in 0..bytes.int_in_range(1..=4)? {
        let (path, _) = &former[bytes.choose_index(former.len())?];
        touched.entry(path.clone()).or_default().push(damage(bytes, path)?);
    }
    damage_indexes(bytes)?;
    let mut pen = Pen::new(written.form, START_MICROS + 1_000_000_000);
    for going_on in [false, true] {
        if going_on {
            (0..4).for_each(|number| pen.put(format!("more {number}").as_bytes()));
            pen.writer.close();
        }
        let (entries, mut trail) = (read(Query::default()), trail(Start::Beginning));
        let followed = follow(&mut trail);
        let tail = read(Query { last: Some(3), ..Query::default() });
        assert!(going_on || entries.ends_with(&tail), "the last lines are not the last ones");
        if written.form == Form::Stamped {
            let lines: Vec<&[u8]> = former
                .iter()
                .flat_map(|(path, bytes)| untouched(bytes, touched.get(path).map_or(&[], Vec::as_slice)))
                .collect();
            assert!(is_within(&lines, &entries) && is_within(&lines, &followed), "a line is missing");
            let more: Vec<_> = (0..4).map(|number| (format!("more {number}").into_bytes(), true)).collect();
            assert!(!going_on || (entries.ends_with(&more) && followed.ends_with(&more)), "what came is not there");
        } else if files(false)
            .iter()
            .all(|path| !b"2{".contains(&std::fs::read(path).expect("a file").first().unwrap_or(&0)))
        {
            // Of bytes nothing is lost and nothing added, whatever they are.
            let (contents, followed) = (contents(), bytes_of(&followed));
            assert!(bytes_of(&entries) == contents, "other bytes than in the files");
            let rest = contents.strip_prefix(&*followed).expect("the trail gives other bytes than in the files");
            assert!(!rest.contains(&b'\n'), "the trail leaves a line out");
        }
        if let Some((cursor, _)) = written.saved {
            follow(&mut self::trail(Start::At(cursor)));
        }
        let mut behind = self::trail(Start::End);
        assert!(follow(&mut behind).is_empty());
        self::trail(Start::Beginning).skip(bytes.int_in_range(0..=10_000)?).expect("readable");
    }
    Ok(())
}

fn play(bytes: &[u8]) -> arbitrary::Result<()> {
    let mut bytes = Unstructured::new(bytes);
    for path in files(true).into_iter().chain(files(false)) {
        std::fs::remove_file(path).expect("it can be removed");
    }
    let only_indexes = bytes.arbitrary()?;
    let written = write(&mut bytes)?;
    if only_indexes { check_damaged_indexes(&mut bytes, &written) } else { check_damaged_files(&mut bytes, &written) }
}

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes for a run are no finding.
    let _ = play(bytes);
});
