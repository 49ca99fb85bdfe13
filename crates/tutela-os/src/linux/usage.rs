//! Figures from `/proc` and the file systems.

use crate::Error;
use crate::usage::{DiskUsage, HostUsage, OwnUsage};
use std::path::Path;

pub(crate) fn own() -> Result<OwnUsage, Error> {
    let stat = super::proc::own_stat()?;
    Ok(OwnUsage {
        memory_bytes: stat.resident_bytes,
        open_files: super::proc::open_files(std::process::id()).unwrap_or(0),
        threads: u64::from(stat.threads),
        cpu: stat.cpu,
    })
}

pub(crate) fn host() -> Result<HostUsage, Error> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|source| Error::io("read /proc/meminfo", source))?;
    let kibibytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').trim().split(' ').next()?.parse::<u64>().ok()
    };
    let bytes = |key| kibibytes(key).unwrap_or(0).saturating_mul(1024);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    Ok(HostUsage {
        cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_total: bytes("MemTotal"),
        memory_available: bytes("MemAvailable"),
        load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
    })
}

pub(crate) fn disk(path: &Path) -> Result<DiskUsage, Error> {
    let answer = rustix::fs::statvfs(path)
        .map_err(|errno| Error::io(format!("ask for the free space at {}", path.display()), errno))?;
    let available = answer.f_bavail.saturating_mul(answer.f_frsize);
    let used = answer.f_blocks.saturating_sub(answer.f_bfree).saturating_mul(answer.f_frsize);
    Ok(DiskUsage { total: used.saturating_add(available), available })
}

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
