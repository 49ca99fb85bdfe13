//! `execve` in place, and the trial before it.

use super::signals::take_waiting;
use super::{limits, proc};
use crate::succession::{Heard, MESSAGE_BYTES_MAX, Trial};
use crate::{Error, signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType, recvmsg,
    send, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a trial that was asked to let go may take: its ledger is written to the disk meanwhile.
const DISMISSED_WITHIN: Duration = Duration::from_secs(2);

/// How long the kernel may take to end a process that was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// What a program of this OS begins with.
const PROGRAM_MAGIC: &[u8; 4] = b"\x7fELF";

/// What the line says of a program that was never begun; the error's number follows.
const NOT_BEGUN: [u8; 1] = *b"\0";

/// One end. `speaker`: the only process whose word counts here.
#[derive(Debug)]
pub(crate) struct Line {
    end: OwnedFd,
    speaker: Option<u32>,
}

impl Line {
    pub(crate) fn of_stdin() -> Result<Line, Error> {
        let failed = |source: io::Error| Error::io("take the line to the guard from standard input", source);
        let end = look_at(io::stdin().as_fd()).map_err(failed)?;
        let nothing = std::fs::File::open("/dev/null").map_err(failed)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|errno| failed(errno.into()))?;
        Ok(Line { end, speaker: None })
    }

    pub(crate) fn of_number(number: u32, speaker: u32) -> Result<Line, Error> {
        let failed =
            |source: io::Error| Error::io(format!("take the line to the trial from descriptor {number}"), source);
        let number = RawFd::try_from(number).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        // SAFETY: fcntl with F_GETFD only asks whether the number is open, and touches no memory.
        if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            return Err(failed(io::Error::from_raw_os_error(libc::EBADF)));
        }
        // SAFETY: it is open, and borrowed for this call alone; who was started with its number closes it nowhere else.
        let given = unsafe { BorrowedFd::borrow_raw(number) };
        let end = look_at(given).map_err(failed)?;
        // The one that was given stays open for the life of this process; what is started does not get it.
        rustix::io::fcntl_setfd(given, FdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        Ok(Line { end, speaker: Some(speaker) })
    }

    pub(crate) fn say(&self, text: &str) -> Result<(), Error> {
        let mut end = text.len().min(MESSAGE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = send(&self.end, text.get(..end).unwrap_or_default().as_bytes(), flags);
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
            match poll(&mut [PollFd::new(&self.end, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Ok(Heard::Nothing),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
                Ok(_) => {}
            }
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let length = match recvmsg(&self.end, &mut into, &mut beside, RecvFlags::DONTWAIT) {
                Ok(got) if got.bytes > 0 => got.bytes,
                Ok(_) | Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::Closed),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let said_by = beside.drain().find_map(|it| match it {
                RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_pid().unsigned_abs()),
                _ => None,
            });
            if let (Some(speaker), Some(other)) = (self.speaker, said_by.filter(|by| self.speaker != Some(*by))) {
                return Err(Error::Refused(format!(
                    "the process {other} speaks for it, and {speaker} was begun: name the program itself, not what starts it"
                )));
            }
            let text = bytes.get(..length).unwrap_or_default();
            if let Some(code) = text.strip_prefix(&NOT_BEGUN) {
                let code = code.first_chunk().map_or(libc::EIO, |code| i32::from_ne_bytes(*code));
                return Err(Error::io("execute it", io::Error::from_raw_os_error(code)));
            }
            return Ok(Heard::Said(String::from_utf8_lossy(text).into_owned()));
        }
    }
}

/// A descriptor of its own for a line, if it is one.
fn look_at(given: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if rustix::net::sockopt::socket_type(given)? != SocketType::SEQPACKET {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is another kind of socket"));
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(given, 3)?)
}

/// The opened file and its place, for words.
#[derive(Debug)]
pub(crate) struct Candidate {
    file: File,
    path: PathBuf,
}

impl Candidate {
    pub(crate) fn open(path: &Path) -> Result<Candidate, Error> {
        let failed = |source: io::Error| Error::io(format!("open {}", path.display()), source);
        // A pipe is not waited for.
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
        let mut magic = [0; PROGRAM_MAGIC.len()];
        let is_program = file.metadata().map_err(failed)?.is_file()
            && file.read_exact(&mut magic).is_ok()
            && magic == *PROGRAM_MAGIC;
        if !is_program {
            return Err(Error::Refused(format!(
                "{} is no program itself; of a script, its interpreter would be the guard",
                path.display()
            )));
        }
        Ok(Candidate { file, path: path.to_owned() })
    }

    pub(crate) fn is_run_by(&self, pid: u32) -> bool {
        let place = |about: std::fs::Metadata| (about.dev(), about.ino());
        let runs = std::fs::metadata(program_of(pid)).map(place);
        self.file.metadata().map(place).is_ok_and(|own| runs.is_ok_and(|runs| runs == own))
    }
}

/// Words for `execv`, made before there is a process that could not allocate any.
struct Words {
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers lead into the texts beside them, which nobody changes and which go where they go.
unsafe impl Send for Words {}
// SAFETY: as above; they are only read.
unsafe impl Sync for Words {}

impl Words {
    fn of(words: impl Iterator<Item = OsString>) -> io::Result<Words> {
        let texts = words.map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>();
        let texts = texts
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a word of its command line holds a zero"))?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Words { _texts: texts, pointers })
    }

    /// Becomes the program; returns only when it did not work. Never by way of a shell, as `execvp` would.
    fn become_it(&self, path: &CString) -> io::Error {
        // SAFETY: the path and each word are texts that end in a zero, the list of words ends in a null, and all of them live
        // until the call has failed; if it does not fail there is nobody left who could use them.
        unsafe { libc::execv(path.as_ptr(), self.pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}

pub(crate) fn begin_trial(program: &Candidate, args: &[OsString]) -> Result<Trial, Error> {
    let failed = |source: io::Error| Error::io(format!("start {}", program.path.display()), source);
    let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| failed(errno.into()))?;
    set_socket_passcred(&ours, true).map_err(|errno| failed(errno.into()))?;
    // Not by its name, under which there may be something else by now.
    let path =
        CString::new(format!("/proc/self/fd/{}", program.file.as_raw_fd())).map_err(|zero| failed(zero.into()))?;
    let words = Words::of(std::iter::once(own_name()).chain(args.iter().cloned())).map_err(failed)?;
    let mut command = Command::new(&program.path);
    command.stdin(Stdio::from(its)).process_group(0);
    let given_back = limits::as_started();
    // It ends here in any case, and says why on its line: the standard library would wait for it, and whoever collects this
    // guard's children may have been first.
    let begin = move || {
        let error = given_back.hold().map_or_else(|error| error, |()| words.become_it(&path));
        let [a, b, c, d] = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
        let message = [NOT_BEGUN[0], a, b, c, d];
        // SAFETY: the bytes are of this frame, and as many as it says.
        unsafe { libc::write(libc::STDIN_FILENO, message.as_ptr().cast(), message.len()) };
        // SAFETY: it ends this process and touches nothing.
        unsafe { libc::_exit(127) }
    };
    // SAFETY: between fork and exec only system calls are made that may be made there, on values of this closure.
    unsafe { command.pre_exec(begin) };
    let child = command.spawn().map_err(failed)?;
    let line = Line { end: ours, speaker: Some(child.id()) };
    Ok(Trial { pid: child.id(), line: crate::succession::Line(line) })
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
    let carried = line.map(|line| rustix::io::fcntl_dupfd_cloexec(&line.0.end, 3)).transpose();
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
    let words = match Words::of(std::iter::once(name.to_owned()).chain(args(number))) {
        Ok(words) => words,
        Err(source) => return failed(source),
    };
    let path = match CString::new(program.as_os_str().as_bytes()) {
        Ok(path) => path,
        Err(zero) => return failed(zero.into()),
    };
    // What asks a guard for something waits for the next one instead of ending what is between the two. The standard
    // library's `exec` would let it through.
    let _held = signals::calm();
    let (given_back, own) = (limits::as_started(), limits::as_they_are());
    if let Err(source) = given_back.hold() {
        return failed(source);
    }
    let source = words.become_it(&path);
    let _ = own.hold();
    failed(source)
}

pub(crate) fn program_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

pub(crate) fn ask_again(signal: crate::process::Signal) {
    if let Some(signal) = Signal::from_named_raw(signal.number()) {
        // To oneself it cannot fail.
        let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    }
}

pub(crate) fn take_name(name: &OsStr) {
    let own = Path::new(name).file_name().and_then(|name| CString::new(name.as_bytes()).ok());
    let named_after_a_link = rustix::thread::name()
        .is_ok_and(|name| name.as_bytes() == b"exe" || name.as_bytes().iter().all(u8::is_ascii_digit));
    if let Some(own) = own.filter(|_| named_after_a_link) {
        // It is only what people see.
        let _ = rustix::thread::set_name(&own);
    }
}

pub(crate) fn pass_on(pid: u32, signal: crate::process::Signal) -> Result<(), Error> {
    let failed = |errno: rustix::io::Errno| Error::io(format!("tell the guard on trial, process {pid}"), errno);
    let (Some(child), Some(signal)) = (own_child(pid), Signal::from_named_raw(signal.number())) else {
        return Err(failed(rustix::io::Errno::CHILD));
    };
    pidfd_open(child, PidfdFlags::empty()).and_then(|process| pidfd_send_signal(&process, signal)).map_err(failed)
}

pub(crate) fn asked_to_end() -> Option<crate::process::Signal> {
    take_waiting(&[crate::process::Signal::TERM, crate::process::Signal::INT, crate::process::Signal::QUIT])
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
    let Some(child) = own_child(pid) else { return Err(failed(rustix::io::Errno::CHILD)) };
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

fn own_child(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_child(pid))
}

pub(crate) fn is_child(pid: u32) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.parent == std::process::id())
}

pub(crate) fn parent() -> Option<u32> {
    rustix::process::getppid().map(|pid| pid.as_raw_pid().unsigned_abs())
}
