//! Whether a chain is whole: fed the lines of its files in their order, it says what is wrong with them.
//!
//! It knows four things that are no tampering, and tells them as notes: older files that retention removed, and said
//! so; what a crash left of entries that nobody had been told of, and that the guard passed over and said so; the same
//! at the very end, of a guard that does not run or is just writing; entries that are younger than the head.
//!
//! Everything else is a fault. Who can write to the files can also hang new hashes to all of them; against that there
//! is only a link of the chain that is kept elsewhere, which is compared here too.

use super::chain::{Blemish, Hash, Link, Sealed, open};
use std::fmt;
use tutela_schema::audit::Unfinished;

/// Faults that are listed; more are counted. One that has changed everything has made one.
const FAULTS_MAX: usize = 1000;

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// An entry is not as it was written.
    Changed,
    /// Entries are not there.
    Missing,
    /// An entry stands where it does not belong, or once more.
    OutOfOrder,
    /// The file ends within an entry that had been confirmed.
    Torn,
    /// What says how far the chain goes is not there, or does not fit.
    Head,
    /// A link that was kept elsewhere does not fit.
    Anchor,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Wrong::Changed => "changed",
            Wrong::Missing => "missing",
            Wrong::OutOfOrder => "out of order",
            Wrong::Torn => "torn",
            Wrong::Head => "head",
            Wrong::Anchor => "anchor",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// What.
    pub kind: Wrong,
    /// In which file; null where it is about no file.
    pub file: Option<String>,
    /// In which line of it, from 1.
    pub line: Option<u64>,
    /// Which entry, the first where there are several.
    pub seq: Option<u64>,
    /// In words.
    pub message: String,
}

/// What became of a look at a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Whole entries that were read.
    pub entries: u64,
    /// Files that were read.
    pub files: u64,
    /// The first entry that is there.
    pub first: Option<u64>,
    /// The last one.
    pub last: Option<Link>,
    /// What is wrong, in the order of the files.
    pub faults: Vec<Fault>,
    /// Faults beyond those.
    pub more_faults: u64,
    /// What looks odd and is in order.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, kind: Wrong, place: Option<(&str, u64)>, seq: Option<u64>, message: String) {
        if self.faults.len() >= FAULTS_MAX {
            self.more_faults += 1;
            return;
        }
        let (file, line) = place.map_or((None, None), |(file, line)| (Some(file.to_owned()), Some(line)));
        self.faults.push(Fault { kind, file, line, seq, message });
    }
}

/// What says how far a chain goes, from a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The last entry that was confirmed.
    At(Link),
    /// There is none.
    None,
    /// It cannot be read, and why.
    Damaged(String),
}

/// A line, or what is left of one.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its text without its end, cut where it is longer than an entry can be.
    pub text: &'a [u8],
    /// Where it begins in its file.
    pub offset: u64,
    /// How long it is, its end included.
    pub bytes: u64,
    /// Whether it has an end.
    pub ended: bool,
}

/// Lines that are no entries, one after the other.
#[derive(Debug)]
struct Rough {
    /// The first of them.
    line: u64,
    lines: Vec<(u64, Blemish)>,
    /// How many they are; more than are remembered where somebody put a million of them there.
    count: u64,
    ended: bool,
}

/// How everything stood before lines that are no entries, for when an entry behind them says that a crash left them:
/// among them there may be whole lines.
#[derive(Debug, Clone)]
struct Before {
    offset: u64,
    anchors: Vec<(Link, bool)>,
    entries: u64,
    faults: usize,
    more_faults: u64,
    notes: usize,
    first: Option<u64>,
    before: Option<Link>,
    last: Option<Link>,
    removed: usize,
}

/// Looks at a chain. Feed it [`file`](Verifier::file) and [`line`](Verifier::line) in their order, then
/// [`finish`](Verifier::finish).
#[derive(Debug)]
pub struct Verifier {
    head: Head,
    anchors: Vec<(Link, bool)>,
    report: Report,
    file: String,
    line: u64,
    /// What the first entry follows.
    before: Option<Link>,
    /// The farthest entry of the chain so far.
    last: Option<Link>,
    /// What retention says it removed, by the last to say so.
    removed: Vec<Link>,
    rough: Option<Rough>,
    /// Before the first such lines of this file.
    clean: Option<Before>,
}

impl Verifier {
    /// `anchors`: links that were kept elsewhere.
    pub fn new(head: Head, anchors: &[Link]) -> Verifier {
        Verifier {
            head,
            anchors: anchors.iter().map(|link| (*link, false)).collect(),
            report: Report::default(),
            file: String::new(),
            line: 0,
            before: None,
            last: None,
            removed: Vec::new(),
            rough: None,
            clean: None,
        }
    }

    /// The next file begins.
    pub fn file(&mut self, name: &str) {
        // Within the chain an end is never torn: what a crash left is passed over where it lies.
        self.close_rough(None);
        self.clean = None;
        name.clone_into(&mut self.file);
        self.line = 0;
        self.report.files += 1;
    }

    /// The file that was begun cannot be read, or not to its end.
    pub fn unreadable(&mut self, why: &str) {
        let message = format!("it cannot be read: {why}");
        self.report.fault(Wrong::Missing, Some((&self.file, self.line + 1)), None, message);
    }

    /// Its next line.
    pub fn line(&mut self, line: Line<'_>) {
        self.line += 1;
        let opened = match line.ended {
            true if line.text.len() as u64 + 1 < line.bytes => Err(Blemish::TooLong),
            true => open(line.text),
            // A crash may have cut off no more than its end; that of a confirmed one somebody took.
            false => open(line.text)
                .and_then(|it| if self.confirmed() >= it.link.seq { Err(Blemish::NoHash) } else { Ok(it) }),
        };
        match opened {
            Ok(sealed) => self.entry(&sealed, line.offset),
            Err(blemish) => {
                let number = self.line;
                if self.clean.is_none() {
                    self.clean = Some(self.stand(line.offset));
                }
                let rough =
                    self.rough.get_or_insert_with(|| Rough { line: number, lines: Vec::new(), count: 0, ended: true });
                if rough.lines.len() < FAULTS_MAX {
                    rough.lines.push((number, blemish));
                }
                rough.count += 1;
                rough.ended = line.ended;
            }
        }
    }

    fn entry(&mut self, sealed: &Sealed, offset: u64) {
        let passes = |unfinished: &Unfinished, clean: &Before| {
            offset - clean.offset == unfinished.bytes
                && sealed.link.seq == unfinished.after + 1
                && clean.last.is_none_or(|last| sealed.follows(last))
        };
        if let (Some(unfinished), Some(clean)) = (sealed.unfinished, self.clean.as_ref())
            && passes(&unfinished, clean)
        {
            self.back_to_clean();
            self.report.notes.push(format!(
                "{}: a crash left {} bytes of entries that had not been confirmed; entry {} passes them over",
                self.file, unfinished.bytes, sealed.link.seq
            ));
        }
        let changed = self.close_rough(Some(sealed.link.seq));
        self.report.entries += 1;
        if self.before.is_none() {
            self.before = Some(Link { seq: sealed.link.seq - 1, hash: sealed.prev });
            self.report.first = Some(sealed.link.seq);
        }
        if self.follows(sealed, changed) {
            self.last = Some(sealed.link);
            self.take(sealed);
        }
    }

    /// The number of the last entry that was confirmed.
    fn confirmed(&self) -> u64 {
        match self.head {
            Head::At(head) => head.seq,
            Head::None | Head::Damaged(_) => u64::MAX,
        }
    }

    fn stand(&self, offset: u64) -> Before {
        Before {
            offset,
            anchors: self.anchors.clone(),
            entries: self.report.entries,
            faults: self.report.faults.len(),
            more_faults: self.report.more_faults,
            notes: self.report.notes.len(),
            first: self.report.first,
            before: self.before,
            last: self.last,
            removed: self.removed.len(),
        }
    }

    /// Forgets lines that are no entries and everything behind them.
    fn back_to_clean(&mut self) {
        let Some(clean) = self.clean.take() else { return };
        self.rough = None;
        self.anchors = clean.anchors;
        self.report.entries = clean.entries;
        self.report.faults.truncate(clean.faults);
        self.report.more_faults = clean.more_faults;
        self.report.notes.truncate(clean.notes);
        self.report.first = clean.first;
        (self.before, self.last) = (clean.before, clean.last);
        self.removed.truncate(clean.removed);
    }

    /// Whether the entry is a later one than those before it; what is between is told.
    fn follows(&mut self, sealed: &Sealed, changed: u64) -> bool {
        let place = (self.file.as_str(), self.line);
        let seq = sealed.link.seq;
        let Some(last) = self.last else { return true };
        if seq <= last.seq {
            let again = if sealed.link == last { " once more" } else { "" };
            let message = format!("entry {seq} stands{again} behind entry {}", last.seq);
            self.report.fault(Wrong::OutOfOrder, Some(place), Some(seq), message);
            return false;
        }
        let missing = seq - last.seq - 1;
        if missing > changed {
            // Which of them are those that were changed nobody can tell.
            let first = last.seq + 1;
            let which = match (missing, changed) {
                (1, _) => format!("entry {first} is missing"),
                (_, 0) => format!("entries {first} to {} are missing", seq - 1),
                (_, _) => format!("{} of the entries {first} to {} are missing", missing - changed, seq - 1),
            };
            self.report.fault(Wrong::Missing, Some(place), Some(first), which);
        } else if changed == 0 && sealed.prev != last.hash {
            let message = format!(
                "entry {seq} does not follow this entry {}: one of the two was replaced, with a hash of its own",
                last.seq
            );
            self.report.fault(Wrong::Changed, Some(place), Some(last.seq), message);
        }
        true
    }

    /// What an entry that has its place says.
    fn take(&mut self, sealed: &Sealed) {
        let place = (self.file.as_str(), self.line);
        if let Some(message) = &sealed.broken {
            let message = format!("the guard that went on here found the chain broken: {message}");
            self.report.fault(Wrong::Missing, Some(place), Some(sealed.link.seq), message);
        }
        if let Some(removed) = sealed.removed.filter(|removed| removed.seq < sealed.link.seq) {
            self.removed.push(removed);
        }
        if let Head::At(head) = self.head
            && head.seq == sealed.link.seq
            && head.hash != sealed.link.hash
        {
            let message = format!("entry {} is another one than the head names", head.seq);
            self.report.fault(Wrong::Changed, Some(place), Some(head.seq), message);
        }
        for (anchor, seen) in &mut self.anchors {
            if anchor.seq != sealed.link.seq {
                continue;
            }
            *seen = true;
            if anchor.hash != sealed.link.hash {
                let message = format!("entry {} is another one than was noted down: {anchor}", anchor.seq);
                self.report.fault(Wrong::Anchor, Some(place), Some(anchor.seq), message);
            }
        }
    }

    /// Tells of lines that are no entries; answers how many they were. `next`: the entry behind them.
    fn close_rough(&mut self, next: Option<u64>) -> u64 {
        let Some(rough) = self.rough.take() else { return 0 };
        let after = self.last.map(|last| last.seq);
        // With as many lines as numbers between its neighbours, each line has its own.
        let numbered = match (after, next) {
            (Some(after), Some(next)) => next.checked_sub(after + 1) == Some(rough.count),
            (Some(_), None) => true,
            (None, _) => false,
        };
        for (at, (line, blemish)) in rough.lines.iter().enumerate() {
            let seq = after.filter(|_| numbered).map(|after| after + 1 + at as u64);
            let message = match seq {
                Some(seq) => format!("entry {seq} was changed: {blemish}"),
                None => format!("this line is no entry: {blemish}"),
            };
            self.report.fault(Wrong::Changed, Some((&self.file, *line)), seq, message);
        }
        self.report.more_faults += rough.count - rough.lines.len() as u64;
        rough.count
    }

    /// The last file is over.
    pub fn finish(mut self) -> Report {
        self.finish_end();
        let last = self.last.map_or(0, |last| last.seq);
        self.report.last = self.last;
        self.finish_beginning();
        match &self.head {
            Head::At(head) if head.seq < last => {
                let few = if last - head.seq == 1 { "entry is" } else { "entries are" };
                self.report.notes.push(format!(
                    "{} {few} younger than the head, which names entry {}: the guard has just written, or crashed then",
                    last - head.seq,
                    head.seq
                ));
            }
            Head::None if self.report.files > 0 => {
                let message = "there is no head, so nobody can say whether the last entries are there".to_owned();
                self.report.fault(Wrong::Head, None, None, message);
            }
            Head::Damaged(why) => {
                let message = format!("the head cannot be read: {why}");
                self.report.fault(Wrong::Head, None, None, message);
            }
            Head::At(_) | Head::None => {}
        }
        for (anchor, _) in self.anchors.iter().filter(|(_, seen)| !seen) {
            let message = match self.before {
                // What the first entry names is the hash of the last that was removed.
                Some(before) if before.seq == anchor.seq && before.hash == anchor.hash => continue,
                Some(before) if anchor.seq <= before.seq => {
                    format!("entry {}, which was noted down, is removed and cannot be compared", anchor.seq)
                }
                _ => format!("entry {}, which was noted down, is not there", anchor.seq),
            };
            self.report.fault(Wrong::Anchor, None, Some(anchor.seq), message);
        }
        self.report
    }

    /// What lies behind the last entry, and what is missing there.
    fn finish_end(&mut self) {
        let confirmed = self.confirmed();
        if self.clean.as_ref().is_some_and(|clean| confirmed <= clean.last.map_or(0, |last| last.seq)) {
            self.back_to_clean();
            self.report.notes.push(format!(
                "{}: it ends with what is no whole entry and was not confirmed: it is just being written, or a crash left it",
                self.file
            ));
        }
        let last = self.last.map_or(0, |last| last.seq);
        if let Some(Rough { count: 1, line, ended: false, .. }) = self.rough {
            self.rough = None;
            let message = format!("the file ends within entry {}", last + 1);
            self.report.fault(Wrong::Torn, Some((&self.file, line)), Some(last + 1), message);
            return self.finish_missing(last + 1);
        }
        let changed = self.close_rough(None);
        self.finish_missing(last + changed);
    }

    /// Up to `last` everything is there, or was told.
    fn finish_missing(&mut self, last: u64) {
        let Head::At(Link { seq: confirmed, .. }) = self.head else { return };
        if confirmed <= last {
            return;
        }
        let first = last + 1;
        let which = if first == confirmed {
            format!("entry {first} is missing at the end")
        } else {
            format!("entries {first} to {confirmed} are missing at the end")
        };
        let place = (self.report.files > 0).then_some((self.file.as_str(), self.line));
        self.report.fault(Wrong::Missing, place, Some(first), which);
    }

    /// What is missing before the first entry.
    fn finish_beginning(&mut self) {
        let Some(before) = self.before else { return };
        if before.seq == 0 {
            if before.hash != Hash::NONE {
                let message = "the first entry follows another one, which has no number".to_owned();
                self.report.fault(Wrong::Changed, None, Some(1), message);
            }
            return;
        }
        // A guard that ended while it removed files has said that it removes more than is gone.
        let said = self
            .removed
            .iter()
            .find(|removed| removed.seq > before.seq || removed.seq == before.seq && removed.hash == before.hash);
        if said.is_some() {
            let upto = before.seq;
            self.report.notes.push(format!("entries 1 to {upto} were removed by retention, and the chain says so"));
            return;
        }
        let message = format!("entries 1 to {} are missing, and no entry says that retention removed them", before.seq);
        self.report.fault(Wrong::Missing, None, Some(1), message);
    }
}
