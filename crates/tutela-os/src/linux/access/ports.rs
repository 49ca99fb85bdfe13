//! Whose a port is: the socket by the kernel's tables, its process by the descriptors that processes have.

use crate::access::{Holder, Protocol, in_the_way};
use crate::accounts::AccountId;
use crate::platform::proc;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// How much of a table is read: at 150 bytes a socket, half a million of them.
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// The kernel's number for a TCP socket that listens.
const LISTENS: &str = "0A";

/// A socket of a table.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    state: String,
    uid: u32,
    inode: u64,
}

pub(crate) fn port_holder(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let socket = tables.iter().find_map(|table| {
        let lines = BufReader::new(File::open(table).ok()?.take(TABLE_BYTES_MAX)).lines();
        lines.map_while(Result::ok).filter_map(|line| parse(&line)).find(|socket| {
            let listens = protocol == Protocol::Udp || socket.state == LISTENS;
            listens && in_the_way(socket.address, address)
        })
    })?;
    let process = process_with(socket.inode);
    // The table has no group.
    let account = AccountId::Unix { uid: socket.uid, gid: socket.uid };
    Some(Holder {
        pid: process.as_ref().map(|process| process.pid),
        name: process.map(|process| process.name),
        account: Some(account),
    })
}

fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let address = parse_address(words.nth(1)?)?;
    let state = words.nth(1)?.to_owned();
    // Queues, timer, retransmissions, user, timeout, inode.
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Socket { address, state, uid, inode })
}

/// As the kernel writes them: words of four bytes in the machine's order, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0_u8; 16];
            for (index, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The first process that has this socket, of those whose descriptors this account may see.
fn process_with(inode: u64) -> Option<proc::Stat> {
    let wanted = format!("socket:[{inode}]");
    let mut processes = proc::all().ok()?;
    processes.sort_unstable_by_key(|process| process.pid);
    processes.into_iter().find(|process| {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return false };
        let mut links = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.any(|link| link == Path::new(&wanted))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_a_table_is_understood() {
        let four =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0";
        let socket = parse(four).unwrap();
        assert_eq!((socket.address, socket.uid, socket.inode), ("127.0.0.1:8080".parse().unwrap(), 1000, 4242));
        let six =
            "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0  0  0 7 1";
        assert_eq!(parse(six).unwrap().address, "[::1]:80".parse().unwrap());
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn a_socket_for_every_address_is_in_the_way_of_one() {
        let every = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = every.local_addr().unwrap().port();
        let one = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(port_holder(Protocol::Tcp, one).unwrap().pid, Some(std::process::id()));
    }
}
