//! `execve` in place, and the trial before it.

use super::{limits, proc};
use crate::succession::{Heard, MESSAGE_BYTES_MAX, Trial};
use crate::{Error, signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a trial that was asked to let go may take: its ledger is written to the disk meanwhile.
const DISMISSED_WITHIN: Duration = Duration::from_secs(2);

/// How long the kernel may take to end a process that was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

impl Line {
    pub(crate) fn of_stdin() -> Result<Line, Error> {
        let failed = |source: io::Error| Error::io("take the line to the guard from standard input", source);
        let line = look_at(io::stdin().as_fd()).map_err(failed)?;
        let nothing = std::fs::File::open("/dev/null").map_err(failed)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|errno| failed(errno.into()))?;
        Ok(line)
    }

    pub(crate) fn of_number(number: u32) -> Result<Line, Error> {
        let failed =
            |source: io::Error| Error::io(format!("take the line to the trial from descriptor {number}"), source);
        let number = RawFd::try_from(number).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        // SAFETY: fcntl with F_GETFD only asks whether the number is open, and touches no memory.
        if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            return Err(failed(io::Error::from_raw_os_error(libc::EBADF)));
        }
        // SAFETY: it is open, and borrowed for this call alone; who was started with its number closes it nowhere else.
        let given = unsafe { BorrowedFd::borrow_raw(number) };
        let line = look_at(given).map_err(failed)?;
        // The one that was given stays open for the life of this process; what is started does not get it.
        rustix::io::fcntl_setfd(given, FdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        Ok(line)
    }

    pub(crate) fn say(&self, text: &str) -> Result<(), Error> {
        let mut end = text.len().min(MESSAGE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = send(&self.0, text.get(..end).unwrap_or_default().as_bytes(), flags);
        sent.map(drop).map_err(|errno| Error::io("speak to the other end of the line", errno))
    }

    pub(crate) fn hear(&self, within: Duration) -> Result<Heard, Error> {
        let failed = |errno: rustix::io::Errno| Error::io("listen to the other end of the line", errno);
        let until = Instant::now() + within;
        let mut bytes = vec![0_u8; MESSAGE_BYTES_MAX];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Ok(Heard::Nothing),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
                Ok(_) => {}
            }
            match recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::Closed),
                Ok((_, length)) => {
                    let text = bytes.get(..length).unwrap_or_default();
                    return Ok(Heard::Said(String::from_utf8_lossy(text).into_owned()));
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

/// A descriptor of its own for a line, if it is one.
fn look_at(given: BorrowedFd<'_>) -> io::Result<Line> {
    if rustix::net::sockopt::socket_type(given)? != SocketType::SEQPACKET {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is another kind of socket"));
    }
    Ok(Line(rustix::io::fcntl_dupfd_cloexec(given, 3)?))
}

pub(crate) fn begin_trial(program: &Path, args: &[OsString]) -> Result<Trial, Error> {
    let failed = |source: io::Error| Error::io(format!("start {}", program.display()), source);
    let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| failed(errno.into()))?;
    let mut command = Command::new(program);
    command.arg0(own_name()).args(args).stdin(Stdio::from(its)).process_group(0);
    let given_back = limits::as_started();
    // SAFETY: between fork and exec only system calls are made that may be made there, on values of this closure.
    unsafe { command.pre_exec(move || given_back.hold()) };
    let child = command.spawn().map_err(failed)?;
    Ok(Trial { pid: child.id(), line: crate::succession::Line(Line(ours)) })
}

fn own_name() -> OsString {
    std::env::args_os().next().unwrap_or_else(|| "tutela".into())
}

pub(crate) fn become_program(
    program: &Path,
    name: &OsStr,
    line: Option<&crate::succession::Line>,
    args: impl FnOnce(u32) -> Vec<OsString>,
) -> Error {
    let failed = |source: io::Error| Error::io(format!("become {}", program.display()), source);
    // A copy without the mark that closes it: the line itself keeps it, should this fail.
    let carried = line.map(|line| rustix::io::fcntl_dupfd_cloexec(&line.0.0, 3)).transpose();
    let carried = match carried {
        Ok(carried) => carried,
        Err(errno) => return failed(errno.into()),
    };
    if let Some(carried) = &carried
        && let Err(errno) = rustix::io::fcntl_setfd(carried, FdFlags::empty())
    {
        return failed(errno.into());
    }
    let number = carried.as_ref().and_then(|fd| u32::try_from(fd.as_raw_fd()).ok()).unwrap_or_default();
    let words = std::iter::once(name.to_owned()).chain(args(number));
    let words = words.map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>();
    let (Ok(path), Ok(words)) = (CString::new(program.as_os_str().as_bytes()), words) else {
        return failed(io::Error::new(io::ErrorKind::InvalidInput, "a word of its command line holds a zero"));
    };
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // What asks a guard for something waits for the next one instead of ending what is between the two. The standard
    // library's `exec` would let it through.
    let _held = signals::calm();
    let (given_back, own) = (limits::as_started(), limits::as_they_are());
    if let Err(source) = given_back.hold() {
        return failed(source);
    }
    // SAFETY: the path and each word are texts that end in a zero, the list of words ends in a null, and all of them live
    // until the call has failed; if it does not fail there is nobody left who could use them.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
    let source = io::Error::last_os_error();
    let _ = own.hold();
    failed(source)
}

pub(crate) fn program_of(pid: u32) -> PathBuf {
    // The kernel's own link finds the file also when another one has its name. The name is better where it holds: it is
    // what the process table shows.
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let named = std::fs::read_link(&link).ok().filter(|named| crate::files::is_same(named, &link));
    named.unwrap_or(link)
}

pub(crate) fn collect_ended(pid: u32) -> bool {
    let mut is_among = false;
    while let Ok(Some((ended, _))) = rustix::process::wait(WaitOptions::NOHANG) {
        is_among |= ended.as_raw_pid().unsigned_abs() == pid;
    }
    is_among
}

pub(crate) fn dismiss(pid: u32) -> Result<(), Error> {
    let failed = |errno: rustix::io::Errno| Error::io(format!("end the guard on trial, process {pid}"), errno);
    let child = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_child(pid));
    let Some(child) = child else { return Err(failed(rustix::io::Errno::CHILD)) };
    let process = pidfd_open(child, PidfdFlags::empty()).map_err(failed)?;
    for (signal, within) in [(Signal::TERM, DISMISSED_WITHIN), (Signal::KILL, KILLED_WITHIN)] {
        pidfd_send_signal(&process, signal).map_err(failed)?;
        let within = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
        // An interruption makes it impatient, no more.
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&within)).is_ok_and(|ready| ready > 0) {
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
            return Ok(());
        }
    }
    Err(failed(rustix::io::Errno::TIMEDOUT))
}

pub(crate) fn is_child(pid: u32) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.parent == std::process::id())
}

pub(crate) fn parent() -> Option<u32> {
    rustix::process::getppid().map(|pid| pid.as_raw_pid().unsigned_abs())
}
