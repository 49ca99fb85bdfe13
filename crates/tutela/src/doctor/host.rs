//! What the computer itself would do to a guard: a clock that is off, a disk that is full, limits that are low.

use std::path::Path;
use std::time::{Duration, SystemTime};
use tutela_os::paths::Paths;
use tutela_os::{clock, limits, usage};
use tutela_schema::spec::{Code, Diagnostic};

/// Less room than that, and a day of ordinary output may fill it.
const ROOM_BYTES_MIN: u64 = 512 << 20;

/// Less than that, and the state of a guard may not be written at all.
const ROOM_BYTES_LEAST: u64 = 16 << 20;

/// More use than that is worth a word, however large the disk is.
const USED_PERCENT_MAX: f64 = 95.0;

/// Files that a guard of a few hundred services holds.
const OPEN_FILES_MIN: u64 = 4096;

/// 2025-01-01: before it this program did not exist, so a clock that says so is wrong.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

/// Looks at the computer.
pub fn examine(paths: &Paths) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    check_clock(&mut found);
    for (what, folder) in [("state", paths.state_dir("")), ("logs", paths.log_dir(""))] {
        check_disk(&mut found, what, &folder);
    }
    check_limits(&mut found);
    found
}

fn check_clock(found: &mut Vec<Diagnostic>) {
    let warning = |message: String, help: &str| Diagnostic::warning(Code::ClockOff, None, message).help(help);
    if SystemTime::now() < SystemTime::UNIX_EPOCH + EARLIEST {
        let message = "the wall clock says a time before this program was written";
        found.push(warning(message.into(), "set it; times in logs and events, and certificates, depend on it"));
    } else if clock::is_synchronised() == Some(false) {
        let message = "the wall clock is not kept by a time service";
        let help =
            "run one, such as systemd-timesyncd, chrony or w32time: times in logs of several computers depend on it";
        found.push(warning(message.into(), help));
    }
}

fn check_disk(found: &mut Vec<Diagnostic>, what: &str, folder: &Path) {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { return };
    let Ok(disk) = usage::disk(there) else { return };
    let free = disk.available >> 20;
    let shown = there.display();
    if disk.available < ROOM_BYTES_LEAST {
        let message = format!("the disk of {shown}, which takes {what}, has {free} MiB left");
        let help = "make room: a guard that cannot write its state works on, and forgets it when it ends";
        found.push(Diagnostic::error(Code::DiskLow, None, message).help(help));
    } else if disk.available < ROOM_BYTES_MIN || disk.used_percent() > USED_PERCENT_MAX {
        let message =
            format!("the disk of {shown}, which takes {what}, has {free} MiB left ({:.0} % used)", disk.used_percent());
        found.push(
            Diagnostic::warning(Code::DiskLow, None, message).help("make room, or keep fewer logs: keep, rotate_size"),
        );
    }
}

fn check_limits(found: &mut Vec<Diagnostic>) {
    let Ok(files) = limits::raise_open_files() else { return };
    if files.now < OPEN_FILES_MIN {
        let message =
            format!("this account may have {} files open; a guard holds about five for each instance", files.now);
        let help = "raise it: LimitNOFILE= in a unit, or /etc/security/limits.conf";
        found.push(Diagnostic::warning(Code::LimitLow, None, message).help(help));
    }
}
