//! Faults that a test inflicts on a guard: too few descriptors, too few processes, a clock that is set, a disk that stands
//! still. Used by the tests in `tests/faults`.
//!
//! Nothing of the computer itself is changed: limits are the guard's own, the clock is that of the guard's process, the
//! disk is a file that a test made.

use crate::{BOUND, Guard, Stage, processes, program, run_within, wait_until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::os::unix::fs::{FileExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A number from outside, for longer runs than every change needs.
pub fn from_outside(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The most descriptors that a process of this test may have.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Changes how many descriptors a living process may have; never beyond [`descriptors_max`].
pub fn allow_descriptors(pid: u32, most: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let limit = Rlimit { current: Some(most), maximum: Some(descriptors_max()) };
    prlimit(Some(pid), Resource::Nofile, limit).unwrap();
}

/// How many descriptors a process has.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A number under which nobody on this computer runs anything else, so that its processes can be counted and limited.
pub fn account_of_its_own() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let of_this_test = std::process::id() % 100_000 * 10;
    1_000_000 + of_this_test + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A command that runs another one as this account.
pub fn as_account(uid: u32) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into(), "--".into()]);
    command
}

/// Changes how many processes and threads the account of a living process may have, for what that process makes; `None`:
/// as many as this test may.
pub fn allow_processes(uid: u32, pid: u32, most: Option<u64>) {
    let most = most.or(getrlimit(Resource::Nproc).maximum).map_or("unlimited".to_owned(), |most| most.to_string());
    let mut command = as_account(uid);
    command.args(["prlimit", "--pid", &pid.to_string(), &format!("--nproc={most}:")]);
    let ended = run_within(BOUND, command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// Puts the programs on a stage and gives it to an account, so that a guard can run there as that account.
pub fn give_to(stage: &Stage, uid: u32) -> PathBuf {
    for name in ["tutela", "understudy"] {
        let from = if name == "tutela" { program::tutela() } else { program::folder().join(name) };
        // The programs may lie where nobody else can go.
        std::fs::hard_link(&from, stage.path(name))
            .or_else(|_| std::fs::copy(&from, stage.path(name)).map(drop))
            .unwrap();
    }
    for path in [stage.path("."), stage.spec_path()] {
        chown(&path, Some(uid), Some(uid)).unwrap();
    }
    processes::set_mode(&stage.path("."), 0o755);
    stage.path("tutela")
}

/// A clock that can be set for a guard alone: a library that it is started with, which adds what stands in a file to every
/// reading of the time of day.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    offset: std::fs::File,
    place: PathBuf,
}

/// The clocks of moments and timers are left alone: those nobody can set.
const CLOCK_SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *seen = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (seen != MAP_FAILED) offset = seen;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
"#;

impl WallClock {
    /// A clock that goes right.
    pub fn make(stage: &Stage) -> WallClock {
        let (source, library, place) = (stage.path("clock.c"), stage.path("clock.so"), stage.path("clock.offset"));
        std::fs::write(&source, CLOCK_SOURCE).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
        let ended = run_within(Duration::from_secs(60), compile);
        assert_eq!(ended.code, 0, "a C compiler is needed: {}", ended.stderr);
        std::fs::write(&place, 0_i64.to_ne_bytes()).unwrap();
        let offset = std::fs::File::options().write(true).open(&place).unwrap();
        WallClock { library, offset, place }
    }

    /// Has a command go by it, and everything that it starts.
    pub fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("TEST_CLOCK_OFFSET", &self.place);
    }

    /// Sets it so many seconds ahead of the right time; behind it where that is negative.
    pub fn set(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// A disk that can stand still: a file system in a file. What is written while it does waits until it goes on.
#[derive(Debug)]
pub struct HaltingDisk {
    dir: tempfile::TempDir,
    image: PathBuf,
    halted: bool,
}

impl HaltingDisk {
    /// One of 64 MiB.
    ///
    /// # Panics
    /// It cannot be mounted: that takes root, and a kernel with loop devices.
    pub fn mount() -> HaltingDisk {
        let dir = tempfile::Builder::new().prefix("tutela-it-halting-").tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let disk = HaltingDisk { image, dir, halted: false };
        std::fs::create_dir(disk.root()).unwrap();
        run_tool("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", &disk.image.display().to_string()]);
        run_tool("mount", &["-o", "loop", &disk.image.display().to_string(), &disk.root().display().to_string()]);
        disk
    }

    /// A folder on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// From here on every write to it waits.
    pub fn halt(&mut self) {
        run_tool("fsfreeze", &["--freeze", &self.root().display().to_string()]);
        self.halted = true;
    }

    /// Writes go on.
    pub fn go_on(&mut self) {
        self.halted = false;
        run_tool("fsfreeze", &["--unfreeze", &self.root().display().to_string()]);
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("disk")
    }
}

impl Drop for HaltingDisk {
    fn drop(&mut self) {
        if self.halted {
            let _ = tool("fsfreeze").arg("--unfreeze").arg(self.root()).status();
        }
        let _ = tool("umount").arg("--lazy").arg(self.root()).status();
    }
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn run_tool(name: &str, words: &[&str]) {
    let mut command = tool(name);
    command.args(words);
    let ended = run_within(BOUND, command);
    assert_eq!(ended.code, 0, "{name} {words:?} (it needs root): {}", ended.stderr);
}

/// A group of processes that can be frozen as a whole, as a paused container is.
#[derive(Debug)]
pub struct Freezer {
    group: PathBuf,
    switch: PathBuf,
    words: [&'static str; 2],
}

impl Freezer {
    /// An empty one, in either version of the kernel's control groups.
    ///
    /// # Panics
    /// There is none to be had.
    pub fn make(name: &str) -> Freezer {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let point = |wanted: &dyn Fn(&str) -> bool| {
            let line = mounts.lines().find(|line| line.split_once(" - ").is_some_and(|(_, kind)| wanted(kind)))?;
            Some(PathBuf::from(line.split(' ').nth(4)?))
        };
        let first = point(&|kind| kind.starts_with("cgroup ") && kind.ends_with("freezer"));
        let (root, file, words) = match first {
            Some(root) => (root, "freezer.state", ["FROZEN", "THAWED"]),
            None => (point(&|kind| kind.starts_with("cgroup2 ")).expect("control groups"), "cgroup.freeze", ["1", "0"]),
        };
        let group = root.join(name);
        std::fs::create_dir(&group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
        Freezer { switch: group.join(file), group, words }
    }

    /// Takes a process in.
    pub fn take(&self, pid: u32) {
        std::fs::write(self.group.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Has everybody in it stand still.
    pub fn freeze(&self) {
        std::fs::write(&self.switch, self.words[0]).unwrap();
    }

    /// Lets everybody go on.
    pub fn thaw(&self) {
        std::fs::write(&self.switch, self.words[1]).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.switch, self.words[1]);
        // As soon as those in it have ended.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// The numbers of the lines `line N` of a program, in the order of its log files, rotated ones first.
pub fn line_numbers(stage: &Stage, label: &str) -> Vec<u64> {
    let text = stage.cli_ok(&["logs", &format!("{}/{label}", stage.name()), "-n", "100000000"]);
    let number = |line: &str| {
        let from = line.split("line ").nth(1)?;
        from.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    text.lines().filter_map(number).collect()
}

/// Every line `line N` of a program is there, once and in order, and there are more than so many. To be asked once it has
/// stopped, or nobody knows yet which line is its last.
///
/// # Panics
/// One is missing, or stands there twice, or there are fewer.
pub fn assert_whole(stage: &Stage, label: &str, more_than: u64) {
    let seen = line_numbers(stage, label);
    let whole: Vec<u64> = (0..seen.len() as u64).collect();
    let fault = seen.iter().zip(&whole).find(|(is, should)| is != should);
    assert_eq!(fault, None, "{label} has {} lines up to {:?}", seen.len(), seen.last());
    assert!(seen.len() as u64 > more_than, "{label} wrote {} lines", seen.len());
}

/// Stops programs that `drip` and shows that each line of theirs is there once, in order.
///
/// # Panics
/// One is missing, or stands there twice, or there is none.
pub fn no_line_lost(guard: &Guard, labels: &[impl AsRef<str>]) {
    guard.write("halt", "");
    for label in labels {
        let label = label.as_ref();
        let mut seen = Vec::new();
        wait_until(BOUND, "the last line is there", || {
            let again = line_numbers(guard, label);
            let same = !again.is_empty() && again.len() == seen.len();
            seen = again;
            same.then_some(())
        });
        assert_whole(guard, label, 0);
    }
    std::fs::remove_file(guard.path("halt")).unwrap();
}

/// Whether a path is there, for messages of tests that look at folders.
pub fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
