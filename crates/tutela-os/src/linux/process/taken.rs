//! Programs of an earlier guard that run on, as children of this one in all but name.
//!
//! The kernel gave them another parent when their guard ended, so this process is not told of their end and cannot
//! collect it. What tells them from every other process, whatever was given the same number since, is the descriptor of
//! the process that the earlier guard had; what tells their tree is its control group or its mark. Both are in the
//! guard's safe: the descriptor, and the text of [`Remains`].

use super::nursery::Child;
use crate::handle::Handle;
use crate::platform::container::{Tree as Held, group, walk};
use crate::platform::proc;
use crate::platform::watch::Watched;
use crate::process::{ChildToken, Exit, Signal, Tree};
use crate::{Error, platform};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever collects orphans on this computer may take for it. How a process ended is known only then.
const COLLECTED_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait between two looks for that, as between two looks for leftover processes.
const COLLECTED_PAUSE: Duration = Duration::from_millis(2);

/// What tells the tree of one run from all others on this computer, as text that another guard can read.
///
/// Lines of `key value`, the keys in any order; keys that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    pub(super) pid: u32,
    pub(super) label: String,
    pub(super) tree: TreeRemains,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TreeRemains {
    /// The folder of its control group, and what that had counted before the run.
    Group { path: PathBuf, cpu_before: Duration, oom_before: u64 },
    /// The mark in the environment of its processes, and when the first of them began, in ticks since the boot.
    Walk { mark: String, began: Option<u64> },
}

impl Remains {
    pub(super) fn write(&self) -> String {
        let mut text = format!("pid {}\nlabel {}\n", self.pid, self.label);
        match &self.tree {
            TreeRemains::Group { path, cpu_before, oom_before } => text.push_str(&format!(
                "group {}\ncpu_before {}\noom_before {oom_before}\n",
                path.display(),
                cpu_before.as_micros()
            )),
            TreeRemains::Walk { mark, began } => {
                text.push_str(&format!("mark {mark}\n"));
                if let Some(began) = began {
                    text.push_str(&format!("began {began}\n"));
                }
            }
        }
        text
    }

    pub(super) fn read(text: &str) -> Option<Remains> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.split_once(' ').filter(|(its, _)| *its == key).map(|(_, value)| value))
        };
        let number = |key: &str| value(key).and_then(|text| text.parse::<u64>().ok());
        let tree = match (value("group"), value("mark")) {
            (Some(path), _) => TreeRemains::Group {
                path: PathBuf::from(path),
                cpu_before: Duration::from_micros(number("cpu_before").unwrap_or(0)),
                oom_before: number("oom_before").unwrap_or(0),
            },
            (None, Some(mark)) => TreeRemains::Walk { mark: mark.to_owned(), began: number("began") },
            (None, None) => return None,
        };
        let pid = value("pid")?.parse().ok()?;
        Some(Remains { pid, label: value("label")?.to_owned(), tree })
    }
}

/// The taken-back programs of a nursery.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<Vec<One>>);

#[derive(Debug)]
struct One {
    token: ChildToken,
    remains: Remains,
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Vec<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, token: ChildToken, remains: Remains) {
        self.lock().push(One { token, remains });
    }

    pub(super) fn forget(&self, token: ChildToken) {
        self.lock().retain(|one| one.token != token);
    }

    /// Whose the process `pid` is.
    pub(super) fn owner_of(&self, pid: u32) -> Option<ChildToken> {
        let taken = self.lock();
        if taken.is_empty() {
            return None;
        }
        let (mark, group) = (proc::variable(pid, walk::MARK), proc::control_group(pid));
        let is_its = |one: &&One| match &one.remains.tree {
            TreeRemains::Walk { mark: its, .. } => mark.as_deref().is_some_and(|mark| walk::is_below(mark, its)),
            TreeRemains::Group { path, .. } => group.as_deref().is_some_and(|seen| group::is_in(seen, path)),
        };
        taken.iter().find(is_its).map(|one| one.token)
    }

    /// Whether a process with this mark is one of theirs.
    pub(super) fn has_mark(&self, mark: &str) -> bool {
        self.lock().iter().any(|one| match &one.remains.tree {
            TreeRemains::Walk { mark: its, .. } => walk::is_below(mark, its),
            TreeRemains::Group { .. } => false,
        })
    }

    /// Whether this folder is the group of one of them.
    pub(super) fn has_group(&self, folder: &Path) -> bool {
        self.lock().iter().any(|one| match &one.remains.tree {
            TreeRemains::Group { path, .. } => path == folder,
            TreeRemains::Walk { .. } => false,
        })
    }
}

impl Child {
    pub(crate) fn remains(&self) -> Option<(String, Handle)> {
        let process = Handle(platform::handle::Handle(self.process.clone()?));
        let label = self.tree.label().to_owned();
        let tree = match &self.tree.0 {
            Held::Group(run) => {
                let (cpu_before, oom_before) = run.counts_before();
                TreeRemains::Group { path: run.group().path().to_owned(), cpu_before, oom_before }
            }
            Held::Walk(run) => TreeRemains::Walk { mark: run.mark.to_string(), began: run.began },
        };
        Some((Remains { pid: self.pid, label, tree }.write(), process))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        proc::variable(self.pid, name)
    }

    pub(crate) fn end_elsewhere(
        &self,
    ) -> Result<impl Future<Output = Result<Option<Exit>, Error>> + Send + use<>, Error> {
        // Of its own: it may be asked for again.
        let process = self.process.as_ref().map(|process| process.try_clone());
        let process = process.unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::NotFound)));
        let process = process.map_err(|source| Error::io(format!("watch process {}", self.pid), source))?;
        Ok(async move {
            let watched = Watched::reading(process)?;
            let ended = |process: BorrowedFd<'_>| {
                if crate::platform::safe::has_ended(process) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            };
            watched.when_readable(ended).await.map_err(|source| Error::io("wait for a program's end", source))?;
            let until = Instant::now() + COLLECTED_WITHIN;
            loop {
                match exit_of(watched.fd()) {
                    Told::Ended(exit) => return Ok(Some(exit)),
                    Told::NotYet if Instant::now() < until => tokio::time::sleep(COLLECTED_PAUSE).await,
                    Told::NotYet | Told::Never => return Ok(None),
                }
            }
        })
    }
}

/// The run of a tree, by what is left of it.
pub(super) fn tree_of(
    remains: &Remains,
    token: u64,
    table: impl FnOnce() -> Arc<walk::Table>,
    reason: &str,
    controllers: &[&'static str],
) -> Result<Tree, Error> {
    Ok(Tree(match &remains.tree {
        TreeRemains::Group { path, cpu_before, oom_before } => {
            let run = group::Run::take_back(path, &remains.label, token, controllers, (*cpu_before, *oom_before))?;
            Held::Group(Arc::new(run))
        }
        TreeRemains::Walk { mark, began } => {
            let table = table();
            table.look_everywhere();
            Held::Walk(Arc::new(walk::Run {
                table,
                label: remains.label.clone(),
                mark: mark.as_str().into(),
                reason: reason.to_owned(),
                first: remains.pid,
                started: Instant::now(),
                began: *began,
            }))
        }
    }))
}

enum Told {
    Ended(Exit),
    /// Its parent has not collected it yet.
    NotYet,
    /// This kernel does not say (before Linux 6.15).
    Never,
}

/// `struct pidfd_info` in its first form, which every kernel that knows the call takes.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xFF << 8) | 11;

const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// How the process behind the descriptor ended, which kernels since 6.15 tell everybody who had it open.
fn exit_of(process: BorrowedFd<'_>) -> Told {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel reads and writes one structure of the size that the number of the call says, which is live, ours
    // and exclusive; the descriptor is open for the call. A kernel that does not know the call touches nothing.
    let answer = unsafe { libc::ioctl(process.as_fd().as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if answer != 0 {
        return match io::Error::last_os_error().raw_os_error() {
            // Collected, and nothing was noted down of it.
            Some(libc::ESRCH | libc::ENOTTY | libc::EINVAL) => Told::Never,
            _ => Told::NotYet,
        };
    }
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return Told::NotYet;
    }
    // As `wait` has it.
    let status = info.exit_code;
    Told::Ended(match status & 0x7f {
        0 => Exit::Code((status >> 8) & 0xff),
        signal => Exit::Signal { signal: Signal::reported(signal), core_dumped: status & 0x80 != 0 },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn remains_survive_their_text() {
        let group = TreeRemains::Group {
            path: "/sys/fs/cgroup/a b/tutela-shop-0-1.2/api.0~1".into(),
            cpu_before: Duration::from_micros(17),
            oom_before: 3,
        };
        let walk = |began| TreeRemains::Walk { mark: "outer:a.0:1/tutela-shop-0-1.2:api.0:7".into(), began };
        for tree in [group, walk(None), walk(Some(99))] {
            let remains = Remains { pid: 5, label: "api.0".into(), tree };
            let text = remains.write();
            assert_eq!(Remains::read(&text).as_ref(), Some(&remains));
            // As groups have it from guards before this one.
            if matches!(remains.tree, TreeRemains::Group { .. }) {
                assert_eq!(Remains::read(&format!("{text}began 99\n")), Some(remains));
            }
        }
    }

    #[test]
    fn remains_of_a_later_version_are_read_and_nonsense_is_none() {
        let text = "pid 5\nlabel api.0\nmark m\ncolour blue\n";
        assert_eq!(Remains::read(text).map(|remains| remains.pid), Some(5));
        for nonsense in ["", "pid 5", "pid x\nlabel a\nmark m", "label a\nmark m", "pid 5\nlabel a"] {
            assert_eq!(Remains::read(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_group_is_known_by_its_tail() {
        let path = Path::new("/sys/fs/cgroup/unified/x/tutela-shop-0-1.2/api.0");
        assert!(group::is_in("/x/tutela-shop-0-1.2/api.0", path));
        assert!(group::is_in("/../x/tutela-shop-0-1.2/api.0/inner", path));
        assert!(!group::is_in("/x/tutela-shop-0-1.2/api.1", path));
        assert!(!group::is_in("/x/tutela-shop-0-1.3/api.0", path));
    }

    #[test]
    fn how_a_process_ended_is_told_to_who_is_not_its_parent() {
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        assert!(matches!(exit_of(process.as_fd()), Told::NotYet | Told::Never));
        child.wait().unwrap();
        match exit_of(process.as_fd()) {
            Told::Ended(exit) => assert_eq!(exit, Exit::Code(7)),
            Told::Never => {}
            Told::NotYet => panic!("collected, and still not told"),
        }
    }
}
