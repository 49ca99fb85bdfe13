//! Processes as the kernel shows them: who lives, who is whose, who uses what; and signals.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Sends a signal, named without `SIG`. Whoever has ended needs none.
///
/// # Panics
/// There is no such signal, or no such process could ever be.
pub fn kill(pid: u32, signal: &str) {
    let signal = match signal {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "SEGV" => Signal::SEGV,
        other => panic!("no signal {other}"),
    };
    let _ = kill_process(as_pid(pid), signal);
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// A process that is watched for its end.
#[derive(Debug)]
pub struct Watched(OwnedFd);

impl Watched {
    /// Watches a process.
    ///
    /// # Panics
    /// There is none of this number.
    pub fn open(pid: u32) -> Watched {
        Watched(pidfd_open(as_pid(pid), PidfdFlags::empty()).unwrap())
    }

    /// Waits until the kernel says that it has ended; when that was.
    ///
    /// # Panics
    /// It did not within `bound`.
    pub fn ended(&self, bound: Duration) -> Instant {
        let until = Instant::now() + bound;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut watched, Some(&timeout)) {
                Ok(0) => panic!("the process did not end within {bound:?}"),
                Ok(_) => return Instant::now(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
        }
    }
}

/// Whether a process is there and has not ended.
pub fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The letter by which the kernel names a process's state: `R`, `S`, `T`, `Z`, …; `None`: there is none.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A field of `/proc/PID/status`.
pub fn status_field(pid: u32, field: &str) -> Option<String> {
    field_of(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

/// A field of a text like `/proc/PID/status`.
pub fn field_of(status: &str, field: &str) -> Option<String> {
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// How long the threads of a guard through which an answer goes have waited for a processor since they began: the one that
/// hears and answers, and the first one, which decides. They work one after the other, so their waits add up.
pub fn queued(guard: u32) -> Duration {
    let tasks = PathBuf::from(format!("/proc/{guard}/task"));
    let threads = std::fs::read_dir(&tasks).into_iter().flatten().flatten().map(|thread| thread.path());
    let hears =
        |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "hands");
    let those = threads.filter(hears).chain([tasks.join(guard.to_string())]);
    those.map(|thread| queued_of(&thread.join("schedstat"))).sum()
}

/// How long this thread waited for a processor since it began.
pub fn queued_here() -> Duration {
    queued_of(Path::new("/proc/thread-self/schedstat"))
}

/// The kernel tells: nanoseconds on a processor, nanoseconds in its queue, how often it was given one.
fn queued_of(schedstat: &Path) -> Duration {
    // A thread that has ended meanwhile waits for nothing.
    let told = std::fs::read_to_string(schedstat).unwrap_or_default();
    told.split_ascii_whitespace().nth(1).map_or(Duration::ZERO, |nanos| Duration::from_nanos(nanos.parse().unwrap()))
}

/// Memory that a process has in use, in bytes.
pub fn memory(pid: u32) -> u64 {
    let text = status_field(pid, "VmRSS").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The variable by which everything that a guard of a stage starts is known: the stage's folder.
pub const STAGE: &str = "TUTELA_IT_STAGE";

/// Living processes that a guard of this name and stage started, by their environment.
pub fn of_guard(name: &str, stage: &Path) -> Vec<u32> {
    let wanted = [format!("TUTELA_GUARD={name}"), format!("{STAGE}={}", stage.display())];
    let is_ours = |pid: &u32| wanted.iter().all(|variable| has_variable(*pid, variable.as_bytes())) && lives(*pid);
    all().into_iter().filter(is_ours).collect()
}

/// Processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    all().into_iter().filter(|child| status_field(*child, "PPid") == Some(pid.to_string())).collect()
}

/// Processor time that a process used so far, in ticks of a hundredth of a second.
pub fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Every process number.
pub fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn has_variable(pid: u32, wanted: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

/// Sets a file's mode.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A port that nobody listens on at this moment, and that is given to nobody who asks for any: the kernel takes those from
/// 32768 on. Tests beside this one, and in the processes beside this one, get others.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let any = || std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
    let ports = std::iter::repeat_with(|| 10_000 + u16::try_from(any()).unwrap()).take(1000);
    ports.into_iter().find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Those of these processes that have a word in their command line.
pub fn names_like(pids: &[u32], word: &str) -> Vec<u32> {
    let has = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(word));
    pids.iter().copied().filter(has).collect()
}
