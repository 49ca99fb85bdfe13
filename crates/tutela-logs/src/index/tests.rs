//! An index torn at every byte: the writer goes on with it, every line is read, and the count is right.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use crate::doors::tests::DOORS;
use crate::policy::Stream;
use crate::read::Place;
use crate::read::tests::Pen;
use crate::read::trail::{Lost, Start, Trail};
use std::time::Duration;

#[test]
fn an_index_torn_at_any_byte_costs_no_line_and_is_gone_on_with() {
    for timestamps in [true, false] {
        let source = tempfile::tempdir().unwrap();
        let mut pen = Pen::new(source.path(), "a", timestamps, None);
        for number in 0..6 {
            pen.put(Stream::Out, format!("{number}{}\n", "x".repeat(20_000)).as_bytes());
            pen.now.tick += Duration::from_secs(1);
        }
        let index = std::fs::read(source.path().join("a.log.index")).unwrap();
        assert!(index.len() >= 5 * super::RECORD_BYTES, "{}", index.len());
        let log = std::fs::read(source.path().join("a.log")).unwrap();
        let before = log.iter().filter(|byte| **byte == b'\n').count() as u64;
        for cut in 0..=index.len() {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a.log"), &log).unwrap();
            std::fs::write(dir.path().join("a.log.index"), &index[..cut]).unwrap();
            let mut pen = Pen::new(dir.path(), "a", timestamps, None);
            pen.put(Stream::Out, b"more\n");
            pen.writer.rotate();
            pen.put(Stream::Out, b"and more\n");
            let place = Place { dir: dir.path().to_owned(), label: "a".into() };
            let mut trail = Trail::open(DOORS, &place, Start::Beginning).unwrap();
            let mut ends = 0;
            while trail.read(usize::MAX, |line| ends += u64::from(line.text.ends_with(b"more"))).unwrap() > 0 {}
            assert_eq!((ends, trail.cursor().lines, trail.lost()), (2, before + 2, Lost::default()), "{cut}");
            let bytes = std::fs::read(dir.path().join("a.log.index")).unwrap();
            assert_eq!(bytes.len() % super::RECORD_BYTES, 0, "{cut}");
        }
    }
}
