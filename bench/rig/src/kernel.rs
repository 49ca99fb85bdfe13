//! What the kernel says about processes, read from `/proc`, and what the rig asks of it.
//!
//! A process that ends while it is read counts as absent; that is no error.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process, pidfd_open, setrlimit};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// The file name of the program that is kept alive, by which it is told from the supervisor's own processes.
pub const CHILD_NAME: &str = "bench-child";

/// How long a real-time process may run without ever waiting. A subject that spins by mistake would otherwise keep
/// everybody else off its core for as long as the measurement lasts; no honest step of any takes that long.
const REALTIME_SPIN: Duration = Duration::from_secs(10);

/// Open files that a guard of a thousand services may need: two pipes and a handle each, and some of its own.
const OPEN_FILES: u64 = 8192;

/// One process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Whether it is a program that is kept alive, and not part of what keeps it.
    pub is_child: bool,
    /// Whether it ended and was not waited for.
    pub is_zombie: bool,
}

/// Every descendant of the rig. The rig is their reaper, so none can leave.
pub fn descendants() -> Vec<Process> {
    let mut all: BTreeMap<u32, (u32, Process)> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let mut fields = tail.split_ascii_whitespace();
        let is_zombie = fields.next() == Some("Z");
        let Some(parent) = fields.next().and_then(|field| field.parse().ok()) else { continue };
        let is_child = head.ends_with(CHILD_NAME);
        all.insert(pid, (parent, Process { pid, is_child, is_zombie }));
    }
    let own = std::process::id();
    let descends = |mut pid: u32| {
        while let Some((parent, _)) = all.get(&pid) {
            if *parent == own {
                return true;
            }
            pid = *parent;
        }
        false
    };
    all.values().map(|(_, process)| *process).filter(|process| descends(process.pid)).collect()
}

/// What keeps the programs: the descendants that are not such a program.
pub fn keepers() -> Vec<u32> {
    descendants().into_iter().filter(|one| !one.is_child && !one.is_zombie).map(|one| one.pid).collect()
}

/// Memory of some processes in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Proportional: a page that several share is divided among them.
    pub pss: u64,
    /// Resident.
    pub rss: u64,
}

/// Adds up the memory of `pids`.
pub fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sum.pss += field("Pss:");
        sum.rss += field("Rss:");
    }
    sum
}

/// What every thread of some processes used so far.
#[derive(Debug, Clone, Default)]
pub struct Toll(HashMap<u32, (u64, u64)>);

/// What was used between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Context switches, voluntary or not: each is a wake-up sooner or later.
    pub switches: u64,
    /// Nanoseconds on a processor.
    pub cpu: u64,
    /// Threads at the second look.
    pub threads: u64,
}

/// Looks at every thread of `pids`.
pub fn toll(pids: &[u32]) -> Toll {
    let mut threads = HashMap::new();
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let switches = read("status")
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .filter_map(|line| line.rsplit(['\t', ' ']).next()?.parse::<u64>().ok())
                .sum();
            let cpu = read("schedstat").split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
            threads.insert(tid, (switches, cpu));
        }
    }
    Toll(threads)
}

impl Toll {
    /// The same of one thread alone.
    pub fn only(mut self, thread: u32) -> Toll {
        self.0.retain(|tid, _| *tid == thread);
        self
    }

    /// What was used from `self` to `later`. A thread that is gone by then is not counted.
    pub fn until(&self, later: &Toll) -> Used {
        let mut used = Used { threads: u64::try_from(later.0.len()).unwrap_or(0), ..Used::default() };
        for (tid, (switches, cpu)) in &later.0 {
            let before = self.0.get(tid).copied().unwrap_or_default();
            used.switches += switches.saturating_sub(before.0);
            used.cpu += cpu.saturating_sub(before.1);
        }
        used
    }
}

/// Cores that the machine uses over `window`: says whether somebody else works on it.
pub fn busy_cores(window: Duration) -> f64 {
    let look = || -> (f64, f64) {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        let ticks: Vec<f64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        let idle = ticks.get(3).unwrap_or(&0.0) + ticks.get(4).unwrap_or(&0.0);
        (ticks.iter().sum(), idle)
    };
    let (all, idle) = look();
    std::thread::sleep(window);
    let (all_later, idle_later) = look();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = 1.0 - (idle_later - idle) / (all_later - all).max(1.0);
    share * f64::from(u32::try_from(cores).unwrap_or(1))
}

/// Asks that this thread, and what it starts from here on, be scheduled as `SCHED_RR`, or as everybody. False: the
/// machine does not allow it.
pub fn schedule(realtime: bool) -> bool {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let words: &[&str] = if realtime { &["-r", "-p", "10"] } else { &["-o", "-p", "0"] };
    let mut chrt = Command::new("chrt");
    chrt.args(words).arg(own).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}

/// Has this thread, and what it starts from here on, go before other work, as far as niceness goes: for loads that keep
/// a core busy for longer than a real-time process may. Where the machine does not allow it nothing changes.
pub fn prefer(preferred: bool) {
    let _unprivileged = rustix::process::setpriority_process(None, if preferred { -20 } else { 0 });
}

/// Sends a signal; a process that is gone by now is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// Waits for the end of `child`; one that takes longer than `patience` is killed.
///
/// # Errors
/// It took longer.
pub fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    let handle = handle(child.id())?;
    let wait = Timespec::try_from(patience)?;
    loop {
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&wait)) {
            Ok(0) => {
                child.kill().context("cannot kill a command")?;
                child.wait().context("cannot wait for a command")?;
                bail!("a command did not return within {patience:?}");
            }
            Ok(_) => return child.wait().context("cannot wait for a command"),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for a command"),
        }
    }
}

/// The kernel's handle of a process, which becomes readable at its death.
///
/// # Errors
/// It is gone.
pub fn handle(pid: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("that is no process")?;
    pidfd_open(pid, PidfdFlags::empty()).context("a process is gone")
}

/// Bounds what a real-time process that never waits can do to the machine. Inherited by everything the rig starts.
///
/// # Errors
/// The kernel refuses.
pub fn bound_realtime() -> Result<()> {
    let most = u64::try_from(REALTIME_SPIN.as_micros()).ok();
    setrlimit(Resource::Rttime, Rlimit { current: most, maximum: most }).context("cannot bound real-time processes")
}

/// Raises this process's limit of open files, which everything it starts inherits.
///
/// # Errors
/// The hard limit is too low.
pub fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= OPEN_FILES) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|most| most < OPEN_FILES) {
        bail!("the hard limit of open files is {:?}, {OPEN_FILES} are needed; raise it with ulimit -Hn", limit.maximum);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}
