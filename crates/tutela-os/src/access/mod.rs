//! Who can get at what: who may change a file that a guard is to run, whether an account can read it, and who has
//! a port. Asked by `doctor`, `check` and `install`, never by a running guard.
//!
//! What is said holds for the moment of asking. It errs towards saying too much: a right that something else on
//! the computer would take away again, such as a read-only mount, is told.

pub(crate) mod modes;

use crate::accounts::{AccountId, Identity};
use crate::{Error, platform};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Somebody who is no administrator, and what they can do to a file or folder that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Who.
    pub who: Principal,
    /// The file or folder that lets them: the one that was asked about, or one above it.
    pub path: PathBuf,
    /// How.
    pub way: Way,
}

/// One account, or many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// An account; on Windows also a group, because identifiers do not tell them apart.
    Account(AccountId),
    /// The members of a group with this number.
    Group(u32),
    /// Everybody.
    Everyone,
}

/// How somebody can change what a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// It belongs to them, so they can give themselves every right.
    Owns,
    /// They may write to the file, or add files to the folder, that was asked about.
    Writes,
    /// They may put something else in its place, by a folder on the way to it.
    Replaces,
}

/// Who, other than administrators, may change the file or folder at `path` or put another in its place, by its own
/// rights or by those of any folder above it. On Linux and macOS both the path as it is written and where its links
/// lead count; access lists of Linux count as modes do.
///
/// # Errors
/// The path does not exist, or its rights cannot be read.
pub fn who_may_write(path: &Path) -> Result<Vec<Writer>, Error> {
    platform::access::who_may_write(path)
}

/// Whose reading is in question.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    /// That of an account that is there.
    Identity(&'a Identity),
    /// That of an account that will be made, and has only the rights that every account has.
    Newcomer,
}

/// What keeps an account from reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The file or folder that is closed to it.
    pub path: PathBuf,
    /// Whether it is a folder on the way that cannot be entered; otherwise the thing itself cannot be read.
    pub on_the_way: bool,
}

/// The first thing that keeps `reader` from reading the file, or listing the folder, at `path`; `None`: it can.
///
/// # Errors
/// The path does not exist, or its rights cannot be read.
pub fn may_read(path: &Path, reader: Reader<'_>) -> Result<Option<Obstacle>, Error> {
    platform::access::may_read(path, reader)
}

/// Of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Who has a port, as far as this account is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: Option<u32>,
    /// Its program's name.
    pub name: Option<String>,
    /// Its account.
    pub account: Option<AccountId>,
}

/// Who listens where a program that listens at `address` would meet it; `None`: nobody, or this OS does not tell.
pub fn port_holder(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    platform::access::port_holder(protocol, address)
}

/// Whether two sockets with these addresses and one port are in each other's way. An IPv6 socket for every address
/// takes those of IPv4 as well.
#[allow(dead_code, reason = "for an OS that tells who has a port")]
pub(crate) fn in_the_way(one: SocketAddr, other: SocketAddr) -> bool {
    let (left, right) = (one.ip().to_canonical(), other.ip().to_canonical());
    let both = left.is_ipv4() == right.is_ipv4() && (left.is_unspecified() || right.is_unspecified());
    let takes_both = |ip: std::net::IpAddr| ip.is_ipv6() && ip.is_unspecified();
    one.port() == other.port() && (left == right || both || takes_both(left) || takes_both(right))
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Account(account) => f.write_str(&account.name()),
            Principal::Group(gid) => write!(f, "the group {}", platform::access::group_name(*gid)),
            Principal::Everyone => f.write_str("everybody"),
        }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.way {
            Way::Owns => write!(f, "{path} belongs to {}", self.who),
            Way::Writes => write!(f, "{path} can be changed by {}", self.who),
            Way::Replaces => write!(f, "what is in {path} can be replaced by {}", self.who),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.on_the_way { "may not enter the folder" } else { "may not read" };
        write!(f, "{what} {}", self.path.display())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.name, &self.account) {
            (Some(pid), Some(name), _) => write!(f, "{name} (process {pid})"),
            (Some(pid), None, _) => write!(f, "process {pid}"),
            (None, _, Some(account)) => write!(f, "a process of {}", account.name()),
            (None, ..) => f.write_str("another process"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_in_each_others_way_by_port_and_address() {
        let meet = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(in_the_way(one, other), in_the_way(other, one));
            in_the_way(one, other)
        };
        assert!(meet("127.0.0.1:80", "127.0.0.1:80") && meet("0.0.0.0:80", "127.0.0.1:80"));
        assert!(meet("[::]:80", "127.0.0.1:80") && meet("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!meet("127.0.0.1:80", "127.0.0.1:81") && !meet("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!meet("0.0.0.0:80", "[::1]:80"));
    }

    #[test]
    fn a_port_that_this_process_has_is_told_with_it() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = match protocol {
                Protocol::Tcp => tcp.local_addr().unwrap(),
                Protocol::Udp => udp.local_addr().unwrap(),
            };
            if let Some(holder) = port_holder(protocol, address) {
                assert_eq!(holder.pid, Some(std::process::id()), "{holder}");
                assert!(holder.name.is_some(), "{holder:?}");
            } else {
                assert_eq!(crate::Os::CURRENT, crate::Os::MacOs, "only this one does not tell");
            }
        }
    }
}
