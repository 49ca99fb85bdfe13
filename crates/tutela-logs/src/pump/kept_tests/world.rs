//! A world in which guards die and what outlives them does not: pipes, trays, files.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use crate::doors::Doors;
use crate::doors::tests::DOORS;
use crate::index::look::Index;
use crate::policy::{Form, Policy, Stream};
use crate::pump::kept::Kept;
use crate::pump::lines::{Lines, Way};
use crate::read::{Origin, tail};
use crate::tap::Taps;
use crate::tray::tests::{Killed, OnShelf, Shelf, die_at, moment, shelf};
use crate::tray::{Sluice, TRAY_BYTES, Tray};
use crate::writer::{Batch, CaptureStatus, Now, Writer};
use crate::{Wall, files};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(super) const LABEL: &str = "api-0";
pub(super) const STREAMS: [Stream; 2] = [Stream::Out, Stream::Err];

thread_local! {
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

/// Those of the guard, on a disk that can have no room for further files, and with a death before and behind each call.
const MORTAL: Doors = Doors {
    append: |path, access| {
        mortal(|| match REFUSES.get() && !path.exists() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => (DOORS.append)(path, access),
        })
    },
    rename: |from, to| mortal(|| (DOORS.rename)(from, to)),
    remove: |path| mortal(|| (DOORS.remove)(path)),
    ..DOORS
};

fn mortal<T>(go: impl FnOnce() -> T) -> T {
    moment();
    let done = go();
    moment();
    done
}

/// A pipe and its chamber, which nobody's death touches.
#[derive(Default)]
pub(super) struct Pipes {
    pub(super) pipe: VecDeque<u8>,
    chamber: VecDeque<u8>,
}

struct TestSluice(Arc<Mutex<Pipes>>);

impl Sluice for TestSluice {
    fn poll_fill(&mut self, _cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        mortal(|| {
            let mut pipes = self.0.lock().unwrap();
            let moved = pipes.pipe.len().min(most);
            let bytes: Vec<u8> = pipes.pipe.drain(..moved).collect();
            pipes.chamber.extend(bytes);
            Poll::Ready(Ok(moved))
        })
    }

    fn filled(&self) -> io::Result<usize> {
        Ok(self.0.lock().unwrap().chamber.len())
    }

    fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // In two pieces, and some bytes are there before they are taken: as with a memory that is not there at once.
        let length = into.len().min(self.filled().unwrap());
        let first = length.div_ceil(2);
        for part in [0..first, first..length] {
            let copied: Vec<u8> = self.0.lock().unwrap().chamber.iter().take(part.len()).copied().collect();
            into[part.clone()].copy_from_slice(&copied);
            moment();
            self.0.lock().unwrap().chamber.drain(..part.len());
            moment();
        }
        Ok(length)
    }
}

/// What happens to a program's output.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The program writes.
    Write(Stream, Vec<u8>),
    /// The guard reads a turn.
    Read(Stream),
    /// The time for joining is over.
    Give,
    /// The disk refuses, or does not.
    Disk(bool),
    /// The streams end.
    End,
}

/// A world in which guards die.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) policy: Arc<Policy>,
    pub(super) shelf: Shelf,
    pub(super) pipes: [Arc<Mutex<Pipes>>; 2],
    pub(super) began: Now,
    pub(super) steps: u32,
    pub(super) deaths: u32,
    /// How output is kept from the first death on.
    pub(super) next_policy: Option<Arc<Policy>>,
    /// What could not be kept is no failure of the test.
    pub(super) damage_is_told: bool,
    pub(super) told: Vec<String>,
}

/// A life.
pub(super) struct Guard {
    pub(super) writer: Writer,
    pub(super) batch: Batch,
    pub(super) bytes: Vec<u8>,
    pub(super) sides: Vec<(Stream, Kept, Lines)>,
    pub(super) damaged: Vec<String>,
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut policy = Policy { keep: 1000, ..Policy::new(dir.path().to_owned(), Form::Raw) };
        change(&mut policy);
        let shelf = shelf(TRAY_BYTES);
        drop(Tray::create(OnShelf::of(&shelf)).unwrap());
        let began = Now { wall: Wall::from_micros(1_795_209_825_123_456), tick: Instant::now() };
        World {
            dir,
            policy: Arc::new(policy),
            shelf,
            pipes: Default::default(),
            began,
            steps: 0,
            deaths: 0,
            next_policy: None,
            damage_is_told: false,
            told: Vec::new(),
        }
    }

    /// Two seconds a step, so that a refused write is tried again with the next.
    pub(super) fn now(&self) -> Now {
        let wall = self.began.wall.as_micros() + u64::from(self.steps + self.deaths) * 2_000_000;
        Now {
            wall: Wall::from_micros(wall),
            tick: self.began.tick + Duration::from_secs(2) * (self.steps + self.deaths),
        }
    }

    pub(super) fn guard(&self) -> Guard {
        let tray = Tray::open(OnShelf::of(&self.shelf)).unwrap();
        let tray = Rc::new(RefCell::new(tray));
        let writer = Writer::new(Arc::from(LABEL), self.policy.clone(), MORTAL);
        let mut guard =
            Guard { writer, batch: Batch::default(), bytes: Vec::new(), sides: Vec::new(), damaged: Vec::new() };
        let kept = |stream: Stream| (stream, Kept::new(tray.clone(), stream, Some(self.sluice(stream))));
        let mut sides = STREAMS.map(kept);
        sides.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.tally().stamp));
        guard.writer.take_up(&sides[0].1.tally());
        for (stream, mut kept) in sides {
            let mut damaged = Vec::new();
            let mut taps = Taps::default();
            let lines = kept.take_over(guard.way(stream, &mut taps, self.now()), &mut damaged);
            guard.sides.push((stream, kept, lines));
            guard.damaged.extend(damaged);
        }
        guard
    }

    /// The whole story. The guard of the first life dies at the first of these moments, the next one at the second …
    pub(super) fn run(&mut self, story: &[Step], deaths: impl IntoIterator<Item = u64>) -> CaptureStatus {
        let mut deaths = deaths.into_iter();
        let mut next_death = || die_at(deaths.next().unwrap_or(0));
        let mut done = 0;
        REFUSES.set(false);
        next_death();
        loop {
            let lived = catch_unwind(AssertUnwindSafe(|| {
                let mut guard = self.guard();
                assert!(self.damage_is_told || guard.damaged.is_empty(), "{:?}", guard.damaged);
                self.told.append(&mut guard.damaged);
                while let Some(step) = story.get(done) {
                    self.tell(&mut guard, step);
                    done += 1;
                }
                guard.writer.close();
                guard.writer.status()
            }));
            match lived {
                Ok(status) => {
                    die_at(0);
                    return status;
                }
                Err(death) if death.is::<Killed>() => {
                    self.deaths += 1;
                    if let Some(next) = self.next_policy.take() {
                        self.policy = next;
                    }
                    next_death();
                }
                Err(panic) => resume_unwind(panic),
            }
        }
    }

    /// Until the guard dies for the first time, or the story is over.
    pub(super) fn run_until_death(&mut self, story: &[Step], moment: u64) {
        die_at(moment);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = self.guard();
            for step in story {
                self.tell(&mut guard, step);
            }
        }));
        die_at(0);
        if let Err(panic) = lived
            && !panic.is::<Killed>()
        {
            resume_unwind(panic);
        }
    }

    fn tell(&mut self, guard: &mut Guard, step: &Step) {
        if let Step::Write(stream, bytes) = step {
            self.pipes[*stream as usize].lock().unwrap().pipe.extend(bytes);
        } else {
            guard.live(step, self.now());
        }
        self.steps += 1;
    }

    /// The program writes what of its story it has not written yet, and ends; answers how long all of it is.
    pub(super) fn write_the_rest(&mut self, story: &[Step]) -> u64 {
        let mut all = 0;
        for (number, step) in story.iter().enumerate() {
            if let Step::Write(stream, bytes) = step {
                all += bytes.len() as u64;
                if number >= self.steps as usize {
                    self.pipes[*stream as usize].lock().unwrap().pipe.extend(bytes);
                }
            }
        }
        all
    }

    /// A sluice of this stream.
    pub(super) fn sluice(&self, stream: Stream) -> Box<dyn Sluice> {
        Box::new(TestSluice(self.pipes[stream as usize].clone()))
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the files have of a stream, put together again.
    pub(super) fn kept(&self, stream: Stream, what: &str) -> Vec<u8> {
        let mut raw = Vec::new();
        let folders = [self.path().to_owned(), self.path().join("next")];
        for entry in folders.iter().flat_map(|dir| tail(DOORS, dir, LABEL, usize::MAX).unwrap()) {
            let entry = entry.unwrap();
            let shown = String::from_utf8_lossy(&entry.text[..entry.text.len().min(60)]).into_owned();
            assert_ne!(entry.origin, Origin::Unknown, "{what}: {shown:?}");
            if entry.origin == Origin::Stream(stream) {
                entry.write_raw(&mut raw).unwrap();
            }
        }
        raw
    }

    /// How many bytes the notes in the files tell as missing.
    pub(super) fn told_missing(&self) -> u64 {
        let entries = tail(DOORS, self.path(), LABEL, usize::MAX).unwrap().map(Result::unwrap);
        let gaps = entries.filter(|entry| entry.origin == Origin::Gap);
        gaps.map(|gap| String::from_utf8(gap.text).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Every file's bytes, oldest first.
    pub(super) fn raw_files(&self) -> Vec<Vec<u8>> {
        let stamps = files::rotated_stamps(self.path(), LABEL).unwrap();
        let rotated = stamps.iter().map(|stamp| files::rotated(self.path(), LABEL, stamp));
        let paths = rotated.chain([files::current(self.path(), LABEL)]);
        paths.filter(|path| path.exists()).map(|path| std::fs::read(&path).unwrap()).collect()
    }

    /// The same; and the index beside each tells the truth.
    pub(super) fn files(&self) -> Vec<Vec<u8>> {
        let stamps = files::rotated_stamps(self.path(), LABEL).unwrap();
        let rotated = stamps.iter().map(|stamp| files::rotated(self.path(), LABEL, stamp));
        let paths = rotated.chain([files::current(self.path(), LABEL)]);
        let (mut all, mut before) = (Vec::new(), 0);
        for path in paths.filter(|path| path.exists()) {
            let bytes = std::fs::read(&path).unwrap();
            let mut index = Index::open(DOORS, &files::index_of(&path)).unwrap();
            assert_eq!(index.head().first, before, "{}", path.display());
            for number in 0..index.count() {
                let mark = index.mark(number).unwrap();
                let offset = usize::try_from(mark.offset).unwrap();
                assert!(offset <= bytes.len());
                let lines = memchr::memchr_iter(b'\n', &bytes[..offset]).count() as u64;
                assert_eq!(mark.lines, before + lines, "{} {number}", path.display());
            }
            before += memchr::memchr_iter(b'\n', &bytes).count() as u64;
            all.push(bytes);
        }
        all
    }
}

impl Guard {
    fn way<'a>(&'a mut self, stream: Stream, taps: &'a mut Taps, now: Now) -> Way<'a> {
        Way { stream, taps, writer: &mut self.writer, batch: &mut self.batch, bytes: &mut self.bytes, now }
    }

    pub(super) fn live(&mut self, step: &Step, now: Now) {
        let mut sides = std::mem::take(&mut self.sides);
        let mut taps = Taps::default();
        for (stream, kept, lines) in &mut sides {
            match step {
                Step::Write(..) => {}
                Step::Disk(refuses) => REFUSES.set(*refuses),
                Step::Read(of) if of == stream => {
                    let filled = kept.poll_fill(&mut Context::from_waker(Waker::noop()));
                    if let Poll::Ready(Ok(length)) = filled
                        && length > 0
                    {
                        kept.take(length, lines, self.way(*stream, &mut taps, now)).unwrap();
                    }
                }
                Step::Read(_) => {}
                Step::Give => kept.give(lines, self.way(*stream, &mut taps, now)),
                Step::End => kept.end(lines, self.way(*stream, &mut taps, now)),
            }
        }
        self.sides = sides;
    }
}
