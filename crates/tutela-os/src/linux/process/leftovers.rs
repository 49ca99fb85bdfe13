//! What an earlier guard of the same name left when it ended without ending its programs.
//!
//! Every guard has a tag: its family (name and scope), its process number and when that process began. The
//! tag is the name of its control group and the front of its marks, so either tells whose a process is,
//! and whether that guard still lives.

use super::taken::Taken;
use crate::Error;
use crate::platform::container::{group, walk};
use crate::platform::proc::{self, Stat};
use crate::process::{Leftover, Signal};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long leftover processes may outlive the signal that ends them.
const END_BOUND: Duration = Duration::from_secs(5);

/// How long to wait between two looks for processes that are about to be gone.
const END_PAUSE: Duration = Duration::from_millis(2);

/// How long a process may be on its way to its program. The kernel lets whoever started it go on before the
/// new environment can be seen, so a guard that was killed at that moment leaves a process without a mark.
const UNFINISHED_BOUND: Duration = Duration::from_millis(100);

/// What all guards of one name and scope have in common.
pub(super) fn family(guard_name: &str, scope: &str) -> String {
    // FNV-1a: short, and the same in every version, which the standard library's hash does not promise.
    let hash = scope.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("tutela-{guard_name}-{hash:08x}-")
}

/// What this process is called as a guard. A process can be one guard after the other, each another program, so when it
/// became this one is part of it.
pub(super) fn tag(family: &str) -> Result<String, Error> {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let became = since_boot.tv_sec.unsigned_abs() * 1_000_000 + since_boot.tv_nsec.unsigned_abs() / 1_000;
    Ok(format!("{family}{}.{}.{became}", std::process::id(), proc::own_stat()?.began))
}

/// The tail of a mark: which run of which tree of which guard.
pub(super) fn mark_tail(tag: &str, label: &str, token: u64) -> String {
    format!("{tag}:{label}:{token}")
}

/// The run's number, if the mark names one of the guard `tag`.
pub(super) fn token_in(mark: &str, tag: &str) -> Option<u64> {
    mark.split('/').find_map(|tail| {
        let (owner, rest) = tail.split_once(':')?;
        let (_, token) = rest.rsplit_once(':')?;
        if owner == tag { token.parse().ok() } else { None }
    })
}

/// A guard among those of its name and scope, of which one at a time is at work: the one that looks.
#[derive(Debug)]
pub(super) struct Kin {
    family: String,
    /// Its own tag.
    tag: String,
}

impl Kin {
    pub(super) fn new(guard_name: &str, scope: &str) -> Result<Kin, Error> {
        let family = family(guard_name, scope);
        let tag = tag(&family)?;
        Ok(Kin { family, tag })
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The process number of the guard of this tag, if it is an earlier one of this family.
    fn dead_guard(&self, tag: &str) -> Option<u32> {
        let mut parts = tag.strip_prefix(&self.family)?.split('.');
        let (pid, began) = (parts.next()?.parse().ok()?, parts.next()?.parse::<u64>().ok()?);
        if tag == self.tag {
            return None;
        }
        // What it was before it became this guard, or what begun this guard to have its place taken, lives as a process only.
        let has_given_way = pid == std::process::id() || Some(pid) == crate::platform::succession::parent();
        let lives = proc::stat(pid).is_some_and(|stat| stat.began == began && !stat.has_ended());
        (has_given_way || !lives).then_some(pid)
    }
}

/// The leftover that a process belongs to by its mark. What was taken back is nobody's leftover.
fn by_mark(stat: &Stat, kin: &Kin, taken: &Taken) -> Option<(u32, String)> {
    let mark = proc::variable(stat.pid, walk::MARK).filter(|mark| !taken.has_mark(mark))?;
    mark.split('/').find_map(|tail| {
        let (tag, rest) = tail.split_once(':')?;
        let (label, _) = rest.rsplit_once(':')?;
        Some((kin.dead_guard(tag)?, label.to_owned()))
    })
}

/// The folder name of a tree's group without what tells its second group from its first.
fn label_of(folder: &str) -> &str {
    folder.split_once('~').map_or(folder, |(label, _)| label)
}

/// Leftovers by mark and, where `place` holds control groups of this family, by group.
pub(super) fn find(kin: &Kin, place: Option<&Path>, taken: &Taken) -> Result<Vec<Leftover>, Error> {
    let mut found: BTreeMap<(u32, String), Vec<u32>> = BTreeMap::new();
    let bound = Instant::now() + UNFINISHED_BOUND;
    let mut open = proc::all()?;
    while !open.is_empty() {
        let mut unfinished = Vec::new();
        for stat in open.into_iter().filter(|stat| !stat.has_ended()) {
            match by_mark(&stat, kin, taken) {
                Some(whose) => found.entry(whose).or_default().push(stat.pid),
                None if proc::has_no_environment_yet(&stat) => unfinished.push(stat),
                None => {}
            }
        }
        if unfinished.is_empty() || Instant::now() > bound {
            break;
        }
        std::thread::sleep(END_PAUSE);
        open = unfinished.into_iter().filter_map(|stat| proc::stat(stat.pid)).collect();
    }
    each_group(kin, place, taken, |guard, label, path| {
        let pids = group::pids_below(path);
        // Mostly that of a service that was not started yet: there is nobody to end.
        if !pids.is_empty() || !group::remove_empty(path) {
            found.entry((guard, label.to_owned())).or_default().extend(pids);
        }
    });
    let leftover = |((guard_pid, label), mut pids): (_, Vec<u32>)| {
        pids.sort_unstable();
        pids.dedup();
        Leftover { label, guard_pid, pids }
    };
    Ok(found.into_iter().map(leftover).collect())
}

/// Every tree's group of every guard of the family that has ended.
fn each_group(kin: &Kin, place: Option<&Path>, taken: &Taken, mut each: impl FnMut(u32, &str, &Path)) {
    for root in place.and_then(|place| std::fs::read_dir(place).ok()).into_iter().flatten().flatten() {
        let Some(guard) = root.file_name().to_str().and_then(|tag| kin.dead_guard(tag)) else { continue };
        for tree in std::fs::read_dir(root.path()).into_iter().flatten().flatten() {
            if tree.file_name() == group::GUARD_LEAF {
                // Of the guard itself; who is still in it is its safe, which is this guard's by now.
                drop(std::fs::remove_dir(tree.path()));
            } else if let (Some(folder), true) = (tree.file_name().to_str(), tree.path().is_dir())
                && !taken.has_group(&tree.path())
            {
                each(guard, label_of(folder), &tree.path());
            }
        }
        // Removed with its last tree; one that has none is removed here.
        drop(std::fs::remove_dir(root.path()));
    }
}

pub(super) fn end(leftover: &Leftover, kin: &Kin, place: Option<&Path>, taken: &Taken) -> Result<(), Error> {
    let bound = Instant::now() + END_BOUND;
    loop {
        let (mut left, mut groups) = (Vec::new(), 0_usize);
        each_group(kin, place, taken, |guard, label, path| {
            if guard != leftover.guard_pid || label != leftover.label {
                return;
            }
            left.extend(group::pids_below(path).into_iter().filter_map(proc::stat));
            // A group that cannot be ended keeps its processes, which the bound then reports.
            drop(group::kill_at(path));
            if !group::remove_empty(path) {
                groups += 1;
            } else if let Some(root) = path.parent() {
                drop(std::fs::remove_dir(root));
            }
        });
        let whose = (leftover.guard_pid, leftover.label.clone());
        let marked: Vec<Stat> = proc::all()?
            .into_iter()
            .filter(|stat| !stat.has_ended() && by_mark(stat, kin, taken) == Some(whose.clone()))
            .collect();
        left.extend(marked.iter().cloned());
        walk::signal_each(marked, Signal::KILL, |_| true)?;
        left.retain(|stat| !stat.has_ended());
        if left.is_empty() && groups == 0 {
            return Ok(());
        }
        if Instant::now() > bound {
            let left: Vec<String> = left.iter().map(|stat| format!("{} ({})", stat.pid, stat.name)).collect();
            return Err(Error::Refused(format!(
                "processes of {} that an earlier guard left did not end within {END_BOUND:?}: {}",
                leftover.label,
                left.join(", ")
            )));
        }
        std::thread::sleep(END_PAUSE);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_the_run_also_behind_that_of_an_outer_guard() {
        let mark = format!("tutela-outer-0-1.1:a.0:7/{}", mark_tail("tutela-shop-0-2.2", "api.0", 41));
        assert_eq!(token_in(&mark, "tutela-shop-0-2.2"), Some(41));
        assert_eq!(token_in(&mark, "tutela-outer-0-1.1"), Some(7));
        assert_eq!(token_in(&mark, "tutela-shop-0-2.3"), None);
    }

    #[test]
    fn a_guard_that_lives_leaves_nothing() {
        let kin = Kin::new("shop", "").unwrap();
        assert_eq!(kin.dead_guard(kin.tag()), None);
        let first = proc::stat(1).unwrap();
        assert_eq!(kin.dead_guard(&format!("{}1.{}.7", kin.family, first.began)), None);
        assert_eq!(kin.dead_guard(&format!("{}1.{}.7", kin.family, first.began + 1)), Some(1));
        // As earlier versions wrote it.
        assert_eq!(kin.dead_guard(&format!("{}4194000.1", kin.family)), Some(4_194_000));
        assert_eq!(kin.dead_guard("tutela-other-0-4194000.1"), None);
    }

    #[test]
    fn what_a_process_was_as_a_guard_before_is_left_by_nobody_who_lives() {
        let kin = Kin::new("shop", "").unwrap();
        let before = format!("{}{}.{}.7", kin.family, std::process::id(), proc::own_stat().unwrap().began);
        assert_eq!(kin.dead_guard(&before), Some(std::process::id()));
    }

    #[test]
    fn a_name_that_begins_like_another_is_another_family() {
        assert!(!tag_of("shop-2").starts_with(&family("shop", "")));
    }

    fn tag_of(name: &str) -> String {
        format!("{}1.1", family(name, ""))
    }
}
