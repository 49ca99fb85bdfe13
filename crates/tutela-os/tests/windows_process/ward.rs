//! A nursery with its reaper, which all tests share.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tutela_os::files::read_bounded;
use tutela_os::handle::Handle;
use tutela_os::process::{Child, ChildToken, Nursery, NurseryOptions, Reaped, SpawnRequest, Stdio};

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(60);

static WARD: Mutex<Option<Arc<Ward>>> = Mutex::new(None);

pub struct Ward {
    pub nursery: Arc<Nursery>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    ends: Mutex<HashMap<ChildToken, Vec<Reaped>>>,
    changed: Condvar,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn ward() -> Arc<Ward> {
    let mut shared = locked(&WARD);
    if let Some(ward) = &*shared {
        return Arc::clone(ward);
    }
    let nursery = Arc::new(Nursery::open("windows-test", &NurseryOptions::default()).unwrap());
    let told = Arc::new(Told::default());
    std::thread::spawn({
        let (nursery, told) = (Arc::clone(&nursery), Arc::clone(&told));
        move || reap(&nursery, &told)
    });
    let ward = Arc::new(Ward { nursery, told });
    *shared = Some(Arc::clone(&ward));
    ward
}

/// Lets go of the ward. Its reaper ends with the process.
pub fn close() {
    drop(locked(&WARD).take());
}

fn reap(nursery: &Nursery, told: &Told) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut signal = nursery.child_signal().unwrap();
        loop {
            signal.ready().await.unwrap();
            nursery.reap(&mut |reaped| {
                locked(&told.ends).entry(reaped.owner.unwrap()).or_default().push(reaped);
                told.changed.notify_all();
            });
        }
    });
}

impl Ward {
    pub fn start(&self, words: &[&str]) -> Part {
        self.start_with("part", words, |_| {})
    }

    pub fn start_with(&self, tree: &str, words: &[&str], adjust: impl FnOnce(&mut SpawnRequest)) -> Part {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut request = understudy(tree, words);
        let file = Handle::from(std::fs::OpenOptions::new().append(true).open(output.path()).unwrap());
        request.stdout = Stdio::Handle(file.clone());
        request.stderr = Stdio::Handle(file);
        adjust(&mut request);
        let child = self.nursery.spawn(&request).unwrap_or_else(|error| panic!("{error}"));
        Part { child, output }
    }

    /// Waits for the end of a program.
    pub fn end_of(&self, child: &Child) -> Reaped {
        let until = Instant::now() + BOUND;
        let mut ends = locked(&self.told.ends);
        loop {
            if let Some(told) = ends.get(&child.token()).and_then(|told| told.first()) {
                return *told;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "process {} did not end", child.pid());
            ends = self.told.changed.wait_timeout(ends, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How often an end of this program was told.
    pub fn times_told(&self, token: ChildToken) -> usize {
        locked(&self.told.ends).get(&token).map_or(0, Vec::len)
    }

    /// Ends a program with all its descendants and waits until they are gone.
    pub fn end(&self, child: &Child) {
        child.tree().kill().unwrap();
        block_on(child.tree().emptied()).unwrap();
        self.end_of(child);
    }
}

/// A program that runs, and what it wrote.
pub struct Part {
    pub child: Child,
    output: tempfile::NamedTempFile,
}

impl Part {
    pub fn output(&self) -> String {
        String::from_utf8(read_bounded(self.output.path(), 1 << 20).unwrap()).unwrap()
    }

    /// Waits until it has written `lines` whole lines.
    pub fn lines(&self, lines: usize) -> Vec<String> {
        eventually("the program writes its lines", || self.output().matches('\n').count() >= lines);
        self.output().lines().map(str::to_owned).collect()
    }

    pub fn pids(&self, lines: usize) -> Vec<u32> {
        self.lines(lines).iter().map(|line| line.parse().unwrap()).collect()
    }
}

/// This program, as the understudy with these words, in the environment of the test.
pub fn understudy(tree: &str, words: &[&str]) -> SpawnRequest {
    let program = std::env::current_exe().unwrap();
    let mut request = SpawnRequest::new(&program, std::env::temp_dir(), tree);
    request.args.push(crate::understudy::CUE.into());
    request.args.extend(words.iter().map(Into::into));
    request.env = std::env::vars_os().collect();
    request
}

/// Waits for a condition, with a bound.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < until, "waited {BOUND:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(BOUND, future).await.unwrap() })
}

/// Whether a process is there and has not ended.
pub fn runs(pid: u32) -> bool {
    use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
    use windows_sys::Win32::Foundation::WAIT_TIMEOUT;
    use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};
    // SAFETY: takes numbers, touches no memory of ours.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
    if handle.is_null() {
        return false;
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
    let process = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is open for the call, which does not wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_TIMEOUT }
}

/// Whether this is Wine, which differs from Windows in what tests say where they ask.
pub fn on_wine() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    // SAFETY: the name ends in a zero; every process has this library.
    let library = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: as above, and the library stays.
    unsafe { GetProcAddress(library, c"wine_get_version".as_ptr().cast()) }.is_some()
}
