//! Signal handlers that only ring: each signal of interest makes a descriptor readable.
//!
//! A handler with an event descriptor, and not a blocked signal with a signal descriptor, because the
//! latter needs every thread of the process to block the signal: one thread that a library started too
//! early and the end of a child would be lost. A handler works whichever thread it interrupts. `SA_RESTART`
//! keeps other system calls whole and `SA_NOCLDSTOP` keeps halted children from waking anybody.
//!
//! Handlers and descriptors stay for the life of the process: a handler must never write to a number that
//! has been given to somebody else.

use crate::Error;
use crate::signals::Sender;
use rustix::event::EventfdFlags;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// A descriptor that handlers write to, and its number where a handler can read it.
struct Bell {
    number: AtomicI32,
    fd: OnceLock<OwnedFd>,
}

static CHILD: Bell = Bell { number: AtomicI32::new(-1), fd: OnceLock::new() };
static GUARD: Bell = Bell { number: AtomicI32::new(-1), fd: OnceLock::new() };

/// The guard's own signals that came and were not taken, one bit each.
static PENDING: AtomicU64 = AtomicU64::new(0);

/// Who sent each signal when it last came: the process in the upper half, the user in the lower one, so that a handler
/// writes both at once. 0: no process, as there is none with that number.
static SENDERS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// How a signal says that no process sent it.
const OF_THE_KERNEL: i32 = 0x80;

/// Hangs the bell for ended children and answers a descriptor of it to wait on.
pub(crate) fn children() -> Result<OwnedFd, Error> {
    hang(&CHILD, &[libc::SIGCHLD], on_child as *const () as usize, 0, "hear of children that end")
}

/// Hangs the bell for the guard's own signals and answers a descriptor of it to wait on.
pub(crate) fn guard(signals: &[i32]) -> Result<OwnedFd, Error> {
    hang(&GUARD, signals, on_signal as *const () as usize, libc::SA_SIGINFO, "take over the guard's signals")
}

/// Rings for children although none has ended.
pub(crate) fn ring_for_children() {
    ring(&CHILD);
}

/// Takes the lowest pending signal of the guard.
pub(crate) fn take_pending() -> Option<i32> {
    loop {
        let pending = PENDING.load(Ordering::Acquire);
        if pending == 0 {
            return None;
        }
        let number = pending.trailing_zeros();
        let rest = pending & (pending - 1);
        if PENDING.compare_exchange(pending, rest, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return i32::try_from(number).ok();
        }
    }
}

/// Who sent the guard this signal when it last came.
pub(crate) fn sender_of(signal: i32) -> Option<Sender> {
    let both = SENDERS.get(usize::try_from(signal).ok()?)?.load(Ordering::Acquire);
    let (pid, uid) = (u32::try_from(both >> 32).ok()?, u32::try_from(both & u64::from(u32::MAX)).ok()?);
    (pid != 0).then_some(Sender { uid, pid })
}

/// Empties a bell's descriptor. `WouldBlock` when it did not ring since the last time.
pub(crate) fn silence(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut count = [0_u8; 8];
    rustix::io::read(fd, &mut count).map_err(io::Error::from)?;
    Ok(())
}

fn hang(
    bell: &'static Bell,
    signals: &[i32],
    handler: libc::sighandler_t,
    flags: i32,
    what: &'static str,
) -> Result<OwnedFd, Error> {
    if bell.fd.get().is_none() {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io(what, errno))?;
        // Two threads may both come here; the number is taken from the one descriptor that stays.
        drop(bell.fd.set(fd));
    }
    let fd = bell.fd.get().expect("it was set a line ago and is never unset");
    bell.number.store(fd.as_raw_fd(), Ordering::Release);
    for signal in signals {
        install(*signal, handler, flags).map_err(|source| Error::io(what, source))?;
    }
    rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| Error::io(what, errno))
}

/// `handler` has the form that `flags` say.
fn install(signal: i32, handler: libc::sighandler_t, flags: i32) -> io::Result<()> {
    // SAFETY: a sigaction of zeros is a valid value: default handler, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP | flags;
    // SAFETY: `action` is initialised, outlives the call, and its handler only touches atomics and calls
    // write(2), so it may interrupt anything.
    let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_child(_signal: libc::c_int) {
    ring(&CHILD);
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    if let Some(sender) = usize::try_from(signal).ok().and_then(|number| SENDERS.get(number)) {
        sender.store(packed_sender(info), Ordering::Release);
    }
    if let Some(bit) = u32::try_from(signal).ok().and_then(|number| 1_u64.checked_shl(number)) {
        PENDING.fetch_or(bit, Ordering::AcqRel);
    }
    ring(&GUARD);
}

/// Process and user of a signal's sender in one number; 0 where no process sent it.
fn packed_sender(info: *const libc::siginfo_t) -> u64 {
    // SAFETY: the kernel hands a handler that was installed with SA_SIGINFO a record that lives until it returns; null
    // is what nobody else may pass.
    let Some(info) = (unsafe { info.as_ref() }) else { return 0 };
    if info.si_code >= OF_THE_KERNEL {
        return 0;
    }
    // SAFETY: the record of a signal that a process sent has its process.
    let pid = unsafe { info.si_pid() };
    // SAFETY: and its user.
    let uid = unsafe { info.si_uid() };
    u32::try_from(pid).map_or(0, |pid| u64::from(pid) << 32 | u64::from(uid))
}

/// Safe to call from a signal handler: no allocation, no lock, and rustix leaves `errno` alone because it
/// makes the system call itself.
fn ring(bell: &'static Bell) {
    let number = bell.number.load(Ordering::Acquire);
    if number < 0 {
        return;
    }
    // SAFETY: the number was stored from a descriptor in a static that is never closed.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // It fails only when the counter is full, and then the descriptor is readable already.
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}
