//! A request turned into everything that the new process needs, so that it has nothing left to make.
//!
//! The new process shares the guard's memory and must not allocate, lock or panic; what it reads is made
//! here, by the thread that then waits for it.

use crate::process::{Identity, SpawnError, SpawnRequest, SpawnStep};
use rustix::fs::Mode;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::CapabilitySet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use tutela_core::spec::Priority;
use zeroize::Zeroize;

/// What is the same for every start of a nursery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// The signals that the guard was started to ignore, or ignores itself: bit `n - 1` for signal `n`.
    pub(super) ignored: u64,
    /// The last capability that this kernel knows.
    pub(super) last_capability: u8,
}

impl Setup {
    pub(super) fn read() -> Setup {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored =
            status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        // The runtime of Rust ignores SIGPIPE before main; without /proc that is still known.
        let pipe = 1 << (libc::SIGPIPE - 1);
        Setup {
            ignored: ignored.unwrap_or(u64::MAX) | pipe,
            last_capability: last.and_then(|text| text.trim().parse().ok()).unwrap_or(40),
        }
    }
}

/// A start on its way, seen by the spawning thread, the new process and the reaper.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) token: u64,
    /// The kernel writes the process number here before the process runs; 0: there is none.
    pub(super) pid: AtomicI32,
    /// Whether the reaper has seen its end.
    pub(super) reaped: AtomicBool,
    failure: AtomicU64,
}

/// Which step failed, on which of its subjects, with which error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: SpawnStep,
    pub(super) which: u16,
    pub(super) errno: i32,
}

/// The steps in which the new process can fail, by the number under which it reports them.
const STEPS: [SpawnStep; 12] = [
    SpawnStep::Container,
    SpawnStep::Streams,
    SpawnStep::Session,
    SpawnStep::Limits,
    SpawnStep::Priority,
    SpawnStep::OomScore,
    SpawnStep::ReadOnlyPaths,
    SpawnStep::Capabilities,
    SpawnStep::Groups,
    SpawnStep::User,
    SpawnStep::Folder,
    SpawnStep::NoNewPrivileges,
];

impl Flight {
    pub(super) fn new(token: u64) -> Flight {
        Flight { token, pid: AtomicI32::new(0), reaped: AtomicBool::new(false), failure: AtomicU64::new(0) }
    }

    /// Reports a failure; called in the new process.
    pub(super) fn fail(&self, failure: Failure) {
        let step = STEPS.iter().position(|step| *step == failure.step).unwrap_or(STEPS.len());
        let packed = (step as u64 + 1) << 48 | u64::from(failure.which) << 32 | u64::from(failure.errno.unsigned_abs());
        self.failure.store(packed, Ordering::Release);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        let packed = self.failure.load(Ordering::Acquire);
        let step = usize::try_from(packed >> 48).unwrap_or(0).checked_sub(1)?;
        Some(Failure {
            step: STEPS.get(step).copied().unwrap_or(SpawnStep::Program),
            which: u16::try_from(packed >> 32 & 0xffff).unwrap_or(0),
            errno: i32::try_from(packed & 0xffff_ffff).unwrap_or(libc::EIO),
        })
    }
}

/// Whom the program runs as, in the kernel's types.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// The capabilities that it keeps, and each that is taken out of its reach.
#[derive(Debug)]
pub(super) struct Capabilities {
    pub(super) kept: CapabilitySet,
    pub(super) kept_one_by_one: Vec<CapabilitySet>,
    pub(super) dropped_one_by_one: Vec<CapabilitySet>,
}

/// Paths that are made read-only, and those within that are made writable again.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) read_only: Vec<CString>,
    pub(super) writable: Vec<CString>,
}

/// Everything that the new process reads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: CString,
    pub(super) arguments: Texts,
    pub(super) environment: Texts,
    pub(super) folder: CString,
    /// The descriptors that become 0, 1, 2, … All are at least as high as there are of them.
    pub(super) streams: Vec<i32>,
    /// Whether the table of open files is the guard's own until a copy of its entries up to the highest
    /// stream is made.
    pub(super) shared_files: bool,
    /// `cgroup.procs` of the group to join, where the process could not be made in it.
    pub(super) join: Option<i32>,
    pub(super) ignored: u64,
    pub(super) umask: Option<Mode>,
    pub(super) limits: Vec<(Resource, Rlimit)>,
    pub(super) niceness: Option<i32>,
    pub(super) oom_score: Option<Vec<u8>>,
    pub(super) mounts: Option<Mounts>,
    pub(super) account: Option<Account>,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) no_new_privileges: bool,
    /// Which of the environment's texts is `LISTEN_PID=`, with room for ten digits.
    pub(super) listen_pid: Option<usize>,
    pub(super) flight: std::sync::Arc<Flight>,
}

/// C strings and the array of pointers to them that ends with null.
#[derive(Debug)]
pub(super) struct Texts {
    // Owned memory, so that the new process can write digits through the pointers.
    texts: Vec<*mut libc::c_char>,
}

impl Texts {
    fn new(texts: Vec<CString>) -> Texts {
        let mut texts: Vec<*mut libc::c_char> = texts.into_iter().map(CString::into_raw).collect();
        texts.push(std::ptr::null_mut());
        Texts { texts }
    }

    /// What `execve` takes.
    pub(super) fn pointers(&self) -> *const *const libc::c_char {
        self.texts.as_ptr().cast()
    }

    pub(super) fn get(&self, index: usize) -> Option<*mut libc::c_char> {
        self.texts.get(index).copied().filter(|text| !text.is_null())
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        for text in self.texts.iter().filter(|text| !text.is_null()) {
            // SAFETY: the pointer came from `into_raw` and was not freed; digits that were written through
            // it replaced digits, so the length is what it was.
            let text = unsafe { CString::from_raw(*text) };
            // Variables may be secrets.
            text.into_bytes().zeroize();
        }
    }
}

impl Plan {
    /// Everything but the streams, which the caller adds.
    pub(super) fn new(
        request: &SpawnRequest,
        setup: Setup,
        flight: std::sync::Arc<Flight>,
        mark: Option<&str>,
    ) -> Result<Plan, SpawnError> {
        let mut listen_pid = None;
        let environment = environment(request, mark, &mut listen_pid)?;
        let account = request.identity.as_ref().filter(|identity| !is_already(identity)).map(|identity| Account {
            uid: Uid::from_raw(identity.account.uid),
            gid: Gid::from_raw(identity.account.gid),
            groups: identity.account.groups.iter().copied().map(Gid::from_raw).collect(),
        });
        let security = &request.security;
        let paths = |paths: &[std::path::PathBuf]| {
            paths.iter().map(|path| text(request, path.as_os_str(), "a path")).collect::<Result<Vec<_>, _>>()
        };
        let mounts = if security.read_only_paths.is_empty() {
            None
        } else {
            Some(Mounts { read_only: paths(&security.read_only_paths)?, writable: paths(&security.writable_paths)? })
        };
        Ok(Plan {
            program: text(request, request.program.as_os_str(), "the program's path")?,
            arguments: Texts::new(
                request.args.iter().map(|word| text(request, word, "an argument")).collect::<Result<_, _>>()?,
            ),
            environment: Texts::new(environment),
            folder: text(request, request.cwd.as_os_str(), "the working folder")?,
            streams: Vec::new(),
            shared_files: false,
            join: None,
            ignored: setup.ignored,
            umask: request.umask.map(|bits| Mode::from_raw_mode(bits & 0o777)),
            limits: limits(request),
            niceness: match request.limits.priority {
                Priority::Normal => super::super::limits::niceness_for_programs(),
                other => Some(super::super::container::niceness(other)),
            },
            oom_score: request.oom_score_adjust.map(|score| score.to_string().into_bytes()),
            mounts,
            account,
            capabilities: security.capabilities.as_ref().map(|kept| capabilities(kept, setup.last_capability)),
            no_new_privileges: security.no_new_privileges,
            listen_pid,
            flight,
        })
    }

    /// Whether the process changes whom it runs as, by which the kernel bars others from its memory, and
    /// that is still the guard's.
    pub(super) fn changes_credentials(&self) -> bool {
        self.account.is_some() || self.capabilities.is_some()
    }
}

/// Becoming whom one is already takes no right, so an unprivileged guard may name its own account.
fn is_already(identity: &Identity) -> bool {
    rustix::process::geteuid().as_raw() == identity.account.uid
        && rustix::process::getegid().as_raw() == identity.account.gid
        && identity.account.uid != 0
}

fn text(request: &SpawnRequest, text: &OsStr, what: &str) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| with_nul(request, what, text))
}

fn with_nul(request: &SpawnRequest, what: &str, text: &OsStr) -> SpawnError {
    SpawnError {
        step: SpawnStep::Prepare,
        error: std::io::Error::from_raw_os_error(libc::EINVAL),
        subject: request.program.display().to_string(),
        advice: format!("{what} has a NUL byte in it, which no program can be given: {}", text.to_string_lossy()),
    }
}

fn environment(
    request: &SpawnRequest,
    mark: Option<&str>,
    listen_pid: &mut Option<usize>,
) -> Result<Vec<CString>, SpawnError> {
    use super::super::container::walk::MARK;
    let listens = !request.listen.is_empty();
    let mut texts = Vec::with_capacity(request.env.len() + 3);
    for (key, value) in &request.env {
        // Ours take the place of inherited ones.
        let replaced = key == MARK || (listens && (key == "LISTEN_PID" || key == "LISTEN_FDS"));
        if replaced {
            continue;
        }
        // With room for the NUL, so that no copy is left behind.
        let mut pair = Vec::with_capacity(key.len() + value.len() + 2);
        pair.extend_from_slice(key.as_bytes());
        pair.push(b'=');
        pair.extend_from_slice(value.as_bytes());
        texts.push(CString::new(pair).map_err(|_| with_nul(request, "a variable", key))?);
    }
    if let Some(mark) = mark {
        texts.push(text(request, OsStr::new(&format!("{MARK}={mark}")), "the mark")?);
    }
    if listens {
        let count = format!("LISTEN_FDS={}", request.listen.len());
        texts.push(text(request, OsStr::new(&count), "a variable")?);
        *listen_pid = Some(texts.len());
        texts.push(c"LISTEN_PID=0000000000".to_owned());
    }
    Ok(texts)
}

fn limits(request: &SpawnRequest) -> Vec<(Resource, Rlimit)> {
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    let open_files = request.limits.open_files.map(both).or_else(super::super::limits::for_programs);
    let core = request.limits.core.map(both).or_else(super::super::limits::core_for_programs);
    let wishes = [(Resource::Nofile, open_files), (Resource::Core, core)];
    wishes.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))).collect()
}

fn capabilities(kept: &[tutela_core::spec::Capability], last: u8) -> Capabilities {
    let one = |number: u8| CapabilitySet::from_bits_retain(1 << number);
    let keeps = |number: &u8| kept.iter().any(|capability| capability.number() == *number);
    let (kept_numbers, dropped): (Vec<u8>, Vec<u8>) = (0..=last).partition(keeps);
    Capabilities {
        kept: kept_numbers.iter().fold(CapabilitySet::empty(), |all, number| all | one(*number)),
        kept_one_by_one: kept_numbers.into_iter().map(one).collect(),
        dropped_one_by_one: dropped.into_iter().map(one).collect(),
    }
}
