//! The process table, read from `/proc`. Nothing here is cached.

use crate::Error;
use crate::process::{Member, MemberState};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// The longest `stat` line that can be: 52 numbers of at most 20 digits, and a name of 16 bytes or, for
/// kernel threads, 64.
const STAT_BYTES_MAX: usize = 1_280;

/// How much of an environment is searched for the mark. The kernel bounds arguments and environment
/// together to a quarter of the stack limit, 2 MiB by default.
const ENVIRON_BYTES_MAX: u64 = 2 << 20;

/// Whoever is older than this runs its program, and has an empty environment because somebody wanted it so.
const YOUNG_SECONDS: u64 = 2;

/// One line of the process table.
#[derive(Debug, Clone)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// User and system time of the process itself.
    pub(crate) cpu: Duration,
    pub(crate) threads: u32,
    /// When it began, in clock ticks since boot. With the number it tells a process from every other one.
    pub(crate) began: u64,
    pub(crate) resident_bytes: u64,
    /// Whether it has memory of its own at all; kernel threads have none.
    pub(crate) has_memory: bool,
}

impl Stat {
    /// Whether it has ended and only waits to be reaped.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it may be on its way to its program: that takes less than a millisecond.
    fn is_young(&self) -> bool {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec.unsigned_abs();
        let began = self.began / rustix::param::clock_ticks_per_second().max(1);
        since_boot.saturating_sub(began) <= YOUNG_SECONDS
    }

    pub(crate) fn member(&self) -> Member {
        let state = match self.state {
            b'D' => MemberState::Stuck,
            b'T' | b't' => MemberState::Halted,
            _ => MemberState::Alive,
        };
        Member { pid: self.pid, name: self.name.clone(), state }
    }
}

/// The line of process `pid`; `None` when there is none, or none to be seen.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    look(pid).ok().flatten()
}

/// The line of process `pid`; `None` when there is none.
///
/// # Errors
/// The guard lacks what it takes to look, which says nothing of the process.
pub(crate) fn look(pid: u32) -> io::Result<Option<Stat>> {
    let mut bytes = [0_u8; STAT_BYTES_MAX];
    match read_into(&format!("/proc/{pid}/stat"), &mut bytes) {
        Ok(length) => Ok(bytes.get(..length).and_then(parse_stat)),
        Err(error) if is_want(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether something failed for want of descriptors or memory, and not for what was asked.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// The line of this process.
pub(crate) fn own_stat() -> Result<Stat, Error> {
    stat(std::process::id())
        .ok_or_else(|| Error::io("read /proc/self/stat; is /proc mounted", io::Error::from(io::ErrorKind::NotFound)))
}

/// Every process there is. One that ends meanwhile may be in it or not.
pub(crate) fn all() -> Result<Vec<Stat>, Error> {
    let failed = |source| Error::io("read the process table in /proc", source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|text| text.parse().ok()) else { continue };
        found.extend(look(pid).map_err(failed)?);
    }
    Ok(found)
}

/// The value of the variable `key` in the environment that process `pid` was started with, where it can be seen.
pub(crate) fn variable(pid: u32, key: &str) -> Option<String> {
    look_for_variable(pid, key).ok().flatten()
}

/// The same.
///
/// # Errors
/// The guard lacks what it takes to look, which says nothing of the process.
pub(crate) fn look_for_variable(pid: u32, key: &str) -> io::Result<Option<String>> {
    // Enough for nearly every environment in one read; the kernel takes the other process's lock for each.
    let mut bytes = Vec::with_capacity(16 << 10);
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(ENVIRON_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(value_of(&bytes, key)),
        Err(error) if is_want(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn value_of(bytes: &[u8], key: &str) -> Option<String> {
    let value = bytes.split(|byte| *byte == 0).find_map(|pair| {
        let rest = pair.strip_prefix(key.as_bytes())?;
        rest.strip_prefix(b"=")
    })?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Whether a process looks as one does that is on its way to its program: it has memory, which kernel
/// threads have not, and an empty environment, which few programs are started with.
pub(crate) fn has_no_environment_yet(stat: &Stat) -> bool {
    let mut byte = [0_u8; 1];
    stat.has_memory
        && stat.is_young()
        && read_into(&format!("/proc/{}/environ", stat.pid), &mut byte).is_ok_and(|length| length == 0)
}

/// How many files process `pid` has open; `None` where we may not see it.
pub(crate) fn open_files(pid: u32) -> Option<u64> {
    let folder = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the size of the folder is the number; before, it is 0 and the entries are counted.
    match std::fs::metadata(&folder).ok()?.len() {
        0 => std::fs::read_dir(&folder).ok().map(|entries| entries.count() as u64),
        // The descriptor of a look at our own folder is not open before and after it.
        count => Some(count),
    }
}

/// The path of process `pid` in the unified control group hierarchy, as it is seen from here.
pub(crate) fn control_group(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn read_into(path: &str, bytes: &mut [u8]) -> io::Result<usize> {
    let mut file = File::open(path)?;
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The name stands in parentheses and may hold any byte, so it ends at the last one.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(line);
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The field that proc(5) numbers 3 comes first here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let small = |field| number(field).and_then(|value| u32::try_from(value).ok());
    let ticks = number(14)?.saturating_add(number(15)?);
    Some(Stat {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: *fields.first()?.as_bytes().first()?,
        parent: small(4)?,
        session: small(6).unwrap_or(0),
        cpu: Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))),
        threads: small(20)?,
        began: number(22)?,
        has_memory: number(23).unwrap_or(0) > 0,
        resident_bytes: number(24).unwrap_or(0).saturating_mul(rustix::param::page_size() as u64),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"42 (a) b (c) S 7 42 9 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 5 0 777 1000 250 18446744073709551615 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.state), (42, "a) b (c", b'S'));
        assert_eq!((stat.parent, stat.session, stat.threads, stat.began), (7, 9, 5, 777));
        assert_eq!(stat.resident_bytes, 250 * rustix::param::page_size() as u64);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = own_stat().unwrap();
        assert!(all().unwrap().iter().any(|stat| stat.pid == own.pid && stat.began == own.began));
        assert!(open_files(own.pid).unwrap() > 0);
    }
}
