//! What the first process of a room does: lays the bed out, then waits for the door to close.
//!
//! `beds room KIND` calls it; nobody types that.

use super::{Kind, READY};
use crate::place::{Place, checkout};
use anyhow::{Context as _, Result, bail};
use rustix::process::{WaitOptions, wait};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much a room may write, in all. It is memory, taken only as it is used.
const WRITABLE: &str = "size=4g";

/// Where a room's container writes what would go to its console.
pub const CONSOLE: &str = "console";

/// How often the first process looks for children of others that ended while it has none itself.
const LOOK: Duration = Duration::from_millis(100);

/// Lays the bed out and stays until standard input ends.
///
/// # Errors
/// A mount that failed; the kernel may lack overlays or namespaces, or we may not be root.
pub fn live(place: &Place, kind: Kind) -> Result<()> {
    // The process table is still the one of outside, so this is the number that others know us by.
    let number = std::fs::read_link("/proc/self").context("failed to read /proc/self")?;
    if kind == Kind::Systemd {
        own_control_group(&number);
    }
    new_proc("/proc")?;

    let root = lay_out(place, kind)?;
    match kind {
        Kind::Wine => {
            mount_system(&root)?;
            for folder in [checkout(), place.folder().to_owned(), std::env::temp_dir()] {
                show(&folder, &root)?;
            }
        }
        Kind::Machine => {
            mount_system(&root)?;
            show(&place.run(), &root)?;
            show(&place.bed(kind.word()), &root)?;
        }
        Kind::Systemd => boot(place, &root)?,
    }

    std::thread::spawn(collect_the_ended);
    println!("{READY}{}", number.display());
    let mut rest = Vec::new();
    // Whatever comes through the door is of no interest; its end is.
    let _ = std::io::stdin().read_to_end(&mut rest);
    Ok(())
}

/// A new process table at `path`, for the processes of this room.
pub fn new_proc(path: impl AsRef<Path>) -> Result<()> {
    mount(["-t", "proc", "proc"], path)
}

/// Mounts what a program expects to find besides files.
pub fn mount_system(root: &Path) -> Result<()> {
    new_proc(root.join("proc"))?;
    mount(["--bind", "/dev"], root.join("dev"))
}

/// An overlay over the bed, whose changes are kept in memory.
fn lay_out(place: &Place, kind: Kind) -> Result<PathBuf> {
    let point = place.mount_point();
    mount(["-t", "tmpfs", "-o", WRITABLE, "tmpfs"], &point)?;
    for folder in ["lower", "upper", "work", "root"] {
        std::fs::create_dir(point.join(folder)).with_context(|| format!("failed to make {folder}"))?;
    }
    mount([Path::new("--bind"), &place.bed(kind.word()).join("root")], point.join("lower"))?;
    // Named from within, so that no sign in the checkout's own path can be taken for one of mount's.
    let status = Command::new("mount")
        .args(["-t", "overlay", "-o", "lowerdir=lower,upperdir=upper,workdir=work", "overlay", "root"])
        .current_dir(&point)
        .status()
        .context("failed to start mount")?;
    if !status.success() {
        bail!("failed to lay an overlay over the bed {}: mount: {status}", kind.word());
    }
    Ok(point.join("root"))
}

/// Makes a folder of outside be in the bed, under the same name.
fn show(folder: &Path, root: &Path) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("failed to look at {}", folder.display()))?;
    let at = root.join(folder.strip_prefix("/").context("a folder that is not absolute")?);
    std::fs::create_dir_all(&at).with_context(|| format!("failed to make {}", at.display()))?;
    mount([Path::new("--bind"), &folder], &at)
}

fn mount<W: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = W>, at: impl AsRef<Path>) -> Result<()> {
    let at = at.as_ref();
    let status = Command::new("mount").args(words).arg(at).status().context("failed to start mount")?;
    if !status.success() {
        bail!("failed to mount {}: {status}", at.display());
    }
    Ok(())
}

/// Starts the container. Its network has nothing but loopback, and its control groups are of version 2.
fn boot(place: &Place, root: &Path) -> Result<()> {
    let console = File::create(place.mount_point().join(CONSOLE)).context("failed to make a console")?;
    Command::new("systemd-nspawn")
        .arg("--directory")
        .arg(root)
        .args(["--boot", "--register=no", "--keep-unit", "--machine=bed", "--private-network"])
        .args(["--console=read-only", "--link-journal=no", "--resolv-conf=off", "--timezone=off"])
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .env("SYSTEMD_NSPAWN_LOCK", "0")
        .stdin(Stdio::null())
        .stdout(console.try_clone().context("failed to share a console")?)
        .stderr(console)
        .spawn()
        .context("failed to start systemd-nspawn")?;
    Ok(())
}

/// What the names of our control groups begin with; the number of the room's first process follows.
const GROUP: &str = "tutela-bed-";

/// Takes this room's processes into a control group of their own, so that two containers are not in each other's way,
/// and removes those of rooms that ended.
///
/// Where that is refused the container itself says what it lacks.
fn own_control_group(number: &Path) {
    let Some(parent) = group_of("self") else { return };
    for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(GROUP));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            remove_group(&entry.path());
        }
    }
    let own = parent.join(format!("{GROUP}{}", number.display()));
    if std::fs::create_dir(&own).is_ok() {
        let _ = std::fs::write(own.join("cgroup.procs"), "0");
    }
}

/// Removes a control group and those in it. The kernel refuses that for one in which something lives.
fn remove_group(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

/// The folder of the control group that a process is in; `self` is ourselves.
pub fn group_of(process: &str) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let within = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let at = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let at = words.next()?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(at))
    })?;
    Some(at.join(within))
}

/// Whoever loses its parent in this room becomes our child; somebody has to hear that it ended.
fn collect_the_ended() {
    loop {
        if wait(WaitOptions::empty()).is_err() {
            std::thread::park_timeout(LOOK);
        }
    }
}
