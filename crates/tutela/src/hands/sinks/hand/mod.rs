//! One sink's thread: carries out what its forwarder decides.
//!
//! A thread of its own with an event loop of its own, because it reads files and a disk may not answer, and because a
//! receiver may do anything: neither is to be noticed by another sink, by the pump, or by the conductor.

mod status;

pub(super) use status::first_status;

use super::desk::{Label, Setup, at_or, author_of_label, has_file};
use super::ear::{Ear, End};
use super::forwarder::{Action, Forwarder, ForwarderEvent, LabelKey, Pace};
use super::kept::{self, Kept};
use super::records::{Maker, Rules};
use super::way::{Undelivered, Way};
use crate::conductor::{Inbox, Input};
use crate::hands::keeping::Keeping;
use crate::logs_view::DOORS;
use status::Told;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tutela_core::spec::SinkSpec;
use tutela_core::time::Moment;
use tutela_logs::Wall;
use tutela_logs::read::Place;
use tutela_logs::read::trail::{Cursor, Start, Trail};
use tutela_logs::record::Record;
use tutela_os::clock;
use tutela_schema::api::SinkStatus;

/// How many labels have their files open at once: silent ones are opened again when they ring.
const OPEN_MAX: usize = 64;

/// How much longer than a way's own bound a delivery may take: a way that keeps it says how far it came.
const WAY_GRACE: Duration = Duration::from_millis(500);

/// Threads for looking up names; each may hang in the system's resolver.
const LOOKUP_THREADS_MAX: usize = 4;

/// What happened to a sink, for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkNews {
    /// Which.
    pub sink: String,
    /// What.
    pub event: ForwarderEvent,
}

/// See the module's text.
pub struct Hand {
    spec: SinkSpec,
    machine: Forwarder<Cursor>,
    labels: Vec<Known>,
    by_label: HashMap<Arc<str>, Vec<LabelKey>>,
    open: usize,
    way: Result<Box<dyn Way>, String>,
    rules: Result<Rules, String>,
    file: PathBuf,
    ear: Arc<Ear>,
    status: Arc<Mutex<SinkStatus>>,
    inbox: Inbox,
    first: Option<(Setup, Kept)>,
    /// Labels that could not be read; they are tried with the next bell of any.
    unreadable: Vec<LabelKey>,
    /// Labels with lines that wait for others, and until when.
    later: Vec<(LabelKey, Instant)>,
    save_fails: bool,
    /// Asked which computer this is, at most once a minute, while records are made.
    keeping: Arc<Keeping>,
    told: Told,
}

/// A label as the hand has it.
struct Known {
    place: Place,
    maker: Maker,
    /// Where its reading is.
    read: Cursor,
    trail: Option<Trail>,
}

impl Hand {
    pub(super) fn new(
        setup: Setup,
        kept: Kept,
        file: PathBuf,
        ear: Arc<Ear>,
        status: Arc<Mutex<SinkStatus>>,
        inbox: Inbox,
        keeping: Arc<Keeping>,
    ) -> Self {
        for label in &setup.labels {
            ear.listen(&Arc::from(label.place.label.as_str()));
        }
        Hand {
            told: Told::new(&status, &kept.counts),
            machine: Forwarder::new(Pace::of(&setup.spec), kept.counts, clock::now(), seed()),
            labels: Vec::new(),
            by_label: HashMap::new(),
            open: 0,
            way: Err("refused: it is not open yet".to_owned()),
            rules: Rules::of(&setup.spec),
            spec: setup.spec.clone(),
            file,
            ear,
            status,
            inbox,
            first: Some((setup, kept)),
            unreadable: Vec::new(),
            later: Vec::new(),
            save_fails: false,
            keeping,
        }
    }

    /// Serves the sink until it is to end.
    pub(super) fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUP_THREADS_MAX)
            .thread_keep_alive(Duration::from_secs(2))
            .build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.serve());
                runtime.shutdown_background();
            }
            Err(error) => {
                let text = format!("the sink {} has no event loop: {error}", self.spec.name);
                let _ = self.inbox.send_blocking(Input::Trouble(text));
            }
        }
    }

    async fn serve(&mut self) {
        if let Some((setup, kept)) = self.first.take() {
            self.set_up(setup, kept.positions, kept.damaged);
        }
        let mut ending = None;
        loop {
            if ending.is_none() {
                if let Some(setup) = self.ear.take_setup() {
                    self.obey(setup);
                }
                ending = self.ear.end();
                if ending.is_some() {
                    self.machine.handle_end();
                }
            }
            if self.machine.is_asleep() {
                self.hear();
            }
            let now = clock::now();
            while let Some(event) = self.machine.poll_event(now) {
                let news = SinkNews { sink: self.spec.name.to_string(), event };
                // Only a conductor that has ended does not take it.
                let _ = self.inbox.send(Input::Sink(news)).await;
            }
            let is_late = ending.is_some_and(|end: End| end.by <= Instant::now());
            match self.machine.poll_action(now) {
                _ if is_late => break self.save(),
                Some(action) => self.carry_out(action, ending).await,
                None if self.machine.is_over() => break,
                None => {
                    self.publish();
                    self.wait(now).await;
                }
            }
        }
        if ending.is_some_and(|end| end.removed) {
            // What is not removed is found and removed by the next guard.
            let _ = std::fs::remove_file(&self.file);
        }
    }

    /// Until a deadline, an order, or, asleep, a bell.
    async fn wait(&self, now: Moment) {
        let ear = self.ear.clone();
        let is_asleep = self.machine.is_asleep();
        let timeout = self.machine.poll_timeout().map(|at| Instant::now() + at.since(now));
        let later = self.later.iter().map(|(_, at)| *at).filter(|_| is_asleep).min();
        let timer = async {
            match timeout.into_iter().chain(later).min() {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let bell = async { if is_asleep { ear.rung.notified().await } else { std::future::pending().await } };
        tokio::select! {
            () = ear.ordered.notified() => {}
            () = bell => {}
            () = timer => {}
        }
    }

    fn hear(&mut self) {
        let (now, tick) = (clock::now(), Instant::now());
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(_, at)| *at <= tick);
        self.later = later;
        for (key, _) in Vec::<(LabelKey, Instant)>::from_iter(due) {
            self.machine.handle_bell(key, now);
        }
        let rung = self.ear.take_rung();
        if rung.is_empty() {
            return;
        }
        for key in rung.iter().filter_map(|label| self.by_label.get(label)).flatten() {
            self.machine.handle_bell(*key, now);
        }
        for key in std::mem::take(&mut self.unreadable) {
            self.machine.handle_bell(key, now);
        }
    }

    /// Another spec, or other labels.
    fn obey(&mut self, setup: Setup) {
        if setup.spec == self.spec {
            return self.add(setup.labels);
        }
        let places = self.labels.drain(..).map(|known| known.place);
        let positions: Vec<_> = places.zip(self.machine.positions().copied()).collect();
        self.set_up(setup, positions, false);
    }

    fn set_up(&mut self, setup: Setup, positions: Vec<(Place, Cursor)>, damaged: bool) {
        let counts = *self.machine.counts();
        self.machine = Forwarder::new(Pace::of(&setup.spec), counts, clock::now(), seed());
        (self.by_label, self.open) = (HashMap::new(), 0);
        self.unreadable.clear();
        self.later.clear();
        self.rules = Rules::of(&setup.spec);
        self.way = super::ways::open(setup.spec.name.as_str(), &setup.spec.way, setup.spec.timeout);
        self.spec = setup.spec;
        let like = setup.labels.first().map(|label| label.author.clone());
        // What the spec does not have any more is brought to its end, as long as there is something of it.
        let mut labels = setup.labels;
        for (place, cursor) in positions {
            match labels.iter_mut().find(|label| label.place == place) {
                Some(label) => label.start = Start::At(cursor),
                None if has_file(&place) => {
                    if let Some(author) = author_of_label(&place.label, like.as_ref()) {
                        labels.push(Label { place, author, multiline: None, start: Start::At(cursor) });
                    }
                }
                None => {}
            }
        }
        if damaged {
            labels.iter_mut().for_each(|label| label.start = Start::Beginning);
        }
        self.add(labels);
    }

    fn add(&mut self, labels: Vec<Label>) {
        let now = clock::now();
        let known: HashMap<_, usize> = self.labels.iter().enumerate().map(|(at, it)| (key_of(&it.place), at)).collect();
        for Label { place, author, multiline, start } in labels {
            if let Some(at) = known.get(&key_of(&place)) {
                let maker = &mut self.labels[*at].maker;
                maker.set(multiline);
                if maker.held().is_some() {
                    // By the other rule it may be due earlier.
                    self.machine.handle_bell(LabelKey(*at), now);
                }
                continue;
            }
            let read = match start {
                Start::At(cursor) => cursor,
                Start::Beginning => Cursor::default(),
                // One that cannot be read is read from its beginning, once it can.
                Start::End => Trail::open(DOORS, &place, start).map_or_else(|_| Cursor::default(), |it| it.cursor()),
            };
            let key = self.machine.add(read, now);
            let label: Arc<str> = Arc::from(place.label.as_str());
            self.ear.listen(&label);
            self.by_label.entry(label).or_default().push(key);
            self.labels.push(Known { place, maker: Maker::new(author, multiline), read, trail: None });
        }
    }

    async fn carry_out(&mut self, action: Action, ending: Option<End>) {
        match action {
            Action::Look => {
                for key in self.machine.behind() {
                    match self.with_trail(key, Trail::backlog) {
                        Ok(bytes) => self.machine.handle_backlog(key, bytes),
                        Err(error) => self.cannot_read(key, &error),
                    }
                }
                self.machine.handle_looked(clock::now());
                self.publish();
            }
            Action::Skip { label, leave } => {
                self.give_held(label);
                let skipped = self.with_trail(label, |trail| {
                    let skipped = trail.skip(leave)?;
                    Ok((skipped, trail.cursor(), trail.backlog().unwrap_or(0)))
                });
                match skipped {
                    Ok((lost, cursor, left)) => {
                        self.labels[label.0].read = cursor;
                        self.machine.handle_skipped(label, cursor, lost.lines + lost.unknown, left);
                    }
                    Err(error) => self.cannot_read(label, &error),
                }
            }
            Action::Read { label, most } => self.read(label, most),
            Action::Deliver { records } => self.deliver(records, ending).await,
            Action::Save => self.save(),
        }
    }

    fn with_trail<T>(
        &mut self,
        key: LabelKey,
        job: impl FnOnce(&mut Trail) -> std::io::Result<T>,
    ) -> Result<T, std::io::Error> {
        let known = &mut self.labels[key.0];
        let trail = match &mut known.trail {
            Some(trail) => trail,
            None => {
                let trail = Trail::open(DOORS, &known.place, at_or(Some(known.read), Start::Beginning))?;
                self.open += 1;
                known.trail.insert(trail)
            }
        };
        let done = job(trail);
        let broken = trail.passed_over();
        self.tell_broken(broken);
        done
    }

    /// The numbers tell what was lost; this is why.
    fn tell_broken(&self, broken: Vec<String>) {
        for why in broken {
            let text =
                format!("the sink {} passes over a log file, and counts its lines as lost: {why}", self.spec.name);
            // A full inbox drops the remark; the count stays.
            let _ = self.inbox.try_send(Input::Trouble(text));
        }
    }

    fn cannot_read(&mut self, key: LabelKey, error: &std::io::Error) {
        let place = &self.labels[key.0].place;
        let text = format!("failed to read the files of {} in {}: {error}", place.label, place.dir.display());
        if self.labels[key.0].trail.take().is_some() {
            self.open -= 1;
        }
        self.unreadable.push(key);
        self.machine.handle_unreadable(key, text);
    }

    fn read(&mut self, key: LabelKey, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if let Err(error) = self.with_trail(key, |_| Ok(())) {
            return self.cannot_read(key, &error);
        }
        self.keeping.look_at_host();
        let is_last = self.ear.end().is_some();
        let known = &mut self.labels[key.0];
        let Some(trail) = &mut known.trail else { return };
        let maker = &mut known.maker;
        let (machine, rules) = (&mut self.machine, self.rules.as_ref().ok());
        let put_all = |machine: &mut Forwarder<Cursor>, at: Cursor, records: &mut Vec<Record>| {
            records.drain(..).for_each(|record| put(machine, rules, key, at, record));
        };
        // A record is handed on once it is known where the next line begins.
        let mut ready = Vec::new();
        // The first record behind the last change from one file to another: what is lost is lost before it.
        let (mut file, mut border) = (known.read.file, None);
        let given = trail.read(most, |line| {
            put_all(machine, before(maker, line.cursor), &mut ready);
            if line.cursor.file != file {
                (file, border) = (line.cursor.file, Some(machine.records().len()));
            }
            maker.line(&line, |record| ready.push(record));
        });
        let (cursor, lost, broken) = (trail.cursor(), trail.lost(), trail.passed_over());
        let drained = given.as_ref().map_or(true, |given| *given < most);
        if drained && maker.held().is_some() {
            let now = Wall::now();
            if is_last {
                maker.give(&mut |record| ready.push(record));
            } else {
                maker.give_due(now, &mut |record| ready.push(record));
            }
            // One wake for each label, however often it rang.
            self.later.retain(|(other, _)| *other != key);
            if let Some(due) = maker.due(now) {
                self.later.push((key, Instant::now() + due.since(now)));
            }
        }
        let at = before(maker, cursor);
        put_all(machine, at, &mut ready);
        machine.handle_lost(key, lost.lines + lost.unknown, border);
        known.read = cursor;
        machine.handle_read(key, at, *given.as_ref().unwrap_or(&0) as u64, drained);
        match given {
            Ok(_) => {
                if drained && self.open > OPEN_MAX {
                    known.trail = None;
                    self.open -= 1;
                }
            }
            Err(error) => self.cannot_read(key, &error),
        }
        self.tell_broken(broken);
    }

    /// What is held of a label whose lines are about to be left out: nothing of those belongs to it.
    fn give_held(&mut self, key: LabelKey) {
        let Known { maker, read, .. } = &mut self.labels[key.0];
        let (machine, rules) = (&mut self.machine, self.rules.as_ref().ok());
        maker.give(&mut |record| put(machine, rules, key, *read, record));
    }

    async fn deliver(&mut self, records: usize, ending: Option<End>) {
        let limit = self.spec.timeout;
        let result = match &mut self.way {
            Err(error) => Err(Undelivered::Later { reason: error.clone(), after: None }),
            Ok(way) => {
                let late =
                    |after: Duration| Undelivered::Later { reason: format!("no answer within {after:?}"), after: None };
                let began = Instant::now();
                tokio::select! {
                    biased;
                    result = way.deliver(&self.machine.records()[..records]) => result,
                    // A way that has a bound of its own tells more.
                    () = tokio::time::sleep(limit + WAY_GRACE) => Err(late(limit)),
                    () = self.ear.is_past_end() => Err(late(began.elapsed())),
                }
            }
        };
        if ending.is_none() && self.ear.end().is_some() {
            // What is to end is not tried again after this.
            self.machine.handle_end();
        }
        self.machine.handle_result(result, clock::now());
        if !self.machine.is_asleep() && self.machine.failing().is_none() {
            // There is more to be sent: whoever has rung meanwhile takes part.
            self.hear();
        }
        self.publish();
    }

    fn save(&mut self) {
        let places = self.labels.iter().map(|known| &known.place);
        let positions = places.zip(self.machine.positions().copied());
        let written = kept::write(&self.file, self.machine.counts(), positions);
        let fails = written.is_err();
        if let Err(error) = written
            && !self.save_fails
        {
            let text =
                format!("where the sink {} is cannot be written down: {error}; it is tried again", self.spec.name);
            // A full inbox drops the remark; the status has its error.
            let _ = self.inbox.try_send(Input::Trouble(text));
        }
        self.save_fails = fails;
        self.machine.handle_saved(!fails, clock::now());
    }
}

/// Where a label is once the records that are ready are delivered: not behind what waits for further lines.
fn before(maker: &Maker, next: Cursor) -> Cursor {
    maker.held().map_or(next, |held| held.min(next))
}

/// Gives the machine a record that the rules want.
fn put(machine: &mut Forwarder<Cursor>, rules: Option<&Rules>, key: LabelKey, at: Cursor, record: Record) {
    if rules.is_none_or(|rules| rules.take(&record)) {
        machine.handle_record(key, at, record);
    } else {
        machine.handle_left_out(key);
    }
}

fn key_of(place: &Place) -> (PathBuf, String) {
    (place.dir.clone(), place.label.clone())
}

/// Something that differs from sink to sink, to spread retries by.
fn seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
