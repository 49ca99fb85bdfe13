//! Making the instances of a named pipe, each of which takes one client.

use crate::platform::security::Descriptor;
use crate::platform::wide::done;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use tokio::net::windows::named_pipe::{NamedPipeServer, PipeMode, ServerOptions};
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, GetNamedPipeServerProcessId};

/// What a client may: read, write and wait, but not make instances, which would let it pose as the guard.
/// `FILE_GENERIC_READ` with `FILE_WRITE_DATA`, `FILE_WRITE_EA` and `FILE_WRITE_ATTRIBUTES`.
pub(crate) const CLIENT_RIGHTS: u32 = 0x0012_019b;

/// How many instances wait for a client at a time. Between two turns of the runtime this many can come at
/// once; the next ones are told to try again.
pub(crate) const WAITING: usize = 4;

/// How a pipe's instances are made.
#[derive(Debug, Clone)]
pub(crate) struct Instances {
    /// With `\\.\pipe\` before it.
    pub(crate) name: PathBuf,
    /// Who may do what with it, in the OS's notation.
    pub(crate) sddl: String,
    /// How much each end can write before the other has read it.
    pub(crate) buffer_bytes: u32,
    /// Whether what is written at once is read at once.
    pub(crate) messages: bool,
}

impl Instances {
    /// Makes one, which must be the `first` one of this name or must not. Clients of other computers are
    /// refused by the OS.
    pub(crate) fn open(&self, first: bool) -> io::Result<NamedPipeServer> {
        let descriptor = Descriptor::from_sddl(&self.sddl)?;
        let mut attributes = descriptor.attributes();
        let mut options = ServerOptions::new();
        options
            .first_pipe_instance(first)
            .reject_remote_clients(true)
            .pipe_mode(if self.messages { PipeMode::Message } else { PipeMode::Byte })
            .in_buffer_size(self.buffer_bytes)
            .out_buffer_size(self.buffer_bytes);
        // SAFETY: the pointer is to whole security attributes, whose descriptor lives until the end of the function.
        unsafe { options.create_with_security_attributes_raw(&self.name, (&raw mut attributes).cast()) }
    }

    /// Waits for the client of one.
    pub(crate) async fn client(server: NamedPipeServer) -> io::Result<NamedPipeServer> {
        server.connect().await?;
        Ok(server)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.name
    }
}

/// The process at the client's end, by the word of the OS.
pub(crate) fn client_of(pipe: &impl AsRawHandle) -> Option<u32> {
    let mut pid = 0;
    // SAFETY: the pipe is open for as long as the borrow, and the answer's place is live and ours.
    done(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle().cast(), &raw mut pid) }).ok()?;
    (pid != 0).then_some(pid)
}

/// The process at the server's end, by the word of the OS.
pub(crate) fn server_of(pipe: &impl AsRawHandle) -> Option<u32> {
    let mut pid = 0;
    // SAFETY: the pipe is open for as long as the borrow, and the answer's place is live and ours.
    done(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle().cast(), &raw mut pid) }).ok()?;
    (pid != 0).then_some(pid)
}
