//! Whose a port is: the tables of the network name the process of every socket.

use crate::access::{Holder, Protocol, in_the_way};
use crate::platform::wide::{done, until_zero};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, MIB_UDP6ROW_OWNER_PID,
    MIB_UDPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

/// The largest table that is read, in words: at 56 bytes a socket, more than there are ports on a dozen addresses.
const TABLE_WORDS_MAX: usize = 16 << 20;

/// How often a table that grows while it is read is asked for again.
const TRIES: u32 = 8;

/// The longest path of a program, in UTF-16 units.
const PATH_UNITS_MAX: usize = 32_768;

pub(crate) fn port_holder(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    let sockets = [u32::from(AF_INET), u32::from(AF_INET6)].into_iter().flat_map(|family| sockets(protocol, family));
    let (_, pid) = sockets.into_iter().find(|(found, _)| in_the_way(*found, address))?;
    Some(Holder { pid: Some(pid), name: program_of(pid), account: None })
}

fn sockets(protocol: Protocol, family: u32) -> Vec<(SocketAddr, u32)> {
    let Some(table) = table(protocol, family) else { return Vec::new() };
    match (protocol, family == u32::from(AF_INET)) {
        (Protocol::Tcp, true) => {
            rows(&table, |row: &MIB_TCPROW_OWNER_PID| (v4(row.dwLocalAddr, row.dwLocalPort), row.dwOwningPid))
        }
        (Protocol::Tcp, false) => {
            rows(&table, |row: &MIB_TCP6ROW_OWNER_PID| (v6(row.ucLocalAddr, row.dwLocalPort), row.dwOwningPid))
        }
        (Protocol::Udp, true) => {
            rows(&table, |row: &MIB_UDPROW_OWNER_PID| (v4(row.dwLocalAddr, row.dwLocalPort), row.dwOwningPid))
        }
        (Protocol::Udp, false) => {
            rows(&table, |row: &MIB_UDP6ROW_OWNER_PID| (v6(row.ucLocalAddr, row.dwLocalPort), row.dwOwningPid))
        }
    }
}

/// A table as the OS has it: the number of rows, and the rows, all made of words.
fn table(protocol: Protocol, family: u32) -> Option<Vec<u32>> {
    let mut words = vec![0_u32; 4096];
    for _ in 0..TRIES {
        let mut bytes = u32::try_from(words.len() * 4).ok()?;
        let code = match protocol {
            // SAFETY: the buffer (with its length) and the place of the length are live and ours.
            Protocol::Tcp => unsafe {
                let table = words.as_mut_ptr().cast();
                GetExtendedTcpTable(table, &raw mut bytes, 0, family, TCP_TABLE_OWNER_PID_LISTENER, 0)
            },
            // SAFETY: as above.
            Protocol::Udp => unsafe {
                let table = words.as_mut_ptr().cast();
                GetExtendedUdpTable(table, &raw mut bytes, 0, family, UDP_TABLE_OWNER_PID, 0)
            },
        };
        let wanted = usize::try_from(bytes).ok()?.div_ceil(4);
        match code {
            ERROR_SUCCESS => return Some(words),
            // With room for those that come meanwhile.
            ERROR_INSUFFICIENT_BUFFER if wanted < TABLE_WORDS_MAX => words.resize(wanted + 1024, 0),
            _ => return None,
        }
    }
    None
}

/// The rows of a table. Each kind of row is nothing but words and bytes in multiples of four.
fn rows<R: Copy, T>(table: &[u32], take: impl Fn(&R) -> T) -> Vec<T> {
    let Some((count, rest)) = table.split_first() else { return Vec::new() };
    let count = usize::try_from(*count).unwrap_or(0);
    let row = |words: &[u32]| {
        // SAFETY: the words are as many as the row has, every pattern of bits is a row of numbers, and a copy is
        // taken whatever the place's alignment.
        take(&unsafe { words.as_ptr().cast::<R>().read_unaligned() })
    };
    rest.chunks_exact(size_of::<R>() / 4).take(count).map(row).collect()
}

/// The OS keeps addresses and ports in the order of the network.
fn v4(address: u32, port: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes())), port_of(port))
}

fn v6(address: [u8; 16], port: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)), port_of(port))
}

fn port_of(port: u32) -> u16 {
    let [high, low, ..] = port.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

/// The name of a process's program; `None`: it is gone, or not ours to ask.
fn program_of(pid: u32) -> Option<String> {
    // SAFETY: takes numbers only.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return None;
    }
    // SAFETY: the call has just opened it for us.
    let process = unsafe { OwnedHandle::from_raw_handle(process.cast()) };
    let mut path = vec![0_u16; PATH_UNITS_MAX];
    let mut length = u32::try_from(path.len()).ok()?;
    // SAFETY: the process is open, and the buffer (with its length) and the place of the length are live and ours.
    let answer =
        unsafe { QueryFullProcessImageNameW(process.as_raw_handle().cast(), 0, path.as_mut_ptr(), &raw mut length) };
    done(answer).ok()?;
    let path = until_zero(&path);
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}
