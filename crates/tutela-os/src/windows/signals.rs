//! What a console asks of the guard: Ctrl-C, Ctrl-Break, and that its window or its session closes.
//!
//! The OS calls the handler on a thread of its own for each. After a close, a logoff or a shutdown it ends the process
//! as soon as the handler returns, so the handler then stays until the guard has ended by itself.

use super::host::{is_served, session_of};
use crate::Error;
use crate::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
};

static OPENED: AtomicBool = AtomicBool::new(false);
static PENDING: AtomicU32 = AtomicU32::new(0);
static RUNG: Notify = Notify::const_new();

/// In the order in which they are taken, each with its bit.
const TAKEN_OVER: [(u32, Signal); 2] = [(INT, Signal::INT), (TERM, Signal::TERM)];
const INT: u32 = 1;
const TERM: u32 = 2;

/// How long the handler stays. The OS ends the process 5 seconds after a close and 20 after a shutdown by default;
/// an administrator may have given more, and a guard that is done ends the process, and this wait with it.
const STAY: Duration = Duration::from_secs(600);

/// The stream of them.
#[derive(Debug)]
pub(crate) struct Signals(());

impl Signals {
    pub(crate) fn open() -> Result<Signals, Error> {
        if OPENED.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused(
                "the guard's signals are taken over already, and one stream has them all".into(),
            ));
        }
        // A process that was started in a group of its own has Ctrl-C switched off; the guard wants to hear it.
        // SAFETY: no handler with this flag means that switch.
        unsafe { SetConsoleCtrlHandler(None, 0) };
        // SAFETY: the handler is there as long as the process.
        if unsafe { SetConsoleCtrlHandler(Some(handler), 1) } == 0 {
            let error = std::io::Error::last_os_error();
            OPENED.store(false, Ordering::Release);
            return Err(Error::io("hear what the console asks", error));
        }
        Ok(Signals(()))
    }

    pub(crate) async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            for (bit, signal) in TAKEN_OVER {
                if PENDING.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
                    return Ok(signal);
                }
            }
            // One that comes before this line has left its ring.
            RUNG.notified().await;
        }
    }

    /// The console does not say who pressed what.
    pub(crate) fn sender(&self, _signal: Signal) -> Option<crate::signals::Sender> {
        None
    }
}

/// It was the only stream. The OS's own reaction holds again.
impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: takes out the handler that was put in.
        unsafe { SetConsoleCtrlHandler(Some(handler), 0) };
        OPENED.store(false, Ordering::Release);
    }
}

/// Nothing here can panic, so nothing can unwind into the OS. Answers whether the OS is to do nothing more.
unsafe extern "system" fn handler(event: u32) -> i32 {
    match reaction(event, is_served(), session_of(std::process::id()) == Some(0)) {
        Reaction::Leave => return 0,
        Reaction::Ignore => {}
        Reaction::Ring { bit, stay } => {
            PENDING.fetch_or(bit, Ordering::AcqRel);
            RUNG.notify_one();
            if stay {
                std::thread::sleep(STAY);
            }
        }
    }
    1
}

/// What is done about an event.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// The OS's own reaction holds.
    Leave,
    /// It is none of ours.
    Ignore,
    Ring {
        bit: u32,
        /// The OS ends the process when the handler returns.
        stay: bool,
    },
}

/// Somebody's logoff ends no service, and of a shutdown a service hears from the service control manager.
fn reaction(event: u32, served: bool, among_services: bool) -> Reaction {
    match event {
        CTRL_C_EVENT => Reaction::Ring { bit: INT, stay: false },
        // The only one that can be sent to a program from outside its console: it is asked to end, not hurried.
        CTRL_BREAK_EVENT => Reaction::Ring { bit: TERM, stay: false },
        CTRL_LOGOFF_EVENT if served || among_services => Reaction::Ignore,
        CTRL_SHUTDOWN_EVENT if served => Reaction::Ignore,
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => Reaction::Ring { bit: TERM, stay: true },
        _ => Reaction::Leave,
    }
}

/// Nothing: this OS interrupts no threads with signals.
#[derive(Debug)]
pub(crate) struct Calm;

impl Calm {
    pub(crate) fn begin() -> Calm {
        Calm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logoff_of_somebody_ends_no_service() {
        assert_eq!(reaction(CTRL_LOGOFF_EVENT, true, true), Reaction::Ignore);
        assert_eq!(reaction(CTRL_LOGOFF_EVENT, false, true), Reaction::Ignore);
        assert_eq!(reaction(CTRL_SHUTDOWN_EVENT, true, true), Reaction::Ignore);
        assert_eq!(reaction(CTRL_SHUTDOWN_EVENT, false, true), Reaction::Ring { bit: TERM, stay: true });
        assert_eq!(reaction(CTRL_LOGOFF_EVENT, false, false), Reaction::Ring { bit: TERM, stay: true });
        assert_eq!(reaction(99, false, false), Reaction::Leave);
    }
}
