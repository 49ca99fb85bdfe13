//! The guard's own signals.

use super::bell;
use super::watch::Watched;
use crate::Error;
use crate::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};

const TAKEN_OVER: [i32; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

static OPENED: AtomicBool = AtomicBool::new(false);

/// The stream of them.
#[derive(Debug)]
pub(crate) struct Signals(Watched);

impl Signals {
    pub(crate) fn open() -> Result<Signals, Error> {
        if OPENED.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused(
                "the guard's signals are taken over already, and one stream has them all".into(),
            ));
        }
        bell::guard(&TAKEN_OVER).and_then(Watched::reading).map(Signals)
    }

    pub(crate) async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = bell::take_pending().and_then(Signal::from_number) {
                return Ok(signal);
            }
            // A signal that comes before this line has rung, so the wait ends at once.
            let heard = self.0.when_readable(bell::silence).await;
            heard.map_err(|source| Error::io("wait for a signal", source))?;
        }
    }
}

/// It was the only stream.
impl Drop for Signals {
    fn drop(&mut self) {
        OPENED.store(false, Ordering::Release);
    }
}
