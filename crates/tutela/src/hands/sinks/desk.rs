//! All sinks of a guard: begins them, tells them of another spec, and ends them.
//!
//! Called when the guard begins, by the conductor on a reload, and when everything is stopped. Nothing here waits but
//! [`Sinks::begin`], which looks for the ends of files before any program is started, and [`Sinks::end`], which waits for
//! the last deliveries for a bounded time.
//!
//! # Where a sink begins
//!
//! With what is written after it came into the spec: not with the past. A service that comes later is sent from its first
//! line. A sink goes on where its receiver last said yes, through any number of guards; one that is taken out of the spec
//! is forgotten.

use super::ear::{Bell, Ear, End};
use super::hand::{self, Hand};
use super::kept;
use crate::conductor::{Inbox, InstanceRef};
use crate::hands::keeping::Keeping;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;
use tutela_core::names::Name;
use tutela_core::spec::{GuardSpec, SinkSpec};
use tutela_logs::Policy;
use tutela_logs::read::Place;
use tutela_logs::read::trail::{Cursor, Start, Trail};
use tutela_logs::record::Author;
use tutela_logs::record::join::Multiline;
use tutela_schema::api::SinkStatus;

/// Ends of a sink that may be told: a thread has one.
const OVERS_MAX: usize = 1;

/// What a removed sink may take to deliver what is left.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);

/// How long a thread is waited for beyond its time: it may stand before a disk that does not answer.
const GRACE: Duration = Duration::from_millis(500);

/// What a sink's thread works by.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The spec.
    pub spec: SinkSpec,
    /// The labels of its services.
    pub labels: Vec<Label>,
}

/// A label and where a sink that has never seen it begins.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its files.
    pub place: Place,
    /// Whose output it is.
    pub author: Author,
    /// How its lines are joined.
    pub multiline: Option<Arc<Multiline>>,
    /// Where to begin.
    pub start: Start,
}

/// What is the same for every sink.
#[derive(Debug, Clone)]
pub struct Around {
    /// How output is kept, and so where.
    pub keeping: Arc<Keeping>,
    /// The folder of what is kept of sinks.
    pub dir: PathBuf,
    /// The way to the conductor.
    pub inbox: Inbox,
}

/// See the module's text.
#[derive(Debug)]
pub struct Sinks {
    around: Around,
    bell: Arc<Bell>,
    running: Mutex<BTreeMap<Name, Running>>,
}

#[derive(Debug)]
struct Running {
    ear: Arc<Ear>,
    status: Arc<Mutex<SinkStatus>>,
    thread: Option<JoinHandle<()>>,
    over: mpsc::Receiver<()>,
    /// It is no longer in the spec and about to end.
    leaving: bool,
}

impl Sinks {
    /// Begins every sink of the spec. No program runs yet, so that what they write is what comes behind the ends that are
    /// found here. May wait for a disk.
    ///
    /// # Errors
    /// The folder cannot be made, or the system has no thread to give. What else goes wrong is among the texts.
    pub fn begin(around: Around, bell: Arc<Bell>, spec: &GuardSpec) -> Result<(Arc<Self>, Vec<String>), String> {
        let sinks = Sinks { around, bell, running: Mutex::default() };
        let mut troubles = Vec::new();
        if !spec.sinks.is_empty() {
            let dir = &sinks.around.dir;
            tutela_os::files::make_private_dir(dir).map_err(|error| crate::hands::spawner::chain(&error))?;
        }
        sinks.forget_others(spec, &mut troubles);
        for sink in spec.sinks.values() {
            let mut setup = sinks.setup(spec, None, sink);
            let (kept, trouble) = kept::read(&sinks.file(&sink.name));
            troubles.extend(trouble);
            for label in &mut setup.labels {
                if let Some(known) = kept.start_of(&label.place) {
                    label.start = known;
                    continue;
                }
                // A folder that cannot be read now is begun at its end later.
                if let Ok(trail) = Trail::open(crate::logs_view::DOORS, &label.place, Start::End) {
                    label.start = Start::At(trail.cursor());
                }
            }
            // Before a program runs: a guard that is killed at once must not begin anew behind what was written meanwhile.
            let begun = setup.labels.iter().filter_map(|label| match label.start {
                Start::At(cursor) => Some((&label.place, cursor)),
                Start::Beginning | Start::End => None,
            });
            if !kept.damaged
                && kept.positions.is_empty()
                && let Err(error) = kept::write(&sinks.file(&sink.name), &kept.counts, begun)
            {
                troubles.push(format!("where the sink {} is cannot be written down: {error}", sink.name));
            }
            sinks.start(&sink.name, setup, kept, None)?;
        }
        sinks.tell_bell();
        Ok((Arc::new(sinks), troubles))
    }

    /// Another spec. Never waits.
    ///
    /// # Errors
    /// The system has no thread to give for a sink; the others are served.
    pub fn reload(&self, old: &GuardSpec, new: &GuardSpec) -> Result<(), String> {
        let mut result = Ok(());
        for sink in new.sinks.values() {
            let setup = self.setup(new, Some(old), sink);
            let mut running = self.running();
            match running.get(&sink.name) {
                Some(known) if !known.leaving => known.ear.order(setup),
                _ => {
                    let before = running.remove(&sink.name).and_then(|gone| gone.thread);
                    drop(running);
                    let started = self.start(&sink.name, setup, kept::Kept::default(), before);
                    result = result.and(started);
                }
            }
        }
        let by = Instant::now() + REMOVED_WITHIN;
        for (name, gone) in self.running().iter_mut() {
            if !new.sinks.contains_key(name) && !std::mem::replace(&mut gone.leaving, true) {
                gone.ear.order_end(End { by, removed: true });
            }
        }
        self.tell_bell();
        result
    }

    /// Everything is stopped and in the files: delivers what is left, at most until then, and writes down how far it came.
    pub fn end(&self, within: Duration) {
        let by = Instant::now() + within;
        let mut running = std::mem::take(&mut *self.running());
        for sink in running.values() {
            let removed = sink.leaving;
            sink.ear.order_end(End { by, removed });
        }
        for sink in running.values_mut() {
            let left = by.saturating_duration_since(Instant::now()) + GRACE;
            // One that is not over by then stands before a disk, and ends with the process.
            if !matches!(sink.over.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout))
                && let Some(thread) = sink.thread.take()
            {
                let _ = thread.join();
            }
        }
    }

    /// How each does.
    pub fn status(&self) -> Vec<SinkStatus> {
        let running = self.running();
        let in_force = running.values().filter(|sink| !sink.leaving);
        in_force.map(|sink| sink.status.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_bell(&self) {
        self.bell.set(self.running().values().map(|sink| sink.ear.clone()).collect());
    }

    fn file(&self, name: &Name) -> PathBuf {
        self.around.dir.join(format!("{name}.json"))
    }

    /// What a sink works by. A label that the guard had before begins at its end, another one with its first line.
    fn setup(&self, spec: &GuardSpec, old: Option<&GuardSpec>, sink: &SinkSpec) -> Setup {
        let mut labels = Vec::new();
        let wanted = |name: &Name| sink.services.as_ref().is_none_or(|services| services.contains(name));
        for service in spec.services.values().filter(|service| wanted(&service.name)) {
            let before = old.and_then(|old| old.services.get(&service.name)).map_or(0, |old| old.instances);
            for index in 0..service.instances {
                let label = InstanceRef { service: service.name.clone(), index }.label();
                let is_known = old.is_none() || index < before;
                let Policy { dir, author, multiline, .. } = self.around.keeping.policy(service, index);
                labels.push(Label {
                    place: Place { dir, label },
                    author,
                    multiline,
                    start: if is_known { Start::End } else { Start::Beginning },
                });
            }
        }
        Setup { spec: sink.clone(), labels }
    }

    fn start(&self, name: &Name, setup: Setup, kept: kept::Kept, before: Option<JoinHandle<()>>) -> Result<(), String> {
        tutela_os::files::make_private_dir(&self.around.dir).map_err(|error| crate::hands::spawner::chain(&error))?;
        let (ear, status) = (Arc::new(Ear::default()), Arc::new(Mutex::new(hand::first_status(&setup.spec))));
        let (tell_over, over) = mpsc::sync_channel(OVERS_MAX);
        let Around { keeping, inbox, .. } = self.around.clone();
        let hand = Hand::new(setup, kept, self.file(name), ear.clone(), status.clone(), inbox, keeping);
        let thread = std::thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                if let Some(before) = before {
                    let _ = before.join();
                }
                hand.run();
                // Nobody waits for it but at the guard's end.
                let _ = tell_over.try_send(());
            })
            .map_err(|error| format!("failed to start the thread of the sink {name}: {error}"))?;
        let running = Running { ear, status, thread: Some(thread), over, leaving: false };
        self.running().insert(name.clone(), running);
        Ok(())
    }

    /// Removes what is kept of sinks that the spec does not have.
    fn forget_others(&self, spec: &GuardSpec, troubles: &mut Vec<String>) {
        // No folder: nothing is kept.
        let Ok(entries) = std::fs::read_dir(&self.around.dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = name.strip_suffix(".json").and_then(|name| Name::new(name).ok());
            if known.is_some_and(|name| !spec.sinks.contains_key(&name))
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                troubles.push(format!("failed to remove {}: {error}", entry.path().display()));
            }
        }
    }
}

/// Whose output a label is that the spec does not have any more.
pub(super) fn author_of_label(label: &str, like: Option<&Author>) -> Option<Author> {
    let (service, index) = label.rsplit_once('-')?;
    Some(Author { service: service.into(), instance: index.parse().ok()?, ..like?.clone() })
}

/// Whether a label has files that are written to.
pub(super) fn has_file(place: &Place) -> bool {
    Path::new(&place.dir).join(format!("{}.log", place.label)).exists()
}

/// A position that is known, or where to begin.
pub(super) fn at_or(cursor: Option<Cursor>, start: Start) -> Start {
    cursor.map_or(start, Start::At)
}
