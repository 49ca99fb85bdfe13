//! The pipe between guard and safe, at either end: one message at a time, with a bound to each wait.

use super::message::{self, MESSAGE_BYTES_MAX};
use crate::platform::container::members;
use crate::platform::security::{Descriptor, Token};
use crate::platform::watch::event;
use crate::platform::wide::{done, terminated};
use crate::safe::link::MESSAGE_WAIT;
use crate::safe::message::{Message, damaged};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, ReadFile,
    SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_MESSAGE, PIPE_WAIT, SetNamedPipeHandleState,
};
use windows_sys::Win32::System::Threading::{
    INFINITE, PROCESS_ACCESS_RIGHTS, PROCESS_DUP_HANDLE, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, WaitForSingleObject,
};

/// How much each side can write before the other has read it: a message and some.
const BUFFER_BYTES: u32 = 64 * 1024;

/// One end of the pipe.
#[derive(Debug)]
pub(super) struct Line {
    pipe: OwnedHandle,
    /// For the one operation that is under way.
    event: OwnedHandle,
}

/// Whether an error has this number.
pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

fn is_end(error: &io::Error) -> bool {
    [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED].iter().any(|code| is(error, *code))
}

fn millis(within: Option<Duration>) -> u32 {
    within.map_or(INFINITE, |within| u32::try_from(within.as_millis()).unwrap_or(INFINITE - 1))
}

impl Line {
    /// The safe's end, which only this account can reach. Refused where there is a pipe of this name.
    pub(super) fn listen(name: &Path) -> io::Result<Line> {
        let name = terminated(name)?;
        let descriptor = Descriptor::from_sddl(&format!("D:P(A;;FA;;;{})", Token::own()?.user()?))?;
        let attributes = descriptor.attributes();
        let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
        let mode = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
        // SAFETY: the name ends in a zero; it and the attributes with their descriptor live through the call.
        let pipe = unsafe {
            CreateNamedPipeW(name.as_ptr(), access, mode, 1, BUFFER_BYTES, BUFFER_BYTES, 0, &raw const attributes)
        };
        Line::of(pipe)
    }

    /// The guard's end, and the process of the safe, which has to be this account's. It may be ended through the handle.
    pub(super) fn dial(name: &Path) -> io::Result<(Line, OwnedHandle)> {
        let name = terminated(name)?;
        // Whoever answers may learn who we are, and not act in our name.
        let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
        let (access, none) = (GENERIC_READ | GENERIC_WRITE, std::ptr::null_mut());
        // SAFETY: the name ends in a zero and lives through the call; there are no attributes and no template (null).
        let pipe = unsafe { CreateFileW(name.as_ptr(), access, 0, std::ptr::null(), OPEN_EXISTING, flags, none) };
        let line = Line::of(pipe)?;
        let mode = PIPE_READMODE_MESSAGE;
        // SAFETY: the pipe is open, and the number lives through the call; the others are not set (null).
        done(unsafe {
            SetNamedPipeHandleState(line.pipe.as_raw_handle(), &raw const mode, std::ptr::null(), std::ptr::null())
        })?;
        let mut pid = 0;
        // SAFETY: the pipe is open, and the answer's place is live and ours.
        done(unsafe { GetNamedPipeServerProcessId(line.pipe.as_raw_handle(), &raw mut pid) })?;
        let process = own_process(pid, PROCESS_TERMINATE)?;
        Ok((line, process))
    }

    fn of(pipe: windows_sys::Win32::Foundation::HANDLE) -> io::Result<Line> {
        if pipe == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it, and nobody else knows of it.
        let pipe = unsafe { OwnedHandle::from_raw_handle(pipe) };
        Ok(Line { pipe, event: event()? })
    }

    /// Waits until somebody has connected; asks `each` after every `pause` whether it goes on. Answers whether somebody has.
    pub(super) fn meet(&self, pause: Duration, mut each: impl FnMut() -> bool) -> io::Result<bool> {
        let mut overlapped = self.operation();
        // SAFETY: the pipe is open; the structure stays where it is until the end of this function, before which it is ended.
        let told = done(unsafe { ConnectNamedPipe(self.pipe.as_raw_handle(), &raw mut overlapped) });
        match told {
            Ok(()) => {}
            Err(error) if is(&error, ERROR_PIPE_CONNECTED) => return Ok(true),
            Err(error) if is(&error, ERROR_IO_PENDING) => {}
            Err(error) => return Err(error),
        }
        while !self.has_ended(Some(pause)) {
            if !each() {
                return Ok(self.end_of(&overlapped, false).is_ok());
            }
        }
        self.end_of(&overlapped, true).map(|_| true)
    }

    /// The process at the other end of the safe's side, with the right to copy handles; it has to be this account's.
    pub(super) fn guest(&self) -> io::Result<OwnedHandle> {
        let mut pid = 0;
        // SAFETY: the pipe is open, and the answer's place is live and ours.
        done(unsafe { GetNamedPipeClientProcessId(self.pipe.as_raw_handle(), &raw mut pid) })?;
        own_process(pid, PROCESS_DUP_HANDLE)
    }

    /// Lets the one at the other end go.
    pub(super) fn part(&self) {
        // SAFETY: the pipe is open for the call. That there is nobody is as good.
        unsafe { DisconnectNamedPipe(self.pipe.as_raw_handle()) };
    }

    /// Sends a message to the safe and waits until it has acted on it.
    pub(super) fn tell(&self, message: &Message) -> io::Result<()> {
        self.send(&message::bytes(message)?, MESSAGE_WAIT)?;
        match self.receive(Some(MESSAGE_WAIT))? {
            Some(bytes) if matches!(message::read(&bytes, message::given)?, Message::Done) => Ok(()),
            Some(_) => Err(damaged()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends one message, whole or not at all.
    pub(super) fn send(&self, bytes: &[u8], within: Duration) -> io::Result<()> {
        let mut overlapped = self.operation();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (pipe, written) = (self.pipe.as_raw_handle(), std::ptr::null_mut());
        // SAFETY: the pipe is open; the bytes and the structure stay where they are until the operation has ended, which
        // is waited for before this function returns.
        let told = done(unsafe { WriteFile(pipe, bytes.as_ptr(), length, written, &raw mut overlapped) });
        self.finish(told, &overlapped, Some(within)).map(drop)
    }

    /// Waits for one message; `None`: the other side is gone.
    pub(super) fn receive(&self, within: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0_u8; MESSAGE_BYTES_MAX];
        let mut overlapped = self.operation();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (pipe, read) = (self.pipe.as_raw_handle(), std::ptr::null_mut());
        // SAFETY: as above, and the bytes are ours to be written to.
        let told = done(unsafe { ReadFile(pipe, bytes.as_mut_ptr().cast(), length, read, &raw mut overlapped) });
        match self.finish(told, &overlapped, within) {
            Ok(length) => {
                bytes.truncate(length);
                Ok(Some(bytes))
            }
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn operation(&self) -> OVERLAPPED {
        OVERLAPPED { hEvent: self.event.as_raw_handle(), ..OVERLAPPED::default() }
    }

    fn finish(&self, begun: io::Result<()>, overlapped: &OVERLAPPED, within: Option<Duration>) -> io::Result<usize> {
        match begun {
            Err(error) if !is(&error, ERROR_IO_PENDING) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let in_time = self.has_ended(within);
        self.end_of(overlapped, in_time)
    }

    fn has_ended(&self, within: Option<Duration>) -> bool {
        // SAFETY: the event is open for the call.
        unsafe { WaitForSingleObject(self.event.as_raw_handle(), millis(within)) == WAIT_OBJECT_0 }
    }

    /// How the operation ended. One that has not is ended.
    fn end_of(&self, overlapped: &OVERLAPPED, in_time: bool) -> io::Result<usize> {
        let (pipe, mut moved) = (self.pipe.as_raw_handle(), 0_u32);
        if !in_time {
            // SAFETY: the structure is that of the operation under way.
            unsafe { CancelIoEx(pipe, overlapped) };
        }
        // SAFETY: the structure is that of the operation, the number is ours. It waits until the kernel has let go of it.
        match done(unsafe { GetOverlappedResult(pipe, overlapped, &raw mut moved, 1) }) {
            Ok(()) => Ok(usize::try_from(moved).unwrap_or(0)),
            Err(_) if !in_time => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

/// Opens a process of this account; another account's is refused.
fn own_process(pid: u32, rights: PROCESS_ACCESS_RIGHTS) -> io::Result<OwnedHandle> {
    let process = members::open(pid, rights | PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)?;
    if Token::of_process(&process)?.user()? != Token::own()?.user()? {
        return Err(io::Error::from_raw_os_error(ERROR_ACCESS_DENIED.cast_signed()));
    }
    Ok(process)
}
