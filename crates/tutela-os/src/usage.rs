//! What is used: by the guard itself, and by the whole computer.

use crate::{Error, platform};
use std::path::Path;
use std::time::Duration;

/// What this process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnUsage {
    /// Bytes of memory that are resident.
    pub memory_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

/// What the computer has and uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostUsage {
    /// Processors that this process may use.
    pub cpus: u32,
    /// Bytes of memory in all.
    pub memory_total: u64,
    /// Bytes of memory that programs could still get.
    pub memory_available: u64,
    /// Runnable programs, averaged over a minute; `None` where the OS has no such figure.
    pub load: Option<f64>,
}

impl HostUsage {
    /// Memory in use, in percent.
    pub fn memory_used_percent(&self) -> f64 {
        percent(self.memory_total.saturating_sub(self.memory_available), self.memory_total)
    }
}

/// The file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that this account could still write.
    pub available: u64,
}

impl DiskUsage {
    /// Space in use, in percent, counted as `df` does: what this account cannot have is not counted.
    pub fn used_percent(&self) -> f64 {
        percent(self.total.saturating_sub(self.available), self.total)
    }
}

/// What this process uses.
///
/// # Errors
/// The OS does not say.
pub fn own() -> Result<OwnUsage, Error> {
    platform::usage::own()
}

/// What the computer has and uses.
///
/// # Errors
/// The OS does not say.
pub fn host() -> Result<HostUsage, Error> {
    platform::usage::host()
}

/// The file system that holds `path`.
///
/// # Errors
/// There is no such path, or the OS does not say.
pub fn disk(path: &Path) -> Result<DiskUsage, Error> {
    platform::usage::disk(path)
}

/// The name of this computer; empty when the OS does not say.
pub fn host_name() -> String {
    platform::usage::host_name()
}

/// The processor architecture of this host in the words of Rust targets: `x86_64`, `aarch64`.
pub fn host_machine() -> &'static str {
    std::env::consts::ARCH
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people; 52 bits of it are plenty")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
