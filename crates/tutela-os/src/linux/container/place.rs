//! Where in the hierarchy of control groups a guard may make its own, or why nowhere.
//!
//! A host has one writer per part of the hierarchy. Where systemd runs, that is systemd, unless it has
//! delegated the part to us; where it does not, as in most containers, the part we are in is ours.

use super::group::GUARD_LEAF;
use rustix::fs::{Access, AtFlags, CWD};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder in the hierarchy in which we may make groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(pub(super) PathBuf);

/// The controllers whose limits a spec can set.
pub(super) const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

impl Place {
    /// Those of [`CONTROLLERS`] that the kernel lets this place have.
    pub(super) fn controllers(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("cgroup.controllers")).unwrap_or_default();
        text.split_ascii_whitespace().filter(|word| CONTROLLERS.contains(word)).map(str::to_owned).collect()
    }
}

/// Finds the place, or tells why there is none, for people.
pub(super) fn find() -> Result<Place, String> {
    let mounts =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
    let own = super::super::proc::control_group(std::process::id())
        .ok_or("this kernel has no unified control group hierarchy (version 2)")?;
    let folder = above_guard(folder_of(&mounts, &own)?);
    let place = if Path::new("/run/systemd/system").is_dir() { delegated(&folder)? } else { folder };
    // Making groups takes a writable folder; putting a process in takes the right to move our own.
    for file in [place.clone(), place.join("cgroup.procs")] {
        rustix::fs::accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS).map_err(|errno| {
            format!(
                "{} cannot be written to ({errno}); mount the control groups writable for this account",
                file.display()
            )
        })?;
    }
    Ok(Place(place))
}

/// The folder of our own group: the mount point of the hierarchy and our path below the mount's root.
fn folder_of(mounts: &str, own: &str) -> Result<PathBuf, String> {
    let (root, point) = mounts
        .lines()
        .find_map(unified_mount)
        .ok_or("the unified control group hierarchy (version 2) is not mounted")?;
    // Seen from another control group namespace our path can lie outside of what is mounted here.
    let below = Path::new(own).strip_prefix(&root).map_err(|_| {
        format!("this process's control group {own} is outside of what is mounted at {}", point.display())
    })?;
    if below.components().any(|part| part.as_os_str() == "..") {
        return Err(format!("this process's control group {own} belongs to another control group namespace"));
    }
    Ok(point.join(below))
}

/// The place in which an earlier guard of this process made its groups, when we are in the one that it made for itself.
fn above_guard(own: PathBuf) -> PathBuf {
    let nursery = own.parent().filter(|_| own.ends_with(GUARD_LEAF));
    let is_ours =
        |nursery: &&Path| nursery.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("tutela-"));
    nursery.filter(is_ours).and_then(Path::parent).map(Path::to_path_buf).unwrap_or(own)
}

/// Root and mount point of a line of `mountinfo` that is the unified hierarchy. Spaces in paths are
/// written as octal; the kernel's own mount points have none, and ours would be an odd host.
fn unified_mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (front, back) = line.split_once(" - ")?;
    if back.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = front.split(' ').skip(3);
    Some((PathBuf::from(fields.next()?), PathBuf::from(fields.next()?)))
}

/// Our own group or, with systemd's `DelegateSubgroup=`, the one above it, if it was given to us.
fn delegated(own: &Path) -> Result<PathBuf, String> {
    let marked = own.ancestors().take(2).find(|folder| is_marked(folder));
    marked.or_else(|| above_subgroup(own)).map(Path::to_path_buf).ok_or_else(|| {
        "systemd keeps this process's control group and has not delegated it; run the guard as a unit with \
         Delegate=yes, as `tutela install` does, or under `systemd-run --scope -p Delegate=yes`"
            .into()
    })
}

/// The group below a delegated unit's in which systemd runs what the unit has besides its main process.
pub(super) const CONTROL_GROUP: &str = ".control";

/// The folder of the delegated unit that systemd runs this process for, besides its main process.
pub(super) fn unit_beside() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = folder_of(&mounts, &super::super::proc::control_group(std::process::id())?).ok()?;
    own.parent().filter(|_| own.ends_with(CONTROL_GROUP)).map(Path::to_path_buf)
}

/// The group of a unit whose own processes are in the subgroup that our units ask for. systemd makes such a one only in
/// what it delegates, and that of a user marks nothing.
fn above_subgroup(own: &Path) -> Option<&Path> {
    let unit = own.parent().filter(|_| own.ends_with(crate::registration::GUARD_GROUP))?;
    let owner = std::fs::metadata(unit).ok()?.uid();
    let is_ours = owner == rustix::process::geteuid().as_raw();
    (is_ours && unit.extension().is_some_and(|kind| kind == "service")).then_some(unit)
}

/// Whether systemd marked the folder as delegated: in an attribute that users can see, or, in older
/// versions, in one that only root can.
fn is_marked(folder: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].into_iter().any(|attribute| {
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(folder, attribute, &mut value);
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const HYBRID: &str = "32 24 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                          33 24 0:29 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_unified_hierarchy_is_found_beside_the_old_ones() {
        assert_eq!(folder_of(HYBRID, "/a/b").unwrap(), Path::new("/sys/fs/cgroup/unified/a/b"));
        assert_eq!(folder_of(HYBRID, "/").unwrap(), Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn the_subgroup_of_our_units_shows_what_was_delegated_to_a_user() {
        let root = tempfile::tempdir().unwrap();
        let at = |below: &str| {
            let own = root.path().join(below);
            std::fs::create_dir_all(&own).unwrap();
            above_subgroup(&own).map(|it| it.strip_prefix(root.path()).unwrap().to_path_buf())
        };
        assert_eq!(at("app.slice/shop.service/guard"), Some(PathBuf::from("app.slice/shop.service")));
        assert_eq!(at("app.slice/shop.service/other"), None);
        assert_eq!(at("app.slice/guard"), None);
        assert_eq!(at("app.slice/shop.service"), None);
    }

    #[test]
    fn the_group_that_a_guard_made_for_itself_is_no_place() {
        let place = |own: &str| above_guard(own.into()).display().to_string();
        assert_eq!(place("/a/shop.service/tutela-shop-0-1.2.3/guard"), "/a/shop.service");
        assert_eq!(place("/a/shop.service/guard"), "/a/shop.service/guard");
        assert_eq!(place("/a/tutela-shop-0-1.2.3/api.0"), "/a/tutela-shop-0-1.2.3/api.0");
    }

    #[test]
    fn a_host_without_it_is_told_so() {
        assert!(folder_of("", "/").unwrap_err().contains("not mounted"));
    }

    #[test]
    fn a_part_that_is_mounted_in_a_container_is_taken_below_its_root() {
        let mounts = "1 2 0:29 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(folder_of(mounts, "/docker/x/y").unwrap(), Path::new("/sys/fs/cgroup/y"));
        assert!(folder_of(mounts, "/../z").unwrap_err().contains("outside"));
    }
}
