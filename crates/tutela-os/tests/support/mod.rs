//! A nursery with its reaper for the tests of one binary, and the scenarios that both kinds of container
//! must pass.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod scenarios;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tutela_os::files::read_bounded;
use tutela_os::handle::Handle;
use tutela_os::process::{Child, ChildToken, Nursery, NurseryOptions, Reaped, SpawnRequest, Stdio};

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(20);

/// The name of every guard in these tests.
pub const GUARD: &str = "os-test";

static WARD: Mutex<Weak<Ward>> = Mutex::new(Weak::new());

/// The nursery, and every end that was told.
pub struct Ward {
    pub nursery: Arc<Nursery>,
    told: Arc<Told>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    reaper: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    ends: Mutex<Ends>,
    changed: Condvar,
}

#[derive(Default)]
struct Ends {
    owned: HashMap<ChildToken, Vec<Reaped>>,
    strangers: Vec<Reaped>,
}

/// A test's hold on the ward that all tests of the binary share; the last one to let go closes it.
pub struct Hold(Option<Arc<Ward>>);

impl std::ops::Deref for Hold {
    type Target = Ward;

    fn deref(&self) -> &Ward {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _one_at_a_time = locked(&WARD);
        drop(self.0.take());
    }
}

pub fn options(force_walk: bool) -> NurseryOptions {
    NurseryOptions { force_walk, scope: format!("test {}", std::process::id()) }
}

pub fn ward(force_walk: bool) -> Hold {
    let mut shared = locked(&WARD);
    if let Some(ward) = shared.upgrade() {
        return Hold(Some(ward));
    }
    let nursery = Arc::new(Nursery::open(GUARD, &options(force_walk)).unwrap());
    let told = Arc::new(Told::default());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let reaper = std::thread::spawn({
        let (nursery, told) = (Arc::clone(&nursery), Arc::clone(&told));
        move || reap_until(&nursery, &told, stopped)
    });
    let ward = Arc::new(Ward { nursery, told, stop: Some(stop), reaper: Some(reaper) });
    *shared = Arc::downgrade(&ward);
    Hold(Some(ward))
}

fn reap_until(nursery: &Nursery, told: &Told, mut stopped: tokio::sync::oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut signal = nursery.child_signal().unwrap();
        loop {
            tokio::select! {
                ready = signal.ready() => ready.unwrap(),
                _ = &mut stopped => return,
            }
            nursery.reap(&mut |reaped| {
                let mut ends = locked(&told.ends);
                match reaped.owner {
                    Some(owner) => ends.owned.entry(owner).or_default().push(reaped),
                    None => ends.strangers.push(reaped),
                }
                told.changed.notify_all();
            });
        }
    });
}

impl Drop for Ward {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.reaper.take().unwrap().join().unwrap();
    }
}

impl Ward {
    /// Waits for the end of a program.
    pub fn end_of(&self, child: &Child) -> Reaped {
        let found = self.wait(|ends| ends.owned.get(&child.token()).and_then(|told| told.first().copied()));
        found.unwrap_or_else(|| panic!("process {} did not end", child.pid()))
    }

    /// Ends a program with all its descendants and waits until they are gone.
    pub fn end(&self, child: &Child) {
        child.tree().kill().unwrap();
        block_on(child.tree().emptied()).unwrap();
        self.end_of(child);
    }

    /// How often an end of this program was told.
    pub fn times_told(&self, token: ChildToken) -> usize {
        locked(&self.told.ends).owned.get(&token).map_or(0, Vec::len)
    }

    /// Waits until the process was collected although it was no program of ours.
    pub fn stranger(&self, pid: u32) -> Option<Reaped> {
        self.wait(|ends| ends.strangers.iter().find(|reaped| reaped.pid == pid).copied())
    }

    fn wait<T>(&self, mut look: impl FnMut(&Ends) -> Option<T>) -> Option<T> {
        let until = Instant::now() + BOUND;
        let mut ends = locked(&self.told.ends);
        loop {
            if let Some(found) = look(&ends) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            ends = self.told.changed.wait_timeout(ends, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts a shell with `script`, its output into a file that [`Script::output`] reads.
    pub fn script(&self, tree: &str, script: &str) -> Script {
        self.script_with(tree, script, |_| {})
    }

    pub fn script_with(&self, tree: &str, script: &str, adjust: impl FnOnce(&mut SpawnRequest)) -> Script {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut request = shell(tree, script);
        let file = Handle::from(output.reopen().unwrap());
        request.stdout = Stdio::Handle(file.clone());
        request.stderr = Stdio::Handle(file);
        adjust(&mut request);
        let child = self.nursery.spawn(&request).unwrap();
        Script { child, output }
    }
}

/// A shell that runs, and what it wrote.
pub struct Script {
    pub child: Child,
    output: tempfile::NamedTempFile,
}

impl Script {
    pub fn output(&self) -> String {
        String::from_utf8(read_bounded(self.output.path(), 1 << 20).unwrap()).unwrap()
    }

    /// Waits until it has written `lines` whole lines.
    pub fn lines(&self, lines: usize) -> Vec<String> {
        eventually("the script writes its lines", || self.output().matches('\n').count() >= lines);
        self.output().lines().map(str::to_owned).collect()
    }
}

/// A request for a shell that runs `script`, with the standard folders in its PATH.
pub fn shell(tree: &str, script: &str) -> SpawnRequest {
    let mut request = SpawnRequest::new("/bin/sh", "/", tree);
    request.args = ["sh", "-c", script].map(Into::into).into();
    request.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())];
    request
}

/// Waits for a condition, with a bound.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < until, "waited {BOUND:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Whether a process is there and has not ended.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(BOUND, future).await.unwrap() })
}

/// All that a reader gives until its end.
pub fn read_all(mut reader: impl Read) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// Makes an executable file.
pub fn executable(path: &Path, text: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
