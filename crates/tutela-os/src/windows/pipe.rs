//! Pipes for output: a named pipe with one instance and a name that is never told, because only those can be
//! read asynchronously on Windows. The write end is an ordinary, blocking handle, as programs expect.

use super::handle::Handle;
use super::wide::terminated;
use crate::Error;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::windows::named_pipe::NamedPipeServer;
use windows_sys::Win32::Foundation::{ERROR_PIPE_NOT_CONNECTED, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_READ_ATTRIBUTES, OPEN_EXISTING,
    PIPE_ACCESS_INBOUND, SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT,
};

/// What a pipe holds when nobody says otherwise: as much as one of Linux.
const CAPACITY: u32 = 65_536;

/// How often another name is tried when one is taken, or somebody else was quicker to connect.
const NAMES_TRIED: usize = 8;

/// A read end that a runtime watches.
#[derive(Debug)]
pub(crate) struct ReadEnd(NamedPipeServer);

/// A read end without a runtime.
#[derive(Debug)]
pub(crate) struct IdleReadEnd(OwnedHandle);

pub(crate) fn output_pipe(capacity: Option<usize>) -> Result<(ReadEnd, Handle), Error> {
    let (read, write) = idle_output_pipe(capacity)?;
    Ok((read.activate()?, write))
}

pub(crate) fn idle_output_pipe(capacity: Option<usize>) -> Result<(IdleReadEnd, Handle), Error> {
    let capacity = capacity.map_or(CAPACITY, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    let mut tried = 0;
    loop {
        tried += 1;
        match pair(capacity) {
            Ok((read, write)) => return Ok((IdleReadEnd(read), Handle::from_file(File::from(write)))),
            Err(error) if tried >= NAMES_TRIED => {
                return Err(Error::io("make a pipe for a program's output", error));
            }
            Err(_) => {}
        }
    }
}

/// A read end of ours and the write end that is connected to it.
fn pair(capacity: u32) -> io::Result<(OwnedHandle, OwnedHandle)> {
    let name = terminated(name())?;
    let mode = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
    let access = PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
    // SAFETY: the name ends in a zero and lives through the call; without attributes (null) the handle is not
    // inherited and the pipe belongs to this account.
    let read = unsafe { CreateNamedPipeW(name.as_ptr(), access, mode, 1, 0, capacity, 0, std::ptr::null()) };
    if read == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else knows of it.
    let read = unsafe { OwnedHandle::from_raw_handle(read) };
    // Programs ask their standard output what it is, which takes the right to read attributes.
    let access = GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    let flags = SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS;
    let (none, no_template) = (std::ptr::null(), std::ptr::null_mut());
    // SAFETY: as for the other end.
    let write = unsafe { CreateFileW(name.as_ptr(), access, 0, none, OPEN_EXISTING, flags, no_template) };
    if write == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok((read, unsafe { OwnedHandle::from_raw_handle(write) }))
}

/// A name that nobody else has and nobody guesses.
fn name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Seeded by the OS's random numbers, anew for every value.
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!(r"\\.\pipe\tutela-output-{}-{count}-{random:016x}", std::process::id())
}

impl From<IdleReadEnd> for OwnedHandle {
    fn from(end: IdleReadEnd) -> Self {
        end.0
    }
}

impl IdleReadEnd {
    pub(crate) fn activate(self) -> Result<ReadEnd, Error> {
        let raw = self.0.as_raw_handle();
        // SAFETY: it is the overlapped read end of a named pipe that is open and ours; it is given away below,
        // or else closed by whoever was given it.
        let server = unsafe { NamedPipeServer::from_raw_handle(raw) };
        // Owned by the other side from here on, also when it failed.
        let _ = self.0.into_raw_handle();
        server.map(ReadEnd).map_err(|source| Error::io("watch the pipe of a program's output", source))
    }
}

impl AsyncRead for ReadEnd {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, into);
        match read {
            // Every copy of the write end is closed: the end, and no error.
            Poll::Ready(Err(error)) if is_end(&error) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED.cast_signed())
}
