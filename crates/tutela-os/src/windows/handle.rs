//! Handles and sockets that a program is given, and those that outlive the guard.

use crate::platform::wide::done;
use std::fs::File;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle, OwnedSocket, RawHandle};
use std::sync::Arc;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// Of the kinds that Windows has.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    /// A file, pipe or the like.
    File(Arc<OwnedHandle>),
    /// A socket.
    Socket(Arc<OwnedSocket>),
    /// A program that was started: its first process, and the job that holds all of it. For a safe, not for programs.
    Program {
        /// The process, which tells how it ended for as long as it is open.
        process: Arc<OwnedHandle>,
        /// The job, which ends its members with its last handle.
        job: Arc<OwnedHandle>,
    },
}

impl Handle {
    pub(crate) fn from_file(file: File) -> Self {
        Handle::File(Arc::new(file.into()))
    }

    pub(crate) fn from_pipe(pipe: io::PipeReader) -> Self {
        Handle::File(Arc::new(pipe.into()))
    }

    pub(crate) fn from_tcp_listener(listener: TcpListener) -> Self {
        Handle::Socket(Arc::new(listener.into()))
    }

    pub(crate) fn from_udp_socket(socket: UdpSocket) -> Self {
        Handle::Socket(Arc::new(socket.into()))
    }

    /// A copy that a program can inherit, if its start names it. The sockets of Windows itself are handles
    /// of the kernel and are copied as such.
    pub(crate) fn inheritable_copy(&self) -> io::Result<OwnedHandle> {
        match self {
            Handle::File(file) => inheritable_copy(file.as_raw_handle()),
            Handle::Socket(socket) => {
                let number = usize::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
                inheritable_copy(std::ptr::without_provenance_mut(number))
            }
            Handle::Program { .. } => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "no program inherits another one"))
            }
        }
    }
}

/// A copy of an open handle of this process that a new process can inherit.
pub(crate) fn inheritable_copy(handle: RawHandle) -> io::Result<OwnedHandle> {
    let mut copy: RawHandle = std::ptr::null_mut();
    // SAFETY: takes no memory and answers a constant that stands for this process.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the pointer is to a live handle of ours, which is all that is written; a source that is not
    // open is answered with an error.
    done(unsafe { DuplicateHandle(this, handle, this, &raw mut copy, 0, 1, DUPLICATE_SAME_ACCESS) })?;
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedHandle::from_raw_handle(copy) })
}
