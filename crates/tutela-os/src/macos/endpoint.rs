//! No control sockets.

use crate::Error;
use crate::absent::absent;
use crate::endpoint::{BindError, Found, Peer};
use crate::paths::Paths;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// There is none.
#[derive(Debug)]
pub(crate) enum Listener {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Stream {}

impl Listener {
    pub(crate) fn bind(_path: &Path) -> Result<Listener, BindError> {
        Err(BindError::Failed(absent("control sockets")))
    }

    pub(crate) async fn accept(&self) -> Result<(Stream, Peer), Error> {
        match *self {}
    }

    pub(crate) fn path(&self) -> &Path {
        match *self {}
    }
}

pub(crate) async fn connect(_path: &Path) -> Result<Stream, Error> {
    Err(absent("control sockets"))
}

pub(crate) fn holder(_path: &Path) -> Option<u32> {
    None
}

pub(crate) fn list(_paths: &Paths) -> Result<Vec<Found>, Error> {
    Err(absent("control sockets"))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _context: &mut Context<'_>, _into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, _bytes: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
