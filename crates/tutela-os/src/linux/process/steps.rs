//! What the new process does until it becomes the program.
//!
//! It runs in the guard's memory while the thread that made it waits, with every signal blocked. So
//! nothing here allocates, takes a lock, panics or writes to anything but the stack, the flight and the
//! digits of `LISTEN_PID`: system calls, and reads of the plan. `rustix` makes system calls without the C
//! library; the few that go through the C library's `syscall` change at most this thread's `errno`, whose
//! owner waits and does not look at it.

use super::plan::{Capabilities, Failure, Mounts, Plan};
use crate::process::SpawnStep;
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::{CapabilitySets, UnshareFlags};
use std::ffi::{CStr, c_long};
use std::os::fd::BorrowedFd;

/// From `linux/close_range.h`: take a copy of the table first, without the entries that are closed.
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;

/// From `linux/mount.h`.
const MOUNT_ATTR_RDONLY: u64 = 1;

/// The kernel's `mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Whether the kernel can close and copy parts of a table of open files.
pub(super) fn knows_close_range() -> bool {
    // The last number there is, which no descriptor has: nothing is closed.
    close_range(u32::MAX, u32::MAX, 0).is_ok()
}

/// Where the new process starts; `plan` is a [`Plan`].
pub(super) extern "C" fn enter(plan: *mut libc::c_void) -> ! {
    // SAFETY: whoever makes the process gives it a plan that lives until it is a program or has ended.
    let plan: &Plan = unsafe { &*plan.cast::<Plan>() };
    let failure = become_program(plan);
    plan.flight.fail(failure);
    // SAFETY: ends this process only, without running anything of the guard's.
    unsafe { libc::_exit(127) }
}

/// The same for the C library's `clone`.
pub(super) extern "C" fn enter_from_library(plan: *mut libc::c_void) -> i32 {
    enter(plan)
}

/// Returns only when a step failed.
fn become_program(plan: &Plan) -> Failure {
    match prepare(plan) {
        Err(failure) => failure,
        Ok(()) => {
            reset_mask();
            // SAFETY: the path and both arrays are C strings and null-terminated arrays of them in the
            // plan. On success nothing of this process's view is left; on failure it returns.
            unsafe {
                libc::execve(plan.program.as_ptr(), plan.arguments.pointers(), plan.environment.pointers());
            }
            Failure { step: SpawnStep::Program, which: 0, errno: last_errno().raw_os_error() }
        }
    }
}

fn at(step: SpawnStep, which: usize) -> impl Fn(Errno) -> Failure {
    let which = which.min(usize::from(u16::MAX)) as u16;
    move |errno| Failure { step, which, errno: errno.raw_os_error() }
}

fn prepare(plan: &Plan) -> Result<(), Failure> {
    if let Some(group) = plan.join {
        // SAFETY: the spawning thread holds the descriptor open until this process is a program.
        let group = unsafe { BorrowedFd::borrow_raw(group) };
        rustix::io::write(group, b"0").map_err(at(SpawnStep::Container, 0))?;
    }
    reset_dispositions(plan.ignored);
    arrange_streams(plan)?;
    rustix::process::setsid().map_err(at(SpawnStep::Session, 0))?;
    if let Some(mask) = plan.umask {
        rustix::process::umask(mask);
    }
    for (index, (resource, limit)) in plan.limits.iter().enumerate() {
        rustix::process::setrlimit(*resource, *limit).map_err(at(SpawnStep::Limits, index))?;
    }
    if let Some(niceness) = plan.niceness {
        rustix::process::setpriority_process(None, niceness).map_err(at(SpawnStep::Priority, 0))?;
    }
    if let Some(score) = &plan.oom_score {
        set_oom_score(score).map_err(at(SpawnStep::OomScore, 0))?;
    }
    if let Some(mounts) = &plan.mounts {
        mount_read_only(mounts)?;
    }
    change_account(plan)?;
    // After the mounts: a folder that was entered before is the writable one beneath.
    rustix::process::chdir(plan.folder.as_c_str()).map_err(at(SpawnStep::Folder, 0))?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(at(SpawnStep::NoNewPrivileges, 0))?;
    }
    if let Some(text) = plan.listen_pid.and_then(|index| plan.environment.get(index)) {
        write_own_number(text);
    }
    Ok(())
}

/// Default reactions for the signals that a program would inherit as ignored. Handlers need nothing:
/// running a program resets them.
fn reset_dispositions(ignored: u64) {
    // The kernel's sigaction of zeros: the default reaction, no flags, an empty mask.
    let default = [0_u64; 4];
    for number in (1..=64).filter(|number| ignored >> (number - 1) & 1 == 1) {
        // SAFETY: the kernel reads a sigaction of 32 bytes and writes none. For the two signals that
        // cannot be changed it answers an error, and they need no change.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number as c_long,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8_usize,
            );
        }
    }
}

fn reset_mask() {
    let empty = 0_u64;
    // SAFETY: the kernel reads a mask of 8 bytes and writes none. It cannot fail with these arguments.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const empty,
            std::ptr::null_mut::<u64>(),
            8_usize,
        );
    }
}

fn arrange_streams(plan: &Plan) -> Result<(), Failure> {
    let count = plan.streams.len() as u32;
    let highest = plan.streams.iter().max().map_or(count, |fd| fd.unsigned_abs());
    if plan.shared_files {
        // Until this has worked the table is the guard's, and nothing may be changed in it.
        close_range(highest + 1, u32::MAX, CLOSE_RANGE_UNSHARE).map_err(at(SpawnStep::Streams, 0))?;
    }
    for (target, source) in plan.streams.iter().enumerate() {
        duplicate(*source, target as i32).map_err(at(SpawnStep::Streams, target))?;
    }
    match close_range(count, u32::MAX, 0) {
        // Kernels before 5.9: every descriptor of the guard closes itself when the program starts.
        Err(Errno::NOSYS) | Ok(()) => Ok(()),
        Err(errno) => Err(at(SpawnStep::Streams, 0)(errno)),
    }
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: the table of open files is this process's own, or becomes it by this call, and nothing in
    // this process relies on a descriptor that is closed here.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    checked(answer)
}

fn duplicate(source: i32, target: i32) -> Result<(), Errno> {
    // SAFETY: the table of open files is this process's own by now; what the target was is not used.
    let answer = unsafe { libc::syscall(libc::SYS_dup3, source, target, 0) };
    checked(answer)
}

fn set_oom_score(score: &[u8]) -> Result<(), Errno> {
    use rustix::fs::{CWD, Mode, OFlags};
    let file = rustix::fs::openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, score).map(drop)
}

fn mount_read_only(mounts: &Mounts) -> Result<(), Failure> {
    let step = SpawnStep::ReadOnlyPaths;
    // SAFETY: a mount namespace of its own changes what paths mean to this process only; it holds no
    // descriptor of a folder that it would use afterwards.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(at(step, 0))?;
    // What is mounted here must not show up in the namespace that it was copied from.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", private).map_err(at(step, 0))?;
    let first_writable = mounts.read_only.len();
    for (index, path) in mounts.writable.iter().enumerate() {
        let path = path.as_c_str();
        rustix::mount::mount_bind_recursive(path, path).map_err(at(step, first_writable + index))?;
    }
    for (index, path) in mounts.read_only.iter().enumerate() {
        make_read_only(path).map_err(at(step, index))?;
    }
    for (index, path) in mounts.writable.iter().enumerate() {
        set_mount(path, 0, MOUNT_ATTR_RDONLY).map_err(at(step, first_writable + index))?;
    }
    Ok(())
}

/// Attributes belong to mounts, so a path that is none is made one first.
fn make_read_only(path: &CStr) -> Result<(), Errno> {
    match set_mount(path, MOUNT_ATTR_RDONLY, 0) {
        Err(Errno::INVAL) => {
            rustix::mount::mount_bind_recursive(path, path)?;
            set_mount(path, MOUNT_ATTR_RDONLY, 0)
        }
        done => done,
    }
}

/// Sets and clears attributes of the mount at `path` and all below it.
fn set_mount(path: &CStr, set: u64, clear: u64) -> Result<(), Errno> {
    let attributes = MountAttributes { set, clear, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is a C string, and the kernel reads the attributes, whose size is told, and writes
    // nothing.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    checked(answer)
}

/// Bounding set, groups, user, capabilities: each step still has the right that it needs, and the last one
/// leaves nothing to regain.
fn change_account(plan: &Plan) -> Result<(), Failure> {
    let step = SpawnStep::Capabilities;
    if let Some(capabilities) = &plan.capabilities {
        for one in &capabilities.dropped_one_by_one {
            rustix::thread::remove_capability_from_bounding_set(*one).map_err(at(step, 0))?;
        }
        rustix::thread::set_keep_capabilities(true).map_err(at(step, 0))?;
    }
    if let Some(account) = &plan.account {
        rustix::thread::set_thread_groups(&account.groups).map_err(at(SpawnStep::Groups, 0))?;
        let gid = account.gid;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(at(SpawnStep::Groups, 1))?;
        let uid = account.uid;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(at(SpawnStep::User, 0))?;
    }
    plan.capabilities.as_ref().map_or(Ok(()), keep_only)
}

fn keep_only(capabilities: &Capabilities) -> Result<(), Failure> {
    let step = SpawnStep::Capabilities;
    let kept = capabilities.kept;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, sets).map_err(at(step, 1))?;
    // Ambient ones outlive the start of a program that has no file capabilities.
    for one in &capabilities.kept_one_by_one {
        rustix::thread::configure_capability_in_ambient_set(*one, true).map_err(at(step, 2))?;
    }
    rustix::thread::set_keep_capabilities(false).map_err(at(step, 0))
}

/// Writes this process's number as ten digits at the end of `LISTEN_PID=0000000000`.
fn write_own_number(text: *mut libc::c_char) {
    const KEY_BYTES: usize = "LISTEN_PID=".len();
    let mut number = rustix::process::getpid().as_raw_nonzero().get();
    for place in (0..10).rev() {
        let digit = (number % 10) as libc::c_char + b'0' as libc::c_char;
        number /= 10;
        let target = text.wrapping_add(KEY_BYTES + place);
        // SAFETY: the text is the plan's own and has ten digits behind the key; nobody reads it before
        // this process has become the program.
        unsafe { target.write(digit) };
    }
}

fn checked(answer: c_long) -> Result<(), Errno> {
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
