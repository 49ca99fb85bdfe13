//! What becomes of rotated files: compressed in the background, removed when they are too old or all of them too large.
//!
//! One thread of low priority for a guard, begun when there is something for it to do. It looks when a file was rotated,
//! when the rules change and when the oldest file gets too old; in between it sleeps. How many files of a label are kept
//! is held by the writer, at the rotation.
//!
//! # A crash at any moment
//!
//! A file is compressed under a name that no log file has, written to the disk, renamed, and only then the original is
//! removed; so each line is there once or twice and readers take one. Two forms of one file are found at the next look:
//! where the compressed one is whole, the other one goes. What has the unfinished name is removed at the start.
//!
//! # A full disk
//!
//! Compressing gives up, is told once, and is tried again after [`RETRY`]; removing needs no room.
//!
//! It never touches what has not the name of a rotated file of a label, and is no file. Files of labels that are in no
//! spec any more are the guard's in its own folder; elsewhere they are left alone.

mod plan;
mod scan;
#[cfg(test)]
mod tests;

use crate::doors::{Doors, Found};
use crate::files;
use crate::pack::{Unpacked, pack};
use crate::policy::{Access, Compression, Policy};
use crate::stamp::Wall;
use plan::{Old, plan};
use scan::Seen;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The wait after something was refused.
const RETRY: Duration = Duration::from_secs(60);

/// With a budget, how often files that are being written are looked at while they grow; one that does not grow is
/// looked at half as often each time, down to [`LOOK_MOST`].
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_MOST: Duration = Duration::from_secs(3600);

/// Whose files, and how they are kept.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Every label and its policy.
    pub labels: Vec<(Arc<str>, Arc<Policy>)>,
    /// The guard's own folder: every log file in it is the guard's.
    pub own: PathBuf,
    /// How many bytes all of the files may take; `None`: as many as there are.
    pub budget: Option<u64>,
}

impl Rules {
    /// Whether there is anything to do.
    fn is_empty(&self) -> bool {
        let asks = |policy: &Policy| policy.compress != Compression::None || policy.keep_for.is_some();
        self.budget.is_none() && !self.labels.iter().any(|(_, policy)| asks(policy))
    }
}

/// The guard's side of the keeper. Cheap to clone. When the last one is gone the thread ends after the frame that it
/// is at, and nothing waits for it; what it had begun is taken up by the next guard.
#[derive(Clone)]
pub struct KeeperHandle {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    doors: Doors,
    ease: fn(),
    on_event: Arc<dyn Fn(String) + Send + Sync>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

#[derive(Default)]
struct Wishes {
    rules: Arc<Rules>,
    /// Somebody wants a look.
    rung: bool,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self) -> bool {
        self.lock().stop
    }
}

impl KeeperHandle {
    /// A keeper without rules, and so without a thread. `ease` is called on its thread, to give it the priority of what
    /// can wait; `on_event` too, with what did not go well.
    pub fn new(doors: Doors, ease: fn(), on_event: impl Fn(String) + Send + Sync + 'static) -> Self {
        let (shared, thread, on_event) = (Arc::default(), Mutex::default(), Arc::new(on_event));
        KeeperHandle { inner: Arc::new(Inner { shared, doors, ease, on_event, thread }) }
    }

    /// Keeps files by these rules from here on.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn set_rules(&self, rules: Rules) -> io::Result<()> {
        let inner = &self.inner;
        let is_empty = rules.is_empty();
        {
            let mut wishes = inner.shared.lock();
            wishes.rules = Arc::new(rules);
            wishes.rung = true;
        }
        inner.shared.changed.notify_one();
        let mut thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if is_empty || thread.is_some() {
            return Ok(());
        }
        let (shared, ease, doors, on_event) = (inner.shared.clone(), inner.ease, inner.doors, inner.on_event.clone());
        *thread = Some(std::thread::Builder::new().name("keeper".into()).spawn(move || {
            ease();
            Keeper { shared, doors, on_event, told: None, is_first: true, unchanged: LOOK_EVERY, current: 0 }.run();
        })?);
        Ok(())
    }

    /// A file was rotated.
    pub fn ring(&self) {
        self.inner.shared.lock().rung = true;
        self.inner.shared.changed.notify_one();
    }

    /// Ends the thread and waits for that: at most for one frame and its way to the disk.
    pub fn stop(&self) {
        self.inner.end();
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It panics only where a test does.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn end(&self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

/// What lives on the thread.
struct Keeper {
    shared: Arc<Shared>,
    doors: Doors,
    on_event: Arc<dyn Fn(String) + Send + Sync>,
    /// What was told last; the same is not told twice in a row.
    told: Option<String>,
    is_first: bool,
    /// The wait for files that are written and did not grow.
    unchanged: Duration,
    current: u64,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let rules = {
                let mut wishes = self.shared.lock();
                if wishes.stop {
                    return;
                }
                wishes.rung = false;
                wishes.rules.clone()
            };
            let wait = if rules.is_empty() { None } else { self.look(&rules) };
            let wishes = self.shared.lock();
            let idle = |wishes: &mut Wishes| !wishes.rung && !wishes.stop;
            match wait {
                Some(wait) => drop(self.shared.changed.wait_timeout_while(wishes, wait, idle)),
                None => drop(self.shared.changed.wait_while(wishes, idle)),
            }
        }
    }

    /// One look at everything. Answers when to look again.
    fn look(&mut self, rules: &Rules) -> Option<Duration> {
        let mut troubles = Vec::new();
        let Seen { old, current_bytes, astray } = scan::scan(rules, &mut troubles);
        for path in astray.indexes.iter().chain(astray.unfinished.iter().filter(|_| self.is_first)) {
            drop((self.doors.remove)(path));
        }
        self.is_first = false;
        let now = Wall::now();
        let plan = plan(&old, current_bytes, rules.budget, now);
        for number in &plan.remove {
            if let Err(error) = files::remove(self.doors, &old[*number].path) {
                troubles.push(format!("failed to remove the old log file {}: {error}", old[*number].path.display()));
            }
        }
        for number in plan.pack {
            if self.shared.stops() {
                return None;
            }
            match self.make_packed(&old[number]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
                Err(error) => {
                    troubles.push(format!("failed to compress {}: {error}", old[number].path.display()));
                    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                        break;
                    }
                }
            }
        }
        let retry = (!troubles.is_empty()).then_some(RETRY);
        self.tell(troubles.into_iter().next());
        let aged = plan.next.map(|next| next.since(now).max(Duration::from_secs(1)));
        let grown = (rules.budget.is_some() && !old.is_empty()).then(|| {
            let grew = self.current != current_bytes;
            self.unchanged = if grew { LOOK_EVERY } else { (self.unchanged * 2).min(LOOK_MOST) };
            self.current = current_bytes;
            self.unchanged
        });
        [retry, aged, grown].into_iter().flatten().min()
    }

    fn tell(&mut self, trouble: Option<String>) {
        if let Some(text) = &trouble
            && self.told != trouble
        {
            (self.on_event)(text.clone());
        }
        self.told = trouble;
    }

    /// Compresses a file, or finishes that.
    fn make_packed(&self, old: &Old) -> io::Result<()> {
        let Some(mut from) = self.plain(&old.path)? else { return Ok(()) };
        if let Some(compression) = old.packed {
            let packed = files::packed(&old.path, compression);
            let whole = self.plain(&packed)?.map(|file| Unpacked::over(file, compression));
            let is_whole = match whole {
                Some(Ok(whole)) => whole.length() == from.metadata()?.len(),
                Some(Err(_)) => false,
                None => return Ok(()),
            };
            // By another rule, or cut off in a way that a rename does not allow: begun anew at the next look.
            return (self.doors.remove)(if is_whole { &old.path } else { &packed });
        }
        let packed = files::packed(&old.path, old.compress);
        let unfinished = scan::unfinished(&packed);
        let made = self.write_packed(&mut from, old.compress, &unfinished);
        drop(from);
        let placed = made.and_then(|()| (self.doors.rename)(&unfinished, &packed));
        if let Err(error) = placed {
            drop((self.doors.remove)(&unfinished));
            return Err(error);
        }
        sync_folder(&packed);
        match (self.doors.remove)(&old.path) {
            // The writer removed it meanwhile, as one too many.
            Err(error) if error.kind() == io::ErrorKind::NotFound => files::remove(self.doors, &old.path),
            other => other,
        }
    }

    fn write_packed(&self, from: &mut File, compression: Compression, to: &Path) -> io::Result<()> {
        match (self.doors.remove)(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // This account's alone until it is like the other one.
        let hidden = Access { mode: Some(0o600), ..Access::default() };
        let mut file = match (self.doors.append)(to, hidden)? {
            Found::Plain(file) => file,
            Found::Other(what) => return Err(io::Error::other(format!("{} is {what}", to.display()))),
        };
        (self.doors.like)(from, &file)?;
        pack(compression, from, &mut file, || {
            if self.shared.stops() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        })?;
        // Its age is that of its lines.
        file.set_modified(from.metadata()?.modified()?)?;
        file.sync_all()
    }

    fn plain(&self, path: &Path) -> io::Result<Option<File>> {
        match (self.doors.read)(path) {
            Ok(Found::Plain(file)) => Ok(Some(file)),
            Ok(Found::Other(_)) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A rename is on the disk when its folder is. Where folders cannot be opened the rename itself is.
fn sync_folder(path: &Path) {
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        drop(folder.sync_all());
    }
}
