//! A connection over a pipe, at either end.
//!
//! A pipe has no half-close. Shutting the writing side down refuses further writes at this end; the other end
//! sees the end when the whole connection is dropped. What was written before is read by the other end even
//! then. HTTP does not need more: it knows from its own framing where a message ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer};
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED};

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pipe: Pipe,
    /// What had to be read to learn who the client is.
    first: Vec<u8>,
    shut: bool,
}

#[derive(Debug)]
enum Pipe {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl Stream {
    pub(super) fn server(pipe: NamedPipeServer, first: Vec<u8>) -> Stream {
        Stream { pipe: Pipe::Server(pipe), first, shut: false }
    }

    pub(super) fn client(pipe: NamedPipeClient) -> Stream {
        Stream { pipe: Pipe::Client(pipe), first: Vec::new(), shut: false }
    }
}

/// Whether an error only says that the other end is gone.
pub(super) fn is_the_end(error: &io::Error) -> bool {
    [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED]
        .iter()
        .any(|code| error.raw_os_error() == Some(code.cast_signed()))
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(into.remaining());
            into.put_slice(&self.first[..length]);
            self.first.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let read = match &mut self.pipe {
            Pipe::Server(pipe) => Pin::new(pipe).poll_read(context, into),
            Pipe::Client(pipe) => Pin::new(pipe).poll_read(context, into),
        };
        match read {
            // The other end closes whenever it likes; that is the end, not an accident.
            Poll::Ready(Err(error)) if is_the_end(&error) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            // A write of nothing would look like the end to the reader.
            return Poll::Ready(Ok(0));
        }
        match &mut self.pipe {
            Pipe::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Pipe::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    /// What is written is the other end's to read at once; nothing waits here.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}
