//! Making a process that shares the guard's memory until it becomes the program.
//!
//! The new process runs on a stack of its own while the thread that made it waits (`CLONE_VM` with
//! `CLONE_VFORK`), so no page table is copied; it starts with the guard's table of open files
//! (`CLONE_FILES`) and takes a copy of only its lowest entries, because copying and closing thousands of
//! entries would cost more than everything else. It is put into its control group while it is made.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::io;
use std::ptr::NonNull;

/// A stack for the steps before the program: they use a few hundred bytes, and libraries none.
const STACK_BYTES: usize = 64 * 1024;

// The numbers of the kernel's interface that do not fit into the C library's `int`.
pub(super) const CLEAR_SIGNAL_HANDLERS: u64 = 0x1_0000_0000;
pub(super) const INTO_CONTROL_GROUP: u64 = 0x2_0000_0000;

/// Mapped memory whose lowest page cannot be touched, so that an overrun ends in a fault.
#[derive(Debug)]
pub(super) struct Stack {
    bottom: NonNull<libc::c_void>,
    bytes: usize,
}

// SAFETY: it owns its memory and hands out only an address; whoever runs on it has it exclusively.
unsafe impl Send for Stack {}

impl Stack {
    pub(super) fn new() -> io::Result<Stack> {
        let guard_page = rustix::param::page_size();
        let bytes = STACK_BYTES + guard_page;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a fresh private mapping at an address of the kernel's choice overlaps nothing of ours.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(anywhere, bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        let bottom = NonNull::new(mapped).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let stack = Stack { bottom, bytes };
        // SAFETY: the first page belongs to the mapping above, and nothing points into it.
        unsafe { rustix::mm::mprotect(bottom.as_ptr(), guard_page, MprotectFlags::empty()) }?;
        Ok(stack)
    }

    fn top(&self) -> *mut libc::c_void {
        self.bottom.as_ptr().wrapping_byte_add(self.bytes)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this size, and no process runs on it: whoever did has become a
        // program or ended before the thread that lent it this stack went on.
        let unmapped = unsafe { rustix::mm::munmap(self.bottom.as_ptr(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

/// The kernel's `clone_args` in its first version with control groups.
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Where the kernel writes what it made, before the new process runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// The process descriptor's number.
    pub(super) pidfd: *mut i32,
    /// The process number.
    pub(super) pid: *mut i32,
}

/// What the new process runs. It gets `plan` and never returns.
pub(super) type Entry = extern "C" fn(plan: *mut libc::c_void) -> !;

/// Makes a process with `clone3` that runs `entry(plan)` on `stack`, and waits until it became a program
/// or ended.
///
/// # Safety
/// `plan` points to what `entry` expects and `outcome` to two live integers, all exclusively, until this
/// returns. `entry` calls nothing that allocates, locks, panics or unwinds. Signals are blocked in this
/// thread. `flags` holds `CLONE_VM`, `CLONE_VFORK`, `CLONE_PIDFD` and `CLONE_PARENT_SETTID`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) unsafe fn clone3(
    flags: u64,
    stack: &Stack,
    group: Option<i32>,
    outcome: Outcome,
    entry: Entry,
    plan: *mut libc::c_void,
) -> io::Result<()> {
    let args = CloneArgs {
        flags,
        pidfd: outcome.pidfd.addr() as u64,
        child_tid: 0,
        parent_tid: outcome.pid.addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.bottom.as_ptr().addr() as u64,
        stack_size: stack.bytes as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |fd| u64::from(fd.unsigned_abs())),
    };
    let (address, size) = (&raw const args, size_of::<CloneArgs>());
    // The kernel wrote through these addresses.
    let _ = (outcome.pidfd.expose_provenance(), outcome.pid.expose_provenance(), stack.top());
    // SAFETY: the arguments are live and have the size that is told. The caller vouches for plan, outcome
    // and entry. In the new process the stack pointer is the aligned top of a stack that nobody else uses,
    // and the only thing it does is to call an entry that never returns; in this thread the call returns
    // after that, with only the registers changed that are listed.
    let answer = unsafe { clone3_and_enter(address, size, entry, plan) };
    if answer < 0 { Err(io::Error::from_raw_os_error(i32::try_from(-answer).unwrap_or(libc::EINVAL))) } else { Ok(()) }
}

/// The system call and the fork in the road behind it.
///
/// # Safety
/// As [`clone3`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_and_enter(args: *const CloneArgs, size: usize, entry: Entry, plan: *mut libc::c_void) -> i64 {
    let answer: i64;
    // SAFETY: the caller vouches for the call; the text saves nothing because in this thread it changes
    // nothing but rax, rcx and r11, which the system call instruction itself overwrites.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") args,
            in("rsi") size,
            in("r12") entry,
            in("r13") plan,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// The system call and the fork in the road behind it.
///
/// # Safety
/// As [`clone3`].
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_and_enter(args: *const CloneArgs, size: usize, entry: Entry, plan: *mut libc::c_void) -> i64 {
    let answer: i64;
    // SAFETY: the caller vouches for the call; in this thread the text changes nothing but x0.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x10",
            "blr x9",
            "brk #1",
            "2:",
            inlateout("x0") args => answer,
            in("x1") size,
            in("x8") libc::SYS_clone3,
            in("x9") entry,
            in("x10") plan,
        );
    }
    answer
}

/// There is no text for this processor; the C library's way is taken.
///
/// # Safety
/// None is needed: it makes nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone3(
    _flags: u64,
    _stack: &Stack,
    _group: Option<i32>,
    _outcome: Outcome,
    _entry: Entry,
    _plan: *mut libc::c_void,
) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// The same through the C library's `clone`, for kernels and sandboxes that refuse `clone3`: no process
/// descriptor, no control group. Answers the process number.
///
/// # Safety
/// As [`clone3`], with `entry` being for the C library's calling convention.
pub(super) unsafe fn clone(
    flags: i32,
    stack: &Stack,
    pid: *mut i32,
    entry: extern "C" fn(*mut libc::c_void) -> i32,
    plan: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: the top of the stack is aligned and nobody else runs on it; the caller vouches for the rest.
    let answer = unsafe { libc::clone(entry, stack.top(), flags | libc::SIGCHLD, plan, pid) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
