//! The service manager that started us: whether systemd did, and how it is spoken to, as `sd_notify` does.

use super::address::Address;
use crate::host::{Control, NotServed, Scm, ServiceExit, StartedBy, State};
use crate::{Error, Unsupported};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

/// Where it listens, and how often it wants to hear from us.
#[derive(Debug)]
pub(crate) struct Host {
    socket: UnixDatagram,
    address: PathBuf,
    watchdog: Option<Duration>,
}

impl Host {
    pub(crate) fn discover(lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Host> {
        let address =
            lookup("NOTIFY_SOCKET").filter(|address| matches!(address.as_bytes().first(), Some(b'/' | b'@')))?;
        let socket = UnixDatagram::unbound().ok()?;
        // A host that does not read must not hold the guard up; a message that does not fit is an error.
        socket.set_nonblocking(true).ok()?;
        Some(Host { socket, address: address.into(), watchdog: watchdog(lookup) })
    }

    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    pub(crate) fn send(&self, text: &str) -> Result<(), Error> {
        let sent = match self.address.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)
                .and_then(|address| self.socket.send_to_addr(text.as_bytes(), &address)),
            None => self.send_to_file(text),
        };
        sent.map(drop).map_err(|source| Error::io(format!("notify the host at {}", self.address.display()), source))
    }

    fn send_to_file(&self, text: &str) -> io::Result<usize> {
        let address = Address::of(&self.address)?;
        self.socket.send_to(text.as_bytes(), address.path)
    }
}

/// The interval, unless it is meant for another process.
fn watchdog(lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |key: &str| lookup(key).as_deref().and_then(OsStr::to_str).and_then(|text| text.parse::<u64>().ok());
    let meant_for_us =
        lookup("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| *micros > 0 && meant_for_us).map(Duration::from_micros)
}

pub(crate) fn serve_scm<R>(_name: &str, run: R) -> Result<ServiceExit, NotServed<R>>
where
    R: FnOnce(Scm) -> ServiceExit + Send + 'static,
{
    let reason = "Linux has systemd, which starts a service as a plain process and tells it to stop by a signal";
    Err(NotServed { run, error: Unsupported::new("service control manager", reason).into() })
}

pub(crate) fn ask(_service: &str, _control: Control) -> Result<State, Error> {
    let reason =
        "systemd carries no requests to services; an operator sends them a signal, or asks their own control socket";
    Err(Unsupported::new("requests to services", reason).into())
}

pub(crate) fn service_manager() -> Option<StartedBy> {
    let signs = Signs {
        invocation: std::env::var_os("INVOCATION_ID").is_some(),
        exec_pid: std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|pid| pid.parse().ok()),
        own_pid: std::process::id(),
        by_journal: super::journal::is_output_ours(),
    };
    signs.are_of_systemd(parent_is_systemd).then_some(StartedBy::Systemd)
}

pub(crate) fn is_init() -> bool {
    std::process::id() == 1
}

/// What there is to see of systemd.
struct Signs {
    /// It set its variables for this process or for one of its ancestors.
    invocation: bool,
    /// Whom it started (since version 248).
    exec_pid: Option<u32>,
    own_pid: u32,
    /// Standard output or error goes to the journal, and to the stream that was made for this unit.
    by_journal: bool,
}

impl Signs {
    /// A shell in a terminal that is itself a unit has the variables too; it is not the process that is named, its
    /// output is a terminal, and its parent is that terminal.
    fn are_of_systemd(&self, parent_is_systemd: impl FnOnce() -> bool) -> bool {
        let named = match self.exec_pid {
            Some(pid) => pid == self.own_pid,
            None => self.invocation && parent_is_systemd(),
        };
        self.invocation && (named || self.by_journal)
    }
}

fn parent_is_systemd() -> bool {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    std::fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|name| name.trim_end() == "systemd")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_host_hears_what_is_sent_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("tutela-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (ear, address) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let host = Host::discover(&|key: &str| (key == "NOTIFY_SOCKET").then(|| address.clone())).unwrap();
            host.send("READY=1").unwrap();
            let mut heard = [0; 16];
            let length = ear.recv(&mut heard).unwrap();
            assert_eq!(heard.get(..length), Some(&b"READY=1"[..]));
        }
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours() {
        let with = |pid: u32| {
            move |key: &str| match key {
                "WATCHDOG_USEC" => Some("2000000".into()),
                "WATCHDOG_PID" => Some(pid.to_string().into()),
                _ => None,
            }
        };
        assert_eq!(watchdog(&with(std::process::id())), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(&with(std::process::id() + 1)), None);
    }

    #[test]
    fn without_a_socket_there_is_no_host() {
        assert!(Host::discover(&|_: &str| None).is_none());
        assert!(Host::discover(&|_: &str| Some("relative".into())).is_none());
    }

    #[test]
    fn variables_that_were_inherited_do_not_make_a_unit() {
        let signs = |exec_pid, by_journal| Signs { invocation: true, exec_pid, own_pid: 7, by_journal };
        assert!(signs(Some(7), false).are_of_systemd(|| false));
        assert!(!signs(Some(6), false).are_of_systemd(|| true));
        assert!(signs(Some(6), true).are_of_systemd(|| false));
        assert!(signs(None, false).are_of_systemd(|| true));
        assert!(!signs(None, false).are_of_systemd(|| false));
        assert!(!Signs { invocation: false, ..signs(Some(7), true) }.are_of_systemd(|| true));
    }
}
