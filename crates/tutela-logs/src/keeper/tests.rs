//! Plans, and real files that are compressed, removed and left alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::doors::tests::DOORS;
use crate::policy::{Form, Stream};
use crate::read::tests::Pen;
use crate::read::trail::{Start, Trail};
use crate::read::{LogReader, Place, Query};
use proptest::prelude::*;
use std::sync::mpsc;

fn old(index: u64, bytes: u64) -> Old {
    Old {
        path: PathBuf::from(format!("{index:05}")),
        at: Wall::from_micros(index * 1_000_000),
        bytes,
        plain: true,
        packed: None,
        keep_for: None,
        compress: Compression::None,
    }
}

#[test]
fn the_oldest_of_all_labels_go_until_the_budget_is_kept_and_what_is_written_counts() {
    let files: Vec<Old> = (0..10).rev().map(|index| old(index, 100)).collect();
    let removed = |current, budget| {
        let plan = plan(&files, current, Some(budget), Wall::default());
        plan.remove.iter().map(|number| files[*number].at.as_micros() / 1_000_000).collect::<Vec<_>>()
    };
    assert_eq!(removed(0, 1000), [0u64; 0]);
    assert_eq!(removed(0, 999), [0]);
    assert_eq!(removed(250, 1000), [0, 1, 2]);
    assert_eq!(removed(5000, 1000), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_goes_and_the_next_moment_is_told() {
    let mut files: Vec<Old> = (0..10).map(|index| old(index, 100)).collect();
    for file in &mut files[..8] {
        (file.keep_for, file.compress) = (Some(Duration::from_secs(5)), Compression::Zstd);
    }
    let plan = plan(&files, 0, None, Wall::from_micros(8_500_000));
    assert_eq!(plan.remove, [0, 1, 2, 3]);
    assert_eq!(plan.next, Some(Wall::from_micros(9_000_000)));
    assert_eq!(plan.pack, [4, 5, 6, 7]);
}

proptest! {
    #[test]
    fn a_plan_removes_no_more_than_it_has_to_and_nothing_twice(
        sizes in prop::collection::vec(0u64..1000, 0..30), current in 0u64..5000, budget in 0u64..20_000,
    ) {
        let files: Vec<Old> = sizes.iter().enumerate().map(|(index, size)| old(index as u64, *size)).collect();
        let plan = plan(&files, current, Some(budget), Wall::default());
        let gone: u64 = plan.remove.iter().map(|number| files[*number].bytes).sum();
        let left = current + sizes.iter().sum::<u64>() - gone;
        prop_assert!(left <= budget || plan.remove.len() == files.len());
        if let Some(last) = plan.remove.last() {
            prop_assert!(left + files[*last].bytes > budget);
        }
        prop_assert!(plan.remove.is_sorted_by(|a, b| a < b));
    }
}

/// Two labels with some rotated files each.
fn written(dir: &Path, timestamps: bool) {
    for label in ["a-0", "b-0"] {
        let mut pen = Pen::new(dir, label, timestamps, Some(5_000));
        for number in 0..3000 {
            pen.put(Stream::Out, format!("{number}\n").as_bytes());
        }
    }
}

fn rules(dir: &Path, compress: Compression) -> Rules {
    let policy = Policy { keep: 1000, compress, ..Policy::new(dir.to_owned(), Form::Stamped) };
    let labels = ["a-0", "b-0"].map(|label| (Arc::from(label), Arc::new(policy.clone())));
    Rules { labels: labels.into(), own: dir.to_owned(), budget: None }
}

/// One look, as the thread does it: what it told.
fn look(rules: &Rules) -> Vec<String> {
    // A look tells one thing at most.
    let (tell, told) = mpsc::sync_channel(1);
    let on_event = Arc::new(move |text| tell.send(text).unwrap());
    let mut keeper = Keeper {
        shared: Arc::default(),
        doors: DOORS,
        on_event,
        told: None,
        is_first: true,
        unchanged: LOOK_EVERY,
        current: 0,
    };
    keeper.look(rules);
    told.try_iter().collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn texts(dir: &Path, label: &str, query: Query) -> Vec<String> {
    let place = Place { dir: dir.to_owned(), label: label.to_owned() };
    let reader = LogReader::open(DOORS, &[place], query).unwrap();
    reader.map(|entry| String::from_utf8(entry.unwrap().text).unwrap()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn compressed_files_are_read_like_the_others_and_a_trail_goes_on_in_them() {
    for compress in Compression::ALL {
        for timestamps in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            written(dir, timestamps);
            let place = Place { dir: dir.to_owned(), label: "a-0".into() };
            let mut trail = Trail::open(DOORS, &place, Start::Beginning).unwrap();
            let mut seen = Vec::new();
            let mut each = |text: &[u8]| seen.push(String::from_utf8(text.to_vec()).unwrap());
            trail.read(1000, |line| each(line.text)).unwrap();
            let backlog = trail.backlog().unwrap();
            let cursor = trail.cursor();
            assert_eq!(look(&rules(dir, compress)), [""; 0]);
            assert!(names(dir).iter().all(|name| !name.ends_with("Z.log")), "{:?}", names(dir));
            assert!(names(dir).iter().filter(|name| name.ends_with(compress.suffix())).count() >= 2);
            let mut again = Trail::open(DOORS, &place, Start::At(cursor)).unwrap();
            assert_eq!((again.cursor(), again.backlog().unwrap()), (cursor, backlog));
            while again.read(usize::MAX, |line| each(line.text)).unwrap() > 0 {}
            assert_eq!(seen, numbers(0..3000));
            assert_eq!(again.lost(), Default::default());
            assert_eq!(texts(dir, "a-0", Query::default()), numbers(0..3000));
            for last in [1, 500, 2999] {
                let query = Query { last: Some(last), ..Query::default() };
                assert_eq!(texts(dir, "a-0", query), numbers(3000 - last as u32..3000));
            }
        }
    }
}

#[test]
fn a_crash_between_any_two_steps_loses_and_doubles_nothing_and_is_cleared_up() {
    let source = tempfile::tempdir().unwrap();
    written(source.path(), true);
    let first = names(source.path()).into_iter().find(|name| name.ends_with("Z.log")).unwrap();
    let plain = std::fs::read(source.path().join(&first)).unwrap();
    let mut packed = Vec::new();
    pack(Compression::Zstd, &mut &plain[..], &mut packed, || Ok(())).unwrap();
    let unfinished = format!("{first}.zst.new");
    let steps: [&[(&str, &[u8])]; 3] = [
        &[(&unfinished, &packed[..packed.len() / 2])],
        &[(&unfinished, &packed)],
        &[(&format!("{first}.zst"), &packed)],
    ];
    for step in steps {
        let dir = tempfile::tempdir().unwrap();
        for name in names(source.path()) {
            std::fs::copy(source.path().join(&name), dir.path().join(&name)).unwrap();
        }
        for (name, bytes) in step {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        assert_eq!(texts(dir.path(), "a-0", Query::default()), numbers(0..3000));
        assert_eq!(look(&rules(dir.path(), Compression::Zstd)), [""; 0]);
        let names = names(dir.path());
        assert!(!names.contains(&unfinished) && !names.contains(&first), "{names:?}");
        assert_eq!(texts(dir.path(), "a-0", Query::default()), numbers(0..3000));
    }
}

#[test]
fn a_broken_compressed_file_is_told_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), true);
    look(&rules(dir.path(), Compression::Gzip));
    let name = names(dir.path()).into_iter().find(|name| name.starts_with("a-0") && name.ends_with(".gz")).unwrap();
    std::fs::write(dir.path().join(&name), "garbage").unwrap();
    let place = Place { dir: dir.path().to_owned(), label: "a-0".into() };
    let mut reader = LogReader::open(DOORS, std::slice::from_ref(&place), Query::default()).unwrap();
    let told = reader.passed_over();
    assert!(told.len() == 1 && &*told[0].label == "a-0" && told[0].why.contains(&name), "{told:?}");
    let read = reader.count() as u64;
    let mut trail = Trail::open(DOORS, &place, Start::Beginning).unwrap();
    let mut seen = 0;
    while trail.read(usize::MAX, |_| seen += 1).unwrap() > 0 {}
    assert_eq!(seen, read);
    assert!(read > 0 && read < 3000);
}

#[test]
fn a_flaw_within_a_compressed_file_hides_nothing_of_the_other_files_from_a_query_of_the_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    written(dir, true);
    look(&rules(dir, Compression::Zstd));
    let name = names(dir).into_iter().filter(|name| name.starts_with("a-0") && name.ends_with(".zst")).nth(1).unwrap();
    let mut bytes = std::fs::read(dir.join(&name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(dir.join(&name), bytes).unwrap();
    let everything = texts(dir, "a-0", Query::default());
    assert!(everything.len() < 3000 && everything[0] == "0" && everything[everything.len() - 1] == "2999");
    assert_eq!(texts(dir, "a-0", Query { last: Some(10_000), ..Query::default() }), everything);
    assert_eq!(texts(dir, "a-0", Query { last: Some(3), ..Query::default() }), numbers(2997..3000));
    let all = everything.len();
    assert_eq!(texts(dir, "a-0", Query { last: Some(all - 1), ..Query::default() }), everything[1..]);
}

#[test]
fn age_and_budget_remove_files_of_labels_that_are_gone_too_and_nothing_that_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    written(dir, true);
    let strangers = ["notes.txt", "x.20200101T000000.000000Z.log.bak", "c-0.20200101T000000.000000Z.log"];
    for stranger in &strangers[..2] {
        std::fs::write(dir.join(stranger), "mine").unwrap();
    }
    std::fs::create_dir(dir.join(strangers[2])).unwrap();
    std::fs::write(dir.join("gone-0.20200101T000000.000000Z.log"), vec![b'x'; 1000]).unwrap();
    std::fs::write(dir.join("gone-1.20200101T000000.000000Z.log.index"), "").unwrap();
    let mut rules = rules(dir, Compression::None);
    rules.budget = Some(1 << 30);
    assert_eq!(look(&rules), [""; 0]);
    assert!(names(dir).contains(&"gone-0.20200101T000000.000000Z.log".to_owned()));
    assert!(!names(dir).contains(&"gone-1.20200101T000000.000000Z.log.index".to_owned()), "an index of nothing");
    rules.budget = Some(1);
    assert_eq!(look(&rules), [""; 0]);
    let mut left: Vec<String> = strangers.map(str::to_owned).into();
    left.extend(["a-0.log", "a-0.log.index", "b-0.log", "b-0.log.index"].map(str::to_owned));
    left.sort();
    assert_eq!(names(dir), left);
}

#[test]
fn the_thread_compresses_what_was_rotated_when_it_is_rung_for_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = KeeperHandle::new(DOORS, || {}, |text| panic!("{text}"));
    keeper.set_rules(rules(dir.path(), Compression::Zstd)).unwrap();
    written(dir.path(), true);
    keeper.ring();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while names(dir.path()).iter().any(|name| name.ends_with("Z.log")) {
        assert!(std::time::Instant::now() < until, "{:?}", names(dir.path()));
        std::thread::yield_now();
    }
    keeper.stop();
    assert_eq!(texts(dir.path(), "b-0", Query::default()), numbers(0..3000));
}
