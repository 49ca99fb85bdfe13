//! One pump for each folder of logs: a disk that does not answer holds up the programs whose logs lie on it, and no
//! others.
//!
//! A pump is a thread, started when the first label of its folder is attached, and there are at most [`PUMPS_MAX`]:
//! beyond that folders share. A label belongs to the pump of its folder from its first capture on. When a reload
//! gives it another folder it stays where it is until no capture of it is open, because a file must have one writer.
//!
//! Deliberately absent: asking the system which folders share a disk. That question waits for the disk.

use super::{CaptureHandle, Paused, PumpEvent, PumpHandle, PumpRefusal, Source, Stall};
use crate::doors::Doors;
use crate::policy::{Form, Policy, Stream};
use crate::tap::Taps;
use crate::tray::{SluiceSource, Tray};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many pumps there are at most. Each costs a thread and 130 KB, and hosts with more disks for logs than this are
/// rare.
pub const PUMPS_MAX: usize = 8;

type OnEvent = Arc<dyn Fn(PumpEvent) + Send + Sync>;
type OnWritten = Arc<dyn Fn(&Arc<str>) + Send + Sync>;

/// The pumps of a guard. Cheap to clone; what is said of [`PumpHandle`] holds for each of them.
#[derive(Clone)]
pub struct Pumps {
    shared: Arc<Shared>,
}

struct Shared {
    doors: Doors,
    on_event: OnEvent,
    on_written: OnWritten,
    /// The pump of the folder that most logs lie in, which is there from the start.
    main: PumpHandle,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    /// Further pumps, each with the folder that it was started for.
    pumps: Vec<(PathBuf, PumpHandle)>,
    /// Where labels are that are not with the main pump, as an index of `pumps`.
    labels: HashMap<Arc<str>, usize>,
    /// How long the labels hold lines back whose records are joined before they are written.
    holds: HashMap<Arc<str>, Duration>,
    /// After the end nothing is started any more.
    ended: bool,
}

impl Pumps {
    /// Starts the pump of `main`, the folder that logs lie in unless a service names another one. `on_event` is called
    /// on the pumps' threads, between two chunks, and must not wait; and so is `on_written`, with the label, whenever
    /// something went to its file, for those who read the files on.
    ///
    /// # Errors
    /// The system has no thread, or no event queue, to give.
    pub fn start(
        doors: Doors,
        main: &Path,
        on_event: impl Fn(PumpEvent) + Send + Sync + 'static,
        on_written: impl Fn(&Arc<str>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (on_event, on_written): (OnEvent, OnWritten) = (Arc::new(on_event), Arc::new(on_written));
        let first = start(doors, &on_event, &on_written)?;
        let rest = Rest { pumps: vec![(main.to_owned(), first.clone())], ..Rest::default() };
        Ok(Pumps { shared: Arc::new(Shared { doors, on_event, on_written, main: first, rest: Mutex::new(rest) }) })
    }

    /// As [`PumpHandle::attach`], with the pump of the policy's folder.
    ///
    /// # Errors
    /// [`PumpRefusal`]; then the sources are dropped, and with them the pipes.
    pub fn attach(
        &self,
        label: &str,
        policy: Arc<Policy>,
        sources: Vec<(Stream, Source)>,
        taps: Taps,
    ) -> Result<CaptureHandle, PumpRefusal> {
        let pump = self.settle(label, &policy.dir);
        self.note_hold(label, &policy);
        pump.attach(label, policy, sources, taps)
    }

    /// As [`PumpHandle::attach_kept`], with the pump of the policy's folder.
    ///
    /// # Errors
    /// [`PumpRefusal`]; then tray and sources are dropped, and what is in them waits for whoever opens them next.
    pub fn attach_kept(
        &self,
        label: &str,
        policy: Arc<Policy>,
        tray: Tray,
        sluices: Vec<(Stream, SluiceSource)>,
        taps: Taps,
    ) -> Result<CaptureHandle, PumpRefusal> {
        let pump = self.settle(label, &policy.dir);
        self.note_hold(label, &policy);
        pump.attach_kept(label, policy, tray, sluices, taps)
    }

    /// As [`PumpHandle::set_policy`].
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn set_policy(&self, label: &str, policy: Arc<Policy>) -> Result<(), PumpRefusal> {
        self.note_hold(label, &policy);
        self.of(label).set_policy(label, policy)
    }

    /// As [`PumpHandle::forget`].
    ///
    /// # Errors
    /// [`PumpRefusal`].
    pub fn forget(&self, label: &str) -> Result<(), PumpRefusal> {
        let pump = self.of(label);
        {
            let mut rest = self.rest();
            rest.labels.remove(label);
            rest.holds.remove(label);
        }
        pump.forget(label)
    }

    /// How long after it was read a line of this label may be written, without one behind it: records of several lines
    /// wait for the next.
    pub fn hold(&self, label: &str) -> Duration {
        self.rest().holds.get(label).copied().unwrap_or_default()
    }

    fn note_hold(&self, label: &str, policy: &Policy) {
        let joined = policy.multiline.as_ref().filter(|_| policy.form == Form::Json);
        let mut rest = self.rest();
        match joined {
            Some(multiline) => drop(rest.holds.insert(Arc::from(label), multiline.wait)),
            None => drop(rest.holds.remove(label)),
        }
    }

    /// Begins a new file for every label, with the next line that each writes.
    ///
    /// # Errors
    /// The first [`PumpRefusal`]; the other pumps rotate all the same.
    pub fn rotate(&self) -> Result<(), PumpRefusal> {
        self.all().iter().map(PumpHandle::rotate).fold(Ok(()), Result::and)
    }

    /// Has every pump read nothing more until the answer is dropped, as [`PumpHandle::pause`] does. One that takes no word
    /// is left out.
    pub fn pause(&self) -> (Vec<Paused>, impl Future<Output = ()> + Send + use<>) {
        let (paused, waits): (Vec<_>, Vec<_>) = self.all().iter().filter_map(|pump| pump.pause().ok()).unzip();
        (paused, async move {
            for wait in waits {
                wait.await;
            }
        })
    }

    /// Whether a pump is stuck, and the one that has been for longest. As [`PumpHandle::stall`].
    pub async fn stall(&self, limit: Duration) -> Option<Stall> {
        // A pump's question waits in its queue from the moment that it is asked, so one after the other takes no longer
        // than the slowest, once all are asked.
        let pumps = self.all();
        for pump in &pumps {
            pump.ask();
        }
        let mut worst: Option<Stall> = None;
        for pump in &pumps {
            let stall = pump.stall(limit).await;
            worst = worst.into_iter().chain(stall).max_by_key(|stall| stall.since);
        }
        worst
    }

    /// How many log files the captures that there are will open at most besides those that are open: a program opens its
    /// own with its first byte, which may come when the system has no descriptor left.
    pub fn unopened(&self) -> usize {
        self.all().iter().map(PumpHandle::unopened).sum()
    }

    /// Ends every pump as [`PumpHandle::stop`] does; it begins with the call. The future is ready when all have ended.
    ///
    /// # Errors
    /// The first [`PumpRefusal`]; the others end all the same.
    pub fn stop(&self, deadline: Duration) -> Result<impl Future<Output = ()> + Send + use<>, PumpRefusal> {
        let pumps = {
            let mut rest = self.rest();
            rest.ended = true;
            rest.pumps.iter().map(|(_, pump)| pump.clone()).collect::<Vec<_>>()
        };
        let (mut ends, mut refusal) = (Vec::new(), None);
        for pump in pumps {
            match pump.stop(deadline) {
                Ok(end) => ends.push(end),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        match refusal {
            Some(refusal) if ends.is_empty() => Err(refusal),
            _ => Ok(async move {
                for end in ends {
                    end.await;
                }
            }),
        }
    }

    fn all(&self) -> Vec<PumpHandle> {
        self.rest().pumps.iter().map(|(_, pump)| pump.clone()).collect()
    }

    /// Where a label is.
    fn of(&self, label: &str) -> PumpHandle {
        let rest = self.rest();
        rest.labels.get(label).map_or_else(|| self.shared.main.clone(), |at| rest.pumps[*at].1.clone())
    }

    /// Where a label belongs from now on: with the pump of its folder, once its earlier captures have ended.
    fn settle(&self, label: &str, dir: &Path) -> PumpHandle {
        let mut rest = self.rest();
        let is = rest.labels.get(label).copied().unwrap_or(0);
        let home = self.home(&mut rest, dir);
        if home != is {
            let before = rest.pumps[is].1.clone();
            if before.has_open(label) {
                return before;
            }
            // Where it never was, or where its queue is full, nothing is forgotten; a silent writer holds no file open.
            let _ = before.forget(label);
            match home {
                0 => drop(rest.labels.remove(label)),
                home => drop(rest.labels.insert(Arc::from(label), home)),
            }
        }
        rest.pumps[home].1.clone()
    }

    /// The pump of a folder, started where there is none yet. A folder beyond the last pump, or one for which the system
    /// has no thread, shares one of those that there are.
    fn home(&self, rest: &mut Rest, dir: &Path) -> usize {
        if let Some(at) = rest.pumps.iter().position(|(of, _)| of == dir) {
            return at;
        }
        if rest.pumps.len() < PUMPS_MAX
            && !rest.ended
            && let Ok(pump) = start(self.shared.doors, &self.shared.on_event, &self.shared.on_written)
        {
            rest.pumps.push((dir.to_owned(), pump));
            return rest.pumps.len() - 1;
        }
        // Never the main one where there is another: most programs are with it.
        match rest.pumps.len() as u64 {
            0 | 1 => 0,
            pumps => {
                let mut hasher = DefaultHasher::new();
                dir.hash(&mut hasher);
                1 + (hasher.finish() % (pumps - 1)) as usize
            }
        }
    }

    /// The lock is held for a look, or for the start of a thread.
    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(doors: Doors, on_event: &OnEvent, on_written: &OnWritten) -> io::Result<PumpHandle> {
    let (on_event, on_written) = (on_event.clone(), on_written.clone());
    PumpHandle::start_with_bell(doors, move |event| on_event(event), move |label| on_written(label))
}
