//! The start itself, on the side of the guard.

use super::clone::{self, Outcome, Stack};
use super::nursery::{Child, Registry};
use super::plan::{Flight, Plan, Setup};
use super::taken::{self, Remains};
use super::{explain, leftovers, steps};
use crate::platform::container::{Container, Tree as Held, group, walk};
use crate::platform::proc;
use crate::process::{ChildToken, SpawnError, SpawnRequest, SpawnStep, Stdio, Tree};
use crate::{Error, Unsupported};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::DupFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, dumpable_behavior, set_dumpable_behavior};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tutela_core::spec::Limits;

/// How many seats are kept for starts to come. The guard has one spawning thread; more only help tests.
const SEATS_KEPT: usize = 4;

/// The lowest number for the guard's descriptors; below are the standard streams, which programs get.
const ABOVE_STREAMS: i32 = 3;

/// The longest label of a tree; it becomes a file name of at most 255 bytes together with a suffix.
const LABEL_BYTES_MAX: usize = 128;

/// Starts programs into trees.
#[derive(Debug)]
pub(super) struct Launcher {
    container: Container,
    tag: String,
    setup: Setup,
    /// `/dev/null`, for reading and writing.
    nothing: OwnedFd,
    seats: Mutex<Vec<Seat>>,
    tokens: AtomicU64,
    /// Whether the kernel can copy a part of the table of open files.
    copies_files_in_part: bool,
    /// The mark of a guard that keeps this guard, which its programs carry on.
    outer_mark: Option<Arc<str>>,
    /// Whether `clone3` was refused, by an old kernel or a sandbox.
    refuses_clone3: AtomicBool,
}

/// What one start at a time needs: a stack, and three descriptors with low numbers in which the streams
/// are laid out, so that of the guard's table only its lowest entries have to be copied.
#[derive(Debug)]
struct Seat {
    stack: Stack,
    window: [Place; 3],
}

/// One of them.
#[derive(Debug)]
struct Place {
    fd: OwnedFd,
    /// Whether it is `/dev/null`, as between two starts.
    is_nothing: bool,
}

impl Place {
    fn take(&mut self, source: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.is_nothing = false;
        rustix::io::dup3(source, &mut self.fd, DupFlags::CLOEXEC)
    }

    fn empty(&mut self, nothing: &OwnedFd) -> rustix::io::Result<()> {
        if !self.is_nothing {
            rustix::io::dup3(nothing, &mut self.fd, DupFlags::CLOEXEC)?;
            self.is_nothing = true;
        }
        Ok(())
    }
}

impl Launcher {
    pub(super) fn new(container: Container, tag: String) -> Result<Launcher, Error> {
        let nothing = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_STREAMS))
            .map_err(|errno| Error::io("open /dev/null", errno))?;
        // The first seat is taken while low numbers are free.
        let seat = Seat::new(&nothing).map_err(|source| Error::io("get ready to start programs", source))?;
        Ok(Launcher {
            container,
            tag,
            setup: Setup::read(),
            nothing,
            seats: Mutex::new(vec![seat]),
            tokens: AtomicU64::new(1),
            copies_files_in_part: steps::knows_close_range(),
            outer_mark: proc::variable(std::process::id(), walk::MARK).map(Arc::from),
            refuses_clone3: AtomicBool::new(false),
        })
    }

    /// The folder that holds the control groups of this guard and of those before it.
    pub(super) fn groups_place(&self) -> Option<&Path> {
        match &self.container {
            Container::Groups(root) => Some(root.place()),
            Container::Walk { .. } => None,
        }
    }

    /// Whose the process `pid` is, by its control group or its mark.
    pub(super) fn owner_of(&self, pid: u32) -> Option<ChildToken> {
        let token = match &self.container {
            Container::Groups(root) => root.token_at(&proc::control_group(pid)?),
            Container::Walk { table, .. } => leftovers::token_in(&table.mark_of(pid)?, &self.tag),
        };
        token.map(ChildToken)
    }

    /// Makes the container of a tree that will be started soon. A walked tree needs none.
    pub(super) fn prepare(&self, label: &str) -> Result<(), Error> {
        match &self.container {
            Container::Groups(root) => root.prepare(label),
            Container::Walk { .. } => Ok(()),
        }
    }

    pub(super) fn launch(&self, request: &SpawnRequest, registry: &Registry) -> Result<Child, SpawnError> {
        check_label(request)?;
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let flight = Arc::new(Flight::new(token));
        let nest = self.make_nest(request, token)?;
        let mut plan = Plan::new(request, self.setup, Arc::clone(&flight), nest.mark())?;
        let mut seat = self.take_seat().map_err(|error| explain::in_guard(SpawnStep::Prepare, request, error))?;
        let streams = self.lay_out(request, &mut seat, &mut plan);
        let extra = streams.map_err(|error| explain::in_guard(SpawnStep::Streams, request, error))?;
        registry.take_off(&flight);
        let made = self.make_process(&mut plan, &seat, nest.group());
        drop(extra);
        self.give_back(seat);
        let process = match made {
            Ok(process) => process,
            Err(error) => {
                registry.crash(&flight);
                return Err(explain::in_guard(SpawnStep::Process, request, error));
            }
        };
        if let Some(failure) = flight.failure() {
            registry.crash(&flight);
            return Err(explain::in_child(failure, request));
        }
        let pid = flight.pid.load(Ordering::Acquire).unsigned_abs();
        // Before landing: as long as it flies, a number that was reaped is known to be.
        let began = nest.needs_beginning().then(|| proc::stat(pid)).flatten().map(|stat| stat.began);
        let began = began.filter(|_| !flight.reaped.load(Ordering::Acquire));
        registry.land(&flight);
        let (tree, unenforced) = nest.into_tree(request, pid, began);
        let (token, process) = (ChildToken(token), process.map(Arc::new));
        Ok(Child { pid, token, process, tree: Tree(tree), unenforced })
    }

    /// A program that an earlier guard started, as if it had been started here.
    pub(super) fn take_back(&self, remains: &Remains, process: Arc<OwnedFd>) -> Result<Child, Error> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (controllers, reason): (&[&'static str], &str) = match &self.container {
            Container::Groups(root) => (root.controllers(), ""),
            Container::Walk { reason, .. } => (&[], reason),
        };
        let table = || match &self.container {
            Container::Walk { table, .. } => Arc::clone(table),
            // This guard has control groups, and that one had not.
            Container::Groups(_) => Arc::new(walk::Table::new()),
        };
        let tree = taken::tree_of(remains, token, table, reason, controllers)?;
        let (pid, token) = (remains.pid, ChildToken(token));
        Ok(Child { pid, token, process: Some(process), tree, unenforced: Vec::new() })
    }

    fn make_nest(&self, request: &SpawnRequest, token: u64) -> Result<Nest, SpawnError> {
        let failed = |error: Error| {
            let (what, source) = match error {
                Error::Io { what, source } => (what, source),
                other => (other.to_string(), io::Error::other("not possible here")),
            };
            let mut told = explain::in_guard(SpawnStep::Container, request, source);
            told.advice = format!("could not {what}{}{}", if told.advice.is_empty() { "" } else { "; " }, told.advice);
            told
        };
        match &self.container {
            Container::Groups(root) => {
                let starting = root.group_for(&request.tree).map_err(failed)?;
                let unenforced = starting.group().set_limits(&request.limits).map_err(failed)?;
                let run = group::Run::begin(Arc::clone(starting.group()), token);
                let outer_mark = self.outer_mark.clone();
                Ok(Nest::Group { run, _starting: starting, outer_mark, unenforced })
            }
            Container::Walk { table, reason } => {
                let mark = table.mark(&leftovers::mark_tail(&self.tag, &request.tree, token));
                Ok(Nest::Walk { table: Arc::clone(table), mark: mark.into(), reason: reason.clone() })
            }
        }
    }

    fn take_seat(&self) -> io::Result<Seat> {
        let kept = self.seats.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(|| Seat::new(&self.nothing), Ok)
    }

    /// Empties the window, or the guard would keep a program's pipes open.
    fn give_back(&self, mut seat: Seat) {
        let emptied = seat.window.iter_mut().try_for_each(|place| place.empty(&self.nothing));
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if emptied.is_ok() && seats.len() < SEATS_KEPT {
            seats.push(seat);
        }
    }

    /// Puts the streams where the new process takes them from. Answers what must stay open until then.
    fn lay_out(&self, request: &SpawnRequest, seat: &mut Seat, plan: &mut Plan) -> io::Result<Vec<OwnedFd>> {
        let standard = [&request.stdin, &request.stdout, &request.stderr];
        if request.listen.is_empty() && self.copies_files_in_part {
            for (target, (place, stdio)) in seat.window.iter_mut().zip(standard).enumerate() {
                if !matches!(stdio, Stdio::Null) {
                    place.take(self.source(stdio, target))?;
                }
            }
            plan.streams = seat.window.iter().map(|place| place.fd.as_raw_fd()).collect();
            plan.shared_files = true;
            return Ok(Vec::new());
        }
        let standard = standard.into_iter().enumerate().map(|(target, stdio)| self.source(stdio, target));
        let all: Vec<BorrowedFd<'_>> = standard.chain(request.listen.iter().map(|handle| handle.0.0.as_fd())).collect();
        // Above all targets, so that no source is overwritten before it was used.
        let lowest = i32::try_from(all.len()).unwrap_or(i32::MAX);
        let copies = all.into_iter().map(|source| rustix::io::fcntl_dupfd_cloexec(source, lowest));
        let copies = copies.collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
        plan.streams = copies.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(copies)
    }

    /// A stream of the guard's that is closed is nothing.
    fn source<'a>(&'a self, stdio: &'a Stdio, target: usize) -> BorrowedFd<'a> {
        match stdio {
            Stdio::Null => self.nothing.as_fd(),
            Stdio::Handle(handle) => handle.0.0.as_fd(),
            Stdio::Inherit => {
                // SAFETY: the standard streams are open for the life of the process, or were closed by
                // whoever started it, and then the look below answers an error.
                let own = unsafe { BorrowedFd::borrow_raw(i32::try_from(target).unwrap_or(0)) };
                if rustix::io::fcntl_getfd(own).is_ok() { own } else { self.nothing.as_fd() }
            }
        }
    }

    /// Makes the process and waits until it is the program or has failed. Answers its descriptor.
    fn make_process(&self, plan: &mut Plan, seat: &Seat, group: Option<&group::Group>) -> io::Result<Option<OwnedFd>> {
        // A process that changes its account bars others from its memory, and that is still the guard's:
        // without this the guard could not be looked into or leave a core file from then on.
        let dumpable = plan.changes_credentials().then(dumpable_behavior).transpose()?;
        let made = {
            let _blocked = AllSignals::block();
            self.clone(plan, seat, group)
        };
        if let Some(before @ DumpableBehavior::Dumpable) = dumpable {
            set_dumpable_behavior(before)?;
        }
        made
    }

    fn clone(&self, plan: &mut Plan, seat: &Seat, group: Option<&group::Group>) -> io::Result<Option<OwnedFd>> {
        if !self.refuses_clone3.load(Ordering::Relaxed) {
            match clone3(plan, seat, group) {
                // Not there (before 5.3), refused by an old container's filter, or without one of the flags (before 5.7).
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) => {
                    self.refuses_clone3.store(true, Ordering::Relaxed);
                }
                done => return done.map(Some),
            }
        }
        through_the_library(plan, seat, group)
    }
}

impl Seat {
    fn new(nothing: &OwnedFd) -> io::Result<Seat> {
        let place = || rustix::io::fcntl_dupfd_cloexec(nothing, ABOVE_STREAMS).map(|fd| Place { fd, is_nothing: true });
        Ok(Seat { stack: Stack::new()?, window: [place()?, place()?, place()?] })
    }
}

fn clone3(plan: &mut Plan, seat: &Seat, group: Option<&group::Group>) -> io::Result<OwnedFd> {
    let mut flags = clone::CLEAR_SIGNAL_HANDLERS;
    let common = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID;
    flags |= u64::from(common.unsigned_abs());
    if plan.shared_files {
        flags |= u64::from(libc::CLONE_FILES.unsigned_abs());
    }
    if group.is_some() {
        flags |= clone::INTO_CONTROL_GROUP;
    }
    let mut number = -1_i32;
    let outcome = Outcome { pidfd: &raw mut number, pid: plan.flight.pid.as_ptr() };
    let folder = group.map(|group| group.folder().as_raw_fd());
    let plan = (&raw mut *plan).cast();
    // SAFETY: the plan, the flight in it and `number` live until the call returns, and the process on the
    // other side only reads the plan, apart from places made for it to write to. The entry keeps to what
    // it promises in its module. Signals are blocked by the caller, and the flags are the ones demanded.
    unsafe { clone::clone3(flags, &seat.stack, folder, outcome, steps::enter, plan) }?;
    // SAFETY: the kernel has put a descriptor there that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// For kernels and sandboxes without `clone3`: the process joins its group itself, and its descriptor is
/// asked for when it runs.
fn through_the_library(plan: &mut Plan, seat: &Seat, group: Option<&group::Group>) -> io::Result<Option<OwnedFd>> {
    let join = group.map(group::Group::open_for_joining).transpose()?;
    plan.join = join.as_ref().map(AsRawFd::as_raw_fd);
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID;
    if plan.shared_files {
        flags |= libc::CLONE_FILES;
    }
    let flight = Arc::clone(&plan.flight);
    // Handlers would stay until the program runs; they only ring bells, and signals are blocked till then.
    let plan: *mut libc::c_void = (&raw mut *plan).cast();
    // SAFETY: as for `clone3` above.
    unsafe { clone::clone(flags, &seat.stack, flight.pid.as_ptr(), steps::enter_from_library, plan) }?;
    let Some(pid) = Pid::from_raw(flight.pid.load(Ordering::Acquire)) else { return Ok(None) };
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
    // Reaped meanwhile, the number may be another process's.
    Ok(process.filter(|_| !flight.reaped.load(Ordering::Acquire)))
}

/// The place that a start is made into.
enum Nest {
    Group { run: group::Run, _starting: group::Starting, outer_mark: Option<Arc<str>>, unenforced: Vec<Unsupported> },
    Walk { table: Arc<walk::Table>, mark: Arc<str>, reason: String },
}

impl Nest {
    fn mark(&self) -> Option<&str> {
        match self {
            Nest::Group { outer_mark, .. } => outer_mark.as_deref(),
            Nest::Walk { mark, .. } => Some(mark),
        }
    }

    fn group(&self) -> Option<&group::Group> {
        match self {
            Nest::Group { run, .. } => Some(run.group()),
            Nest::Walk { .. } => None,
        }
    }

    /// A walk has to know its first process again.
    fn needs_beginning(&self) -> bool {
        matches!(self, Nest::Walk { .. })
    }

    fn into_tree(self, request: &SpawnRequest, first: u32, began: Option<u64>) -> (Held, Vec<Unsupported>) {
        match self {
            Nest::Group { run, unenforced, .. } => (Held::Group(Arc::new(run)), unenforced),
            Nest::Walk { table, mark, reason } => {
                let limits: &Limits = &request.limits;
                let unenforced = walk::missing_limits(limits, &reason);
                let label = request.tree.clone();
                (
                    Held::Walk(Arc::new(walk::Run {
                        table,
                        label,
                        mark,
                        reason,
                        first,
                        started: Instant::now(),
                        began,
                    })),
                    unenforced,
                )
            }
        }
    }
}

fn check_label(request: &SpawnRequest) -> Result<(), SpawnError> {
    let label = request.tree.as_str();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
    // A first dot or a name of the kernel's own files would not be a group.
    let free = !label.starts_with('.') && !label.starts_with("cgroup.") && label != "guard";
    if fits && free && label.bytes().all(allowed) {
        return Ok(());
    }
    let mut error = explain::in_guard(SpawnStep::Prepare, request, io::Error::from_raw_os_error(libc::EINVAL));
    error.advice = format!(
        "{label:?} cannot be the name of a tree: it takes 1 to {LABEL_BYTES_MAX} letters, digits, '.', '_' and '-'"
    );
    Err(error)
}

/// All signals are blocked in this thread while this exists.
struct AllSignals {
    before: u64,
}

impl AllSignals {
    fn block() -> AllSignals {
        AllSignals { before: set_mask(u64::MAX) }
    }
}

impl Drop for AllSignals {
    fn drop(&mut self) {
        set_mask(self.before);
    }
}

/// Sets this thread's mask and answers the former one. The C library's function would leave out the
/// signals that it keeps for itself.
fn set_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: the kernel reads one mask of 8 bytes and writes another, both live and ours. With these
    // arguments it cannot fail.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut before, 8_usize);
    }
    before
}
