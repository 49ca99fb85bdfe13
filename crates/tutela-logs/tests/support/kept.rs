//! Memory and sluices of the OS, as a tray takes them.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll};
use tutela_logs::tray::{Memory, Sluice};
use tutela_os::lasting::Lasting;
use tutela_os::sluice;

/// As [`Sluice`] and [`Memory`].
pub struct Real<T>(pub T);

impl Memory for Real<Lasting> {
    fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }

    fn release(&mut self, part: Range<usize>) {
        self.0.release(part);
    }

    fn is_blank(&self) -> bool {
        self.0.is_blank()
    }
}

impl Sluice for Real<sluice::Sluice> {
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.0.poll_fill(cx, most)
    }

    fn filled(&self) -> io::Result<usize> {
        self.0.filled()
    }

    fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.drain(into)
    }
}
