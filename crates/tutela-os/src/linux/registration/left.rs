//! The end of everything that is left in a unit, by a process that the unit runs after its main process.

use crate::Error;
use crate::platform::container::{beside, group};
use crate::registration::{Ended, RegisterError};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes may outlive the signal that ends them: one that is stuck in the kernel may do so for long.
const END_BOUND: Duration = Duration::from_secs(5);

/// The pause between two looks, as between those for leftover processes.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn end_left() -> Result<Vec<Ended>, RegisterError> {
    let bound = Instant::now() + END_BOUND;
    let mut ended: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    loop {
        let groups = beside().ok_or_else(|| {
            RegisterError::Refused(
                "this is for a unit of systemd, as its ExecStopPost=, with Delegate=yes and control groups of version 2"
                    .into(),
            )
        })?;
        let mut left = Vec::new();
        for group in groups {
            for (label, pids) in named(&group) {
                let known = ended.entry(label).or_default();
                known.extend(pids.iter().filter(|pid| !known.contains(pid)).copied().collect::<Vec<_>>());
                left.extend(pids);
            }
            if group::kill_at(&group).is_err() {
                // Before Linux 5.14 a group cannot be ended at once.
                for pid in group::pids_below(&group).into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
                    // One that is gone is what was wanted; one that stays is told at the bound.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            group::remove_empty(&group);
        }
        if left.is_empty() {
            return Ok(ended.into_iter().map(|(label, pids)| Ended { label, pids }).collect());
        }
        if Instant::now() > bound {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            let text = format!("processes did not end within {END_BOUND:?}: {}", left.join(", "));
            return Err(Error::Refused(text).into());
        }
        std::thread::sleep(PAUSE);
    }
}

/// The processes in a group by what they are: those of a nursery's by their trees.
fn named(group: &Path) -> Vec<(String, Vec<u32>)> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folders = std::fs::read_dir(group).into_iter().flatten().flatten();
    let below = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    let mut named: Vec<_> = below.map(|tree| (name(&tree), group::pids_below(&tree))).collect();
    let apart: Vec<u32> =
        group::pids_below(group).into_iter().filter(|pid| !named.iter().any(|(_, pids)| pids.contains(pid))).collect();
    named.push((name(group), apart));
    named.retain(|(_, pids)| !pids.is_empty());
    named
}
