//! Where things live on Windows, and what its named pipes are called.
//!
//! Folders are under `ProgramData` for administrators and for what is registered for the computer, whatever its account:
//! a guard is the computer's there. Somebody who runs a guard without an administrator's rights has them under
//! `LOCALAPPDATA`, so that nothing of theirs lies where services trust what they find; so has what is registered for
//! an account, with whatever rights it was registered and is started. The pipes of all
//! programs are in one flat space, whatever their folders; a home gives its guards a mark of its own. The
//! character after `tutela` tells what a pipe is, and none of the three is in the name of a guard's pipe of
//! another kind: `tutela-NAME`, `tutela.notify-NAME`, `tutela.safe-NAME`, and with a home `tutela@MARK-NAME`,
//! `tutela@MARK.notify-NAME` and `tutela@MARK.safe-NAME`.

use crate::paths::{Paths, Place};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the OS keeps named pipes.
pub(crate) const PIPES: &str = r"\\.\pipe\";

/// The folder of everything.
pub(crate) fn root(lookup: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    lookup("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from).join("Tutela")
}

pub(crate) fn discover(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    if super::accounts::is_privileged() { of_host(lookup) } else { of_account(lookup) }
}

/// The account's own, also for an administrator; the computer's for an account that has no folders.
pub(crate) fn of_account(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    lookup("LOCALAPPDATA").map_or_else(|| of_host(lookup), |own| within(&PathBuf::from(own).join("Tutela")))
}

/// The computer's.
pub(crate) fn of_host(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    within(&root(lookup))
}

fn within(root: &Path) -> Paths {
    Paths {
        specs: root.join("specs"),
        state: Place::In(root.join("state")),
        logs: Some(Place::In(root.join("logs"))),
        runtime: root.join("run"),
        lasting: None,
        home: None,
    }
}

pub(crate) fn socket(paths: &Paths, name: &str) -> PathBuf {
    PathBuf::from(format!("{PIPES}{}{name}", control_prefix(paths)))
}

/// There is one place: who may enter is up to the pipe, not to a folder.
pub(crate) fn sockets(paths: &Paths, name: &str) -> Vec<PathBuf> {
    vec![socket(paths, name)]
}

pub(crate) fn notify_socket(paths: &Paths, name: &str) -> PathBuf {
    PathBuf::from(format!("{PIPES}tutela{}.notify-{name}", mark(paths)))
}

pub(crate) fn safe(paths: &Paths, name: &str) -> PathBuf {
    PathBuf::from(format!("{PIPES}tutela{}.safe-{name}", mark(paths)))
}

/// What the name of every control pipe of these paths begins with.
pub(crate) fn control_prefix(paths: &Paths) -> String {
    format!("tutela{}-", mark(paths))
}

fn mark(paths: &Paths) -> String {
    paths.home.as_deref().map_or_else(String::new, |home| format!("@{:016x}", mark_of(home)))
}

/// A number for a folder, the same in every process and version. Two spellings of a folder that Windows
/// takes for one have one number, as far as that can be told without looking at the disk.
fn mark_of(home: &Path) -> u64 {
    let absolute = std::path::absolute(home).unwrap_or_else(|_| home.to_path_buf());
    let text = absolute.to_string_lossy().replace('/', r"\").to_lowercase();
    // FNV-1a: no secret is kept by it, and a handful of homes on one computer do not meet in 64 bits.
    text.trim_end_matches('\\')
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |mark, byte| (mark ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_of_the_computer_has_the_plain_name() {
        let paths = discover(&|_| None);
        assert_eq!(socket(&paths, "shop"), Path::new(r"\\.\pipe\tutela-shop"));
        assert_eq!(notify_socket(&paths, "shop"), Path::new(r"\\.\pipe\tutela.notify-shop"));
        assert_eq!(safe(&paths, "shop"), Path::new(r"\\.\pipe\tutela.safe-shop"));
    }

    #[test]
    fn what_is_registered_has_folders_that_do_not_depend_on_the_rights_of_who_asks() {
        let lookup = |key: &str| match key {
            "ProgramData" => Some(OsString::from(r"C:\All")),
            "LOCALAPPDATA" => Some(OsString::from(r"C:\Own")),
            _ => None,
        };
        let (computer, account) = (of_host(&lookup), of_account(&lookup));
        assert_eq!(computer.state_dir("shop"), Path::new(r"C:\All\Tutela\state\shop"));
        assert_eq!(account.state_dir("shop"), Path::new(r"C:\Own\Tutela\state\shop"));
        assert!([&computer, &account].contains(&&discover(&lookup)));
        // Who has no such folder must not get any that lies in the folder at hand.
        assert_eq!(of_account(&|_| None), of_host(&|_| None));
        // Whoever asks a guard reaches it all the same.
        assert_eq!(socket(&computer, "shop"), socket(&account, "shop"));
    }

    #[test]
    fn two_homes_never_meet_and_two_spellings_of_one_do() {
        let of = |home: &str| socket(&Paths::under(Path::new(home)), "shop");
        assert_ne!(of(r"C:\a"), of(r"C:\b"));
        assert_eq!(of(r"C:\Tests\a"), of("c:/tests/A/"));
    }
}
