//! A chain that nobody touched is never accused; one that was touched always is.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod disk;

use super::chain::{Hash, Link, RECOVER, RETENTION, seal};
use super::verify::{Head, Line, Report, Verifier, Wrong};
use proptest::prelude::*;
use tutela_schema::audit::{AuditEntry, AuditResult, Removed, Surface, Unfinished};
use tutela_schema::wall::WallTime;

fn entry(command: &str) -> AuditEntry {
    AuditEntry::new(WallTime::from_unix_millis(1_000), Surface::Socket, command, "shop/api", AuditResult::Accepted)
}

/// Lines of a whole chain behind `last`.
fn lines_behind(last: Link, count: usize) -> (Vec<Vec<u8>>, Link) {
    let mut last = last;
    let words = ["start", "stop", "restart"];
    let lines = (0..count).map(|at| {
        let (line, link) = seal(entry(words[at % words.len()]), last);
        last = link;
        line
    });
    (lines.collect(), last)
}

fn whole(count: usize) -> (Vec<Vec<u8>>, Link) {
    lines_behind(Link::NONE, count)
}

fn feed(verifier: &mut Verifier, name: &str, bytes: &[u8]) {
    verifier.file(name);
    let mut offset = 0;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ended = piece.ends_with(b"\n");
        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
        verifier.line(Line { text, offset, bytes: piece.len() as u64, ended });
        offset += piece.len() as u64;
    }
}

fn look(files: &[Vec<u8>], head: Head, anchors: &[Link]) -> Report {
    let mut verifier = Verifier::new(head, anchors);
    for (at, bytes) in files.iter().enumerate() {
        feed(&mut verifier, &format!("file {at}"), bytes);
    }
    verifier.finish()
}

fn kinds(report: &Report) -> Vec<Wrong> {
    report.faults.iter().map(|fault| fault.kind).collect()
}

/// The lines, cut into files before each of these.
fn files(lines: &[Vec<u8>], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    for (at, line) in lines.iter().enumerate() {
        if cuts.contains(&at) && at > 0 {
            files.push(Vec::new());
        }
        files.last_mut().unwrap().extend_from_slice(line);
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_that_nobody_touched_is_whole_however_it_lies_in_files(
        count in 1_usize..40, cuts in proptest::collection::vec(0_usize..40, 0..6), behind in 0_usize..3,
    ) {
        let (lines, last) = whole(count);
        let known = count.saturating_sub(behind);
        let (_, head) = whole(known);
        let report = look(&files(&lines, &cuts), Head::At(head), &[last]);
        prop_assert!(report.is_whole(), "{report:#?}");
        prop_assert_eq!((report.entries, report.last), (count as u64, Some(last)));
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is(
        count in 1_usize..12, cuts in proptest::collection::vec(0_usize..12, 0..3), at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let (lines, last) = whole(count);
        let mut files = files(&lines, &cuts);
        let total: usize = files.iter().map(Vec::len).sum();
        let mut at = at.index(total);
        let file = files.iter_mut().find(|file| { let here = at < file.len(); if !here { at -= file.len(); } here });
        file.unwrap()[at] ^= 1 << bit;
        let report = look(&files, Head::At(last), &[]);
        prop_assert!(!report.is_whole());
        let first = &report.faults[0];
        prop_assert!(first.file.is_some() && first.line.is_some(), "{first:?}");
    }

    #[test]
    fn an_entry_that_went_away_is_found_and_named(count in 1_usize..20, at: prop::sample::Index, many in 1_usize..4) {
        let (mut lines, last) = whole(count);
        let at = at.index(count);
        let many = many.min(count - at);
        lines.drain(at..at + many);
        let report = look(&files(&lines, &[]), Head::At(last), &[]);
        prop_assert_eq!(kinds(&report), [Wrong::Missing]);
        prop_assert_eq!(report.faults[0].seq, Some(at as u64 + 1));
    }

    #[test]
    fn entries_that_changed_places_or_come_twice_are_found(
        count in 2_usize..20, a: prop::sample::Index, b: prop::sample::Index, twice: bool,
    ) {
        let (mut lines, last) = whole(count);
        let (a, b) = (a.index(count), b.index(count));
        if twice {
            let line = lines[a].clone();
            lines.insert(b, line);
        } else {
            prop_assume!(a != b);
            lines.swap(a, b);
        }
        let report = look(&files(&lines, &[]), Head::At(last), &[]);
        prop_assert!(kinds(&report).contains(&Wrong::OutOfOrder), "{report:#?}");
    }

    #[test]
    fn an_end_that_was_cut_off_is_found_at_any_byte(count in 1_usize..8, at: prop::sample::Index) {
        let (lines, last) = whole(count);
        let mut file = files(&lines, &[]).remove(0);
        file.truncate(at.index(file.len()));
        let report = look(&[file], Head::At(last), &[]);
        prop_assert!(!report.is_whole());
    }

    #[test]
    fn a_beginning_that_went_away_is_found_unless_the_chain_says_that_retention_took_it(
        count in 2_usize..20, gone: prop::sample::Index, said: bool,
    ) {
        let gone = gone.index(count - 1) + 1;
        let (lines, mut last) = whole(count);
        let (_, through) = whole(gone);
        let mut lines = lines[gone..].to_vec();
        if said {
            let mut says = entry(RETENTION);
            says.removed = Some(Removed { through: through.seq, hash: through.hash.to_string() });
            let (line, link) = seal(says, last);
            lines.push(line);
            last = link;
        }
        let report = look(&files(&lines, &[]), Head::At(last), &[]);
        prop_assert_eq!(report.is_whole(), said, "{:#?}", report);
    }
}

#[test]
fn a_changed_entry_in_the_middle_is_one_fault_with_its_number() {
    let (mut lines, last) = whole(9);
    let text = String::from_utf8(lines[4].clone()).unwrap();
    lines[4] = text.replace("shop/api", "shop/app").into_bytes();
    let report = look(&files(&lines, &[3]), Head::At(last), &[]);
    assert_eq!(kinds(&report), [Wrong::Changed]);
    let fault = &report.faults[0];
    assert_eq!((fault.file.as_deref(), fault.line, fault.seq), (Some("file 1"), Some(2), Some(5)));
}

#[test]
fn an_entry_with_a_hash_of_its_own_making_does_not_fit_between_its_neighbours() {
    let (mut lines, last) = whole(6);
    let (_, before) = whole(2);
    lines[2] = seal(entry("shutdown"), before).0;
    let report = look(&files(&lines, &[]), Head::At(last), &[]);
    assert_eq!(kinds(&report), [Wrong::Changed]);
    assert_eq!(report.faults[0].seq, Some(3));
}

#[test]
fn a_chain_that_was_made_anew_as_a_whole_is_found_by_the_head_or_by_a_link_that_was_kept() {
    let (_, kept) = whole(4);
    let (_, last) = whole(6);
    let mut forged = Vec::new();
    let mut link = Link::NONE;
    for _ in 0..6 {
        let (line, next) = seal(entry("resume"), link);
        (forged, link) = ([forged, line].concat(), next);
    }
    assert_eq!(kinds(&look(std::slice::from_ref(&forged), Head::At(last), &[])), [Wrong::Changed]);
    // Whoever can write the files can write the head too, and nobody sees it here.
    assert!(look(std::slice::from_ref(&forged), Head::At(link), &[]).is_whole());
    assert_eq!(kinds(&look(&[forged], Head::At(link), &[kept])), [Wrong::Anchor]);
}

#[test]
fn a_link_that_was_kept_is_compared_with_what_the_first_entry_names_and_not_beyond() {
    let (lines, last) = whole(6);
    let (_, through) = whole(3);
    let mut says = entry(RETENTION);
    says.removed = Some(Removed { through: 3, hash: through.hash.to_string() });
    let (line, head) = seal(says, last);
    let file = [lines[3..].concat(), line].concat();
    let compare = |link: Link| kinds(&look(std::slice::from_ref(&file), Head::At(head), &[link]));
    assert_eq!(compare(through), []);
    assert_eq!(compare(Link { hash: Hash::NONE, ..through }), [Wrong::Anchor]);
    assert_eq!(compare(Link { seq: 2, hash: Hash::NONE }), [Wrong::Anchor]);
    assert_eq!(compare(Link { seq: 99, hash: Hash::NONE }), [Wrong::Anchor]);
}

#[test]
fn what_a_crash_left_is_in_order_only_where_the_next_entry_says_how_much_it_is() {
    let (lines, last) = whole(3);
    let (torn, _) = lines_behind(last, 1);
    for keep in 1..torn[0].len() - 1 {
        let mut file = [lines.concat(), torn[0][..keep].to_vec()].concat();
        // The guard does not run, or is just writing.
        let report = look(std::slice::from_ref(&file), Head::At(last), &[]);
        assert!(report.is_whole() && !report.notes.is_empty(), "{report:#?}");
        file.push(b'\n');
        let said = |bytes: u64| {
            let mut says =
                AuditEntry::new(WallTime::from_unix_millis(2_000), Surface::Guard, RECOVER, "shop", AuditResult::Done);
            says.unfinished = Some(Unfinished { after: 3, bytes });
            let (line, head) = seal(says, last);
            look(&[[file.clone(), line].concat()], Head::At(head), &[])
        };
        let report = said(keep as u64 + 1);
        assert!(report.is_whole(), "{keep}: {report:#?}");
        assert!(!said(keep as u64).is_whole());
        assert!(!said(keep as u64 + 2).is_whole());
    }
    // Where only its end is missing, it is the entry itself.
    let report = look(&[[lines.concat(), torn[0][..torn[0].len() - 1].to_vec()].concat()], Head::At(last), &[]);
    assert!(report.is_whole() && report.entries == 4, "{report:#?}");
}

#[test]
fn a_torn_end_that_was_confirmed_is_told_as_torn_and_a_missing_head_as_missing() {
    let (lines, last) = whole(3);
    let file = lines.concat();
    let cut = file[..file.len() - 7].to_vec();
    let report = look(&[cut], Head::At(last), &[]);
    assert_eq!(kinds(&report), [Wrong::Torn]);
    assert_eq!((report.faults[0].line, report.faults[0].seq), (Some(3), Some(3)));
    assert_eq!(kinds(&look(&[file], Head::None, &[])), [Wrong::Head]);
    assert_eq!(kinds(&look(&[], Head::At(last), &[])), [Wrong::Missing]);
    assert!(look(&[], Head::None, &[]).is_whole());
}

#[test]
fn a_million_lines_of_rubbish_cost_a_bounded_amount_and_are_all_counted() {
    let (lines, last) = whole(1);
    let file = [lines.concat(), b"x\n".repeat(1_000_000)].concat();
    let report = look(&[file], Head::At(Link { seq: 2, ..last }), &[]);
    assert!(report.faults.len() <= 1000);
    assert_eq!(report.faults.len() as u64 + report.more_faults, 1_000_000);
}
