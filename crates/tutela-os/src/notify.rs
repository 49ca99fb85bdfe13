//! Readiness messages, in the words of systemd's `sd_notify`: heard from programs, told to the host.
//!
//! [`Inbox`] is the guard's ear: one socket for all instances. The OS vouches for the sender's process
//! number; [`crate::process::Nursery::owner_of`] tells whose it is, and the caller drops what is nobody's.
//! [`Host`] is the guard's mouth towards the service manager that started it, if one did.

use crate::handle::Handle;
use crate::host::{Accepts, Scm, StartedBy};
use crate::{Error, platform};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use tutela_core::time::Moment;

pub use tutela_core::spec::HOST_VARIABLES;

/// The longest message that is taken, in bytes; systemd's own bound. A longer one is cut by the OS and
/// dropped as [`Message::truncated`]. On Windows one of exactly this length counts as longer, because there a
/// cut one has it too.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// The most assignments that are taken from one message; the protocol has about a dozen words.
pub const NOTICES_MAX: usize = 64;

/// One thing that a program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `READY=1`: it does its work.
    Ready,
    /// `RELOADING=1`: it reads its configuration again, until the next `Ready`.
    Reloading,
    /// `STOPPING=1`: it is about to end.
    Stopping,
    /// `STATUS=…`: for people.
    Status(String),
    /// `ERRNO=…`: what failed, as the OS's error number.
    Errno(i32),
    /// `MAINPID=…`: another process is the main one.
    MainPid(u32),
    /// `WATCHDOG=1`: it lives.
    Watchdog,
    /// `WATCHDOG=trigger`: it wants to be treated as hung.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=…`: how often it will say that it lives.
    WatchdogEvery(Duration),
    /// `EXTEND_TIMEOUT_USEC=…`: it needs that long from here on to start or to stop.
    ExtendTimeout(Duration),
    /// `MONOTONIC_USEC=…`: when the reload began, on the clock without suspensions.
    Monotonic(Duration),
    /// `BARRIER=1`: it waits until everything it said before was heard; the answer is that
    /// [`Message`] is dropped.
    Barrier,
    /// Anything else, such as `X_…`: the word before the `=`.
    Other(String),
}

/// What a datagram of `text` says, at most [`NOTICES_MAX`] things. Lines without a `=` and values that
/// make no sense are left out; bytes that are not UTF-8 are replaced.
pub fn parse(text: &[u8]) -> Vec<Notice> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(parse_line).take(NOTICES_MAX).collect()
}

fn parse_line(line: &str) -> Option<Notice> {
    let (key, value) = line.split_once('=')?;
    let micros = || value.parse().ok().map(Duration::from_micros);
    match (key, value) {
        ("READY", "1") => Some(Notice::Ready),
        ("RELOADING", "1") => Some(Notice::Reloading),
        ("STOPPING", "1") => Some(Notice::Stopping),
        ("WATCHDOG", "1") => Some(Notice::Watchdog),
        ("WATCHDOG", "trigger") => Some(Notice::WatchdogTrigger),
        ("BARRIER", "1") => Some(Notice::Barrier),
        ("READY" | "RELOADING" | "STOPPING" | "WATCHDOG" | "BARRIER", _) => None,
        ("STATUS", _) => Some(Notice::Status(value.to_owned())),
        ("ERRNO", _) => value.parse().ok().map(Notice::Errno),
        ("MAINPID", _) => value.parse().ok().filter(|pid| *pid > 0).map(Notice::MainPid),
        ("WATCHDOG_USEC", _) => micros().map(Notice::WatchdogEvery),
        ("EXTEND_TIMEOUT_USEC", _) => micros().map(Notice::ExtendTimeout),
        ("MONOTONIC_USEC", _) => micros().map(Notice::Monotonic),
        (other, _) => Some(Notice::Other(other.to_owned())),
    }
}

/// A message of a program. Handles that came with it are closed when it is dropped, which is what answers
/// a [`Notice::Barrier`]: drop it after acting on it.
#[derive(Debug)]
pub struct Message {
    /// The process that sent it, by the word of the OS.
    pub pid: u32,
    /// What it says; see [`parse`].
    pub text: Vec<u8>,
    /// Whether the OS had to cut it. What is left of the text must not be acted on.
    pub truncated: bool,
    pub(crate) _attached: Vec<platform::notify::Attached>,
}

/// The socket on which programs speak. Dropping it removes it.
#[derive(Debug)]
pub struct Inbox(platform::notify::Inbox);

impl Inbox {
    /// Opens the socket at `path`, in place of one that was left there. Programs of every user can send
    /// to it, as far as they can reach the folder. On Windows it is a named pipe that takes messages, from this
    /// computer only. Call it within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// The socket cannot be made, or the OS does not vouch for senders ([`Error::Unsupported`]).
    pub fn bind(path: &Path) -> Result<Inbox, Error> {
        platform::notify::Inbox::bind(path).map(Inbox)
    }

    /// The socket that an earlier guard had at `path` and shared by [`Inbox::share`], with the messages that wait in it.
    ///
    /// # Errors
    /// It is none, or its file is gone, so that nobody would reach it: then a new one is to be bound.
    pub fn from_shared(handle: &Handle, path: &Path) -> Result<Inbox, Error> {
        platform::notify::Inbox::from_shared(&handle.0, path).map(Inbox)
    }

    /// Another handle of the socket, for a [`crate::safe::Safe`]: messages wait in it while no guard is there.
    ///
    /// # Errors
    /// Too many files are open, or this host cannot share it.
    pub fn share(&self) -> Result<Handle, Error> {
        self.0.share().map(Handle)
    }

    /// What programs get as `NOTIFY_SOCKET`.
    pub fn address(&self) -> OsString {
        self.0.address()
    }

    /// The next message. May be dropped and called again without losing one. Senders wait while the
    /// socket's queue is full, so it should be called again soon.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn recv(&self) -> Result<Message, Error> {
        self.0.recv().await
    }
}

/// The service manager that started this guard and wants to hear from it.
///
/// Words that a service manager has no use for are not sent: Windows' knows no status text and no reload.
#[derive(Debug)]
pub struct Host(Mouth);

#[derive(Debug)]
enum Mouth {
    /// One that hears texts.
    Text(platform::host::Host),
    /// Windows' own.
    Scm { scm: Scm, accepts: Accepts },
}

/// How often Windows' service manager is to hear that the guard lives, while it starts or stops.
const SCM_ALIVE: Duration = Duration::from_secs(4);

impl Host {
    /// The host that `lookup`, mostly the environment, names; `None` when there is none that listens.
    pub fn discover(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Host> {
        platform::host::Host::discover(&lookup).map(|host| Host(Mouth::Text(host)))
    }

    /// Windows' service control manager, by what [`crate::host::serve_scm`] gave. The service takes `accepts` once it
    /// runs.
    pub fn scm(scm: Scm, accepts: Accepts) -> Host {
        Host(Mouth::Scm { scm, accepts })
    }

    /// How often the host wants to hear [`Host::alive`] at the latest; `None`: never. Half of it is a
    /// good interval. The answer may change after every word to the host.
    pub fn watchdog(&self) -> Option<Duration> {
        match &self.0 {
            Mouth::Text(host) => host.watchdog(),
            Mouth::Scm { scm, .. } => scm.state().is_pending().then_some(SCM_ALIVE),
        }
    }

    /// Tells that the guard does its work, with a line for people.
    ///
    /// # Errors
    /// The host cannot be reached. Worth a log line, nothing more: the guard works without it.
    pub fn ready(&self, status: &str) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => host.send(&format!("READY=1\nSTATUS={}", one_line(status))),
            Mouth::Scm { scm, accepts } => heard(scm.running(*accepts)),
        }
    }

    /// Tells a line for people.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn status(&self, status: &str) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => host.send(&format!("STATUS={}", one_line(status))),
            Mouth::Scm { .. } => Ok(()),
        }
    }

    /// Tells that a reload begins; [`Host::ready`] ends it.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn reloading(&self) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => {
                host.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", platform::clock::monotonic().as_micros()))
            }
            Mouth::Scm { .. } => Ok(()),
        }
    }

    /// Tells that everything is held still because an operator wants it so; [`Host::ready`] ends it.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn paused(&self) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => host.send("STATUS=held still"),
            Mouth::Scm { scm, .. } => heard(scm.paused()),
        }
    }

    /// Tells that the guard is about to end.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn stopping(&self, status: &str) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => host.send(&format!("STOPPING=1\nSTATUS={}", one_line(status))),
            Mouth::Scm { scm, .. } => heard(scm.stopping(SCM_ALIVE)),
        }
    }

    /// Tells that the guard lives.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn alive(&self) -> Result<(), Error> {
        match &self.0 {
            Mouth::Text(host) => host.send("WATCHDOG=1"),
            Mouth::Scm { scm, .. } => {
                scm.alive();
                Ok(())
            }
        }
    }

    /// Asks for time: the start or stop that is going on will need until `deadline`.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub fn extend_timeout(&self, deadline: Moment) -> Result<(), Error> {
        let left = deadline.since(crate::clock::now());
        match &self.0 {
            Mouth::Text(host) => host.send(&format!("EXTEND_TIMEOUT_USEC={}", left.as_micros())),
            // Its bounds are fixed when the service is registered. What it wants to see is progress, and that is told
            // by `alive`, so that a guard that hangs before the deadline is seen to hang.
            Mouth::Scm { scm, .. } => {
                scm.alive();
                Ok(())
            }
        }
    }
}

/// A word that came too late or twice changes nothing, which is what was wanted of it.
fn heard(_told: bool) -> Result<(), Error> {
    Ok(())
}

/// What can run this guard: the word for `status --json`'s `host`. `none`: no service manager.
pub fn host_name() -> &'static str {
    match crate::host::started_by() {
        by if by.is_service_manager() || by == StartedBy::Init => by.word(),
        _ => "none",
    }
}

/// A status line must not smuggle assignments in.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_line_by_line_and_nonsense_is_left_out() {
        let said =
            parse(b"READY=1\nSTATUS=a=b\nREADY=0\nnonsense\nWATCHDOG_USEC=x\nWATCHDOG=trigger\nX_OWN=1\nMAINPID=0");
        let wanted =
            [Notice::Ready, Notice::Status("a=b".into()), Notice::WatchdogTrigger, Notice::Other("X_OWN".into())];
        assert_eq!(said, wanted);
    }

    #[test]
    fn spans_are_in_microseconds() {
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=1500000"), [Notice::ExtendTimeout(Duration::from_millis(1_500))]);
    }

    #[test]
    fn a_flood_of_assignments_is_cut() {
        assert_eq!(parse(&b"READY=1\n".repeat(500)).len(), NOTICES_MAX);
    }

    #[test]
    fn a_status_line_cannot_smuggle_an_assignment_in() {
        assert_eq!(one_line("a\nREADY=1"), "a READY=1");
    }
}
