//! Asking a program to stop in the ways that Windows has, and what becomes of it elsewhere.

use crate::{Error, platform};
use std::ffi::OsString;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// A way to ask a program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Ctrl-C on the program's console. Elsewhere: the signal INT.
    CtrlC,
    /// Ctrl-Break on the program's console. Elsewhere: the signal INT.
    CtrlBreak,
    /// A close to every window of the tree. Elsewhere: the signal TERM.
    CloseWindow,
}

/// What became of a request that may have been heard.
#[derive(Debug)]
pub enum Delivery {
    /// It was made, or the program had ended already. Whether the program does as it is asked, its end tells.
    Made,
    /// Whoever carried it over did not say how that went. The program may have heard it.
    #[allow(dead_code, reason = "only where somebody has to carry a request over")]
    Unsure(Error),
}

/// A request that is on its way: a future of how it came out. The request was made when this was made;
/// dropping this takes nothing back. An error means that nobody heard it, for certain.
#[derive(Debug)]
pub struct Asked(On);

#[derive(Debug)]
enum On {
    #[allow(dead_code, reason = "nobody is asked where no program can be started")]
    Done(Result<(), Error>),
    #[allow(dead_code, reason = "only where somebody has to carry a request over")]
    Later(oneshot::Receiver<Result<Delivery, Error>>),
}

impl Asked {
    #[allow(dead_code, reason = "nobody is asked where no program can be started")]
    pub(crate) fn done(result: Result<(), Error>) -> Asked {
        Asked(On::Done(result))
    }

    #[allow(dead_code, reason = "only where somebody has to carry a request over")]
    pub(crate) fn later(told: oneshot::Receiver<Result<Delivery, Error>>) -> Asked {
        Asked(On::Later(told))
    }

    /// How it came out, where that is known already: nobody has to wait for it then.
    ///
    /// # Errors
    /// The request itself, when it is still on its way.
    pub fn now(self) -> Result<Result<Delivery, Error>, Asked> {
        match self.0 {
            On::Done(result) => Ok(result.map(|()| Delivery::Made)),
            On::Later(_) => Err(self),
        }
    }
}

impl Future for Asked {
    type Output = Result<Delivery, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            On::Done(result) => Poll::Ready(std::mem::replace(result, Ok(())).map(|()| Delivery::Made)),
            On::Later(told) => Pin::new(told).poll(context).map(|told| {
                told.unwrap_or_else(|_| {
                    Ok(Delivery::Unsure(Error::Refused("nobody carries requests to stop any more".into())))
                })
            }),
        }
    }
}

/// What a process does that was started to carry a request over: whoever uses [`super::Child::request`] calls
/// this first thing in `main`, with the arguments of the process, its own name among them. On Windows requests
/// are carried by a second, short-lived process of the same program. `None`: this process is no such messenger.
/// Costs nothing where there are none.
pub fn console_event_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    platform::process::console_event_main(args.into_iter().skip(1))
}
