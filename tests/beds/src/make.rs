//! What each bed is made of, and the making.
//!
//! One debootstrap serves all of them: the bed `systemd` is that folder, the others are copies with more in them. A
//! bed that is there, made by the recipe of this very source, is used as it is.

use crate::debian::{Debian, RELEASE};
use crate::place::{Place, remove};
use crate::room::inside::new_proc;
use crate::room::{Kind, in_namespaces};
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the whole family has: an init with its bus and sessions, and what tests look around with.
const SYSTEM: [&str; 8] =
    ["systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "iproute2", "procps", "ca-certificates"];

/// Wine for 64 bits, and the SCM tools that come with it.
const WINE: [&str; 2] = ["wine64", "wine"];

/// The emulator, and what fills its disk. The disk is filled from a folder, so nothing of it is ever mounted.
const EMULATOR: [&str; 2] = ["qemu-system-x86", "e2fsprogs"];

/// A kernel that has the emulated disk and the file system built in, so that it boots without a second system in
/// memory; and devices by name for the port that commands come through.
const MACHINE: [&str; 2] = ["linux-image-cloud-amd64", "udev"];

/// The disk of a machine, sparse. The system takes half a gigabyte of it.
const DISK: &str = "2G";

/// Where Wine's prefix lies in its bed.
pub const PREFIX: &str = "/opt/prefix";

/// What a machine runs commands with.
const HANDS: &str = include_str!("../guest/hands");
/// The unit that starts it.
const HANDS_UNIT: &str = include_str!("../guest/hands.service");

/// Lines of a failed tool's output that are shown.
const LOG_LINES: usize = 30;

/// What a bed of this kind is made from; a difference makes it anew.
fn recipe(kind: Kind) -> String {
    let system = SYSTEM.join(" ");
    match kind {
        Kind::Systemd => format!("1 {RELEASE} {system}\n"),
        Kind::Wine => format!("1 {RELEASE} {system} + {} in {PREFIX}\n", WINE.join(" ")),
        Kind::Machine => {
            let parts = [&EMULATOR[..], &MACHINE[..]].concat().join(" ");
            format!("1 {RELEASE} {system} + {parts} on {DISK}\n{HANDS}{HANDS_UNIT}")
        }
    }
}

/// Makes the bed of this kind unless it is there.
///
/// # Errors
/// Something could not be downloaded, or this machine lacks a tool or a right; the message has the end of the log.
pub fn ensure(place: &Place, kind: Kind) -> Result<()> {
    let name = kind.word();
    if place.is_complete(name, &recipe(kind)) {
        return Ok(());
    }
    let began = Instant::now();
    println!("making the bed {name}: {}", place.log(name).display());
    let status = in_namespaces(&["make-inside", name])?.stdin(Stdio::null()).status();
    let status = status.context("failed to start unshare")?;
    if !status.success() {
        bail!("failed to make the bed {name}: {status}\n{}", tail(&place.log(name)));
    }
    println!("made the bed {name} in {} s", began.elapsed().as_secs());
    Ok(())
}

/// The end of a file, for people.
pub fn tail(path: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// The making itself, in namespaces of its own: `beds make-inside KIND`.
///
/// # Errors
/// See [`ensure`].
pub fn inside(place: &Place, kind: Kind) -> Result<()> {
    new_proc("/proc")?;
    let _lock = place.lock()?;
    if kind != Kind::Systemd {
        make(place, Kind::Systemd)?;
    }
    make(place, kind)
}

fn make(place: &Place, kind: Kind) -> Result<()> {
    let name = kind.word();
    let recipe = recipe(kind);
    if place.is_complete(name, &recipe) {
        return Ok(());
    }
    let unfinished = place.unfinished(name);
    // What a run that was interrupted left; nothing is mounted in it, because mounts ended with that run.
    remove(&unfinished)?;
    std::fs::create_dir(&unfinished).with_context(|| format!("failed to make {}", unfinished.display()))?;
    let log = File::create(place.log(name)).with_context(|| format!("failed to make {}", place.log(name).display()))?;
    match kind {
        Kind::Systemd => make_systemd(&unfinished, &log)?,
        Kind::Wine => make_wine(place, &unfinished, &log)?,
        Kind::Machine => make_machine(place, &unfinished, &log)?,
    }
    place.complete(name, &recipe)
}

fn make_systemd(folder: &Path, log: &File) -> Result<()> {
    let root = folder.join("root");
    Debian::at(&root, log).bootstrap(&SYSTEM)
}

fn make_wine(place: &Place, folder: &Path, log: &File) -> Result<()> {
    let root = folder.join("root");
    let debian = copy_of_the_system(place, &root, log)?;
    debian.furnish()?;
    debian.install(&WINE)?;
    let wine = |words: &[&str]| {
        let mut command = debian.inside("env");
        command.args(crate::wine::environment(PREFIX)).args(words);
        debian.run(&mut command)
    };
    std::fs::create_dir_all(root.join("run/wine")).context("failed to make run/wine")?;
    wine(&["timeout", "300", "wineboot", "--init"])?;
    // The registry is written when the server ends.
    wine(&["timeout", "60", "wineserver", "--wait"])
}

fn make_machine(place: &Place, folder: &Path, log: &File) -> Result<()> {
    let tools = folder.join("root");
    let emulator = copy_of_the_system(place, &tools, log)?;
    emulator.furnish()?;
    emulator.install(&EMULATOR)?;

    let system = folder.join("system");
    let debian = copy_of_the_system(place, &system, log)?;
    debian.write("/etc/fstab", "/dev/nvme0n1 / ext4 defaults 0 1\n")?;
    debian.write("/etc/hostname", "bed\n")?;
    // The kernel's package would make the second system that nothing here boots.
    debian.write("/etc/kernel-img.conf", "do_initrd = no\n")?;
    debian.write("/usr/local/lib/hands", HANDS)?;
    debian.write("/etc/systemd/system/hands.service", HANDS_UNIT)?;
    debian.install(&MACHINE)?;
    debian.run(debian.inside("chmod").args(["755", "/usr/local/lib/hands"]))?;
    debian.run(debian.inside("systemctl").args(["enable", "hands.service"]))?;
    let kernel = std::fs::read_dir(system.join("boot"))?.flatten().map(|entry| entry.path());
    let kernel =
        kernel.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")));
    let kernel = kernel.max().context("the kernel's package has no kernel")?;
    std::fs::rename(&kernel, folder.join("vmlinuz")).context("failed to take the kernel")?;

    let inside = tools.join("mnt");
    emulator.run(Command::new("mount").arg("--bind").arg(folder).arg(&inside))?;
    emulator.run(emulator.inside("mke2fs").args(["-q", "-t", "ext4", "-d", "/mnt/system", "/mnt/disk.img", DISK]))?;
    emulator.run(Command::new("umount").arg(&inside))?;
    remove(&system)
}

/// A copy of the bed `systemd` at `root`.
fn copy_of_the_system<'a>(place: &Place, root: &'a Path, log: &'a File) -> Result<Debian<'a>> {
    let debian = Debian::at(root, log);
    let system = place.bed(Kind::Systemd.word()).join("root");
    debian.run(Command::new("cp").args(["--archive", "--reflink=auto", "--"]).arg(system).arg(root))?;
    Ok(debian)
}
