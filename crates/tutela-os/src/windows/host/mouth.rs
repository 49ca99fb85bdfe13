//! Whoever listens at `NOTIFY_SOCKET`: on Windows a guard, which names a pipe of its own there.
//!
//! Each message has a connection, which the guard closes in its own time: what was written before we close is kept for
//! it. Order is the guard's affair, by the order in which connections were made.

use crate::Error;
use crate::platform::endpoint::CLIENT_RIGHTS;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Storage::FileSystem::SECURITY_IDENTIFICATION;

/// Pipes of this computer. A server elsewhere is no host of ours.
const PIPES: &str = r"\\.\pipe\";

/// How long a host whose instances are all taken for the moment is asked again. It makes another one within a turn of
/// its loop; whoever speaks must not be held up by one that does not turn.
const BUSY_LIMIT: Duration = Duration::from_millis(250);

/// Between two tries.
const BUSY_REST: Duration = Duration::from_millis(5);

/// Where it listens, and how often it wants to hear from us.
#[derive(Debug)]
pub(crate) struct Host {
    pipe: PathBuf,
    watchdog: Option<Duration>,
}

impl Host {
    /// The guard whose pipe `NOTIFY_SOCKET` names.
    pub(crate) fn discover(lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Host> {
        let pipe = lookup("NOTIFY_SOCKET")?;
        let is_local = pipe.to_str()?.get(..PIPES.len())?.eq_ignore_ascii_case(PIPES);
        is_local.then(|| Host { pipe: pipe.into(), watchdog: watchdog(lookup) })
    }

    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    pub(crate) fn send(&self, text: &str) -> Result<(), Error> {
        // One write, because the guard takes what one write has for one message.
        let sent = self.open().and_then(|mut pipe| pipe.write_all(text.as_bytes()));
        sent.map_err(|source| Error::io(format!("notify the host at {}", self.pipe.display()), source))
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // The guard may learn who we are, and not act in our name.
        options.access_mode(CLIENT_RIGHTS).share_mode(0).security_qos_flags(SECURITY_IDENTIFICATION);
        let began = Instant::now();
        loop {
            match options.open(&self.pipe) {
                Err(error) if is_busy(&error) && began.elapsed() < BUSY_LIMIT => std::thread::sleep(BUSY_REST),
                done => return done,
            }
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok()) == Some(ERROR_PIPE_BUSY)
}

/// The interval, unless it is meant for another process.
fn watchdog(lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |key: &str| lookup(key).as_deref().and_then(OsStr::to_str).and_then(|text| text.parse::<u64>().ok());
    let meant_for_us =
        lookup("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| *micros > 0 && meant_for_us).map(Duration::from_micros)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::notify::Inbox;
    use crate::paths::Paths;

    fn named(address: OsString) -> Option<Host> {
        Host::discover(&|key: &str| (key == "NOTIFY_SOCKET").then(|| address.clone()))
    }

    #[test]
    fn the_host_hears_what_is_sent_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let inbox = Inbox::bind(&Paths::under(folder.path()).notify_socket("shop")).unwrap();
            let host = named(inbox.address()).unwrap();
            let speaker = std::thread::spawn(move || {
                for number in 0..20 {
                    host.send(&format!("STATUS={number}")).unwrap();
                }
            });
            for number in 0..20 {
                let message = inbox.recv().await.unwrap();
                assert_eq!(message.text, format!("STATUS={number}").into_bytes());
                assert_eq!(message.pid, std::process::id());
            }
            speaker.join().unwrap();
        });
    }

    #[test]
    fn only_a_pipe_of_this_computer_is_a_host() {
        assert!(named(r"\\.\PIPE\tutela-shop".into()).is_some());
        for other in [r"\\server\pipe\tutela-shop", "/run/notify", "@abstract", ""] {
            assert!(named(other.into()).is_none(), "{other}");
        }
    }
}
