//! Where a program is: the folders of the `PATH` that it will have, and the endings of programs.
//!
//! Deliberately absent: the working folder and the guard's own folder, which `CreateProcessW` would search
//! first. Whoever can write there could put a program in the way.

use crate::process::ProgramNotFound;
use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The endings of files that can be started, in the order of the OS.
const ENDINGS: [&str; 4] = [".com", ".exe", ".bat", ".cmd"];

pub(crate) fn find_program(name: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, ProgramNotFound> {
    let shown = || name.to_string_lossy().into_owned();
    let endings = endings(std::env::var_os("PATHEXT").as_deref());
    let is_place = |unit: u16| [b'\\', b'/', b':'].iter().any(|byte| unit == u16::from(*byte));
    if name.encode_wide().any(is_place) {
        let file = cwd.join(name);
        return match look(&file, &endings) {
            Some(found) => Ok(found),
            None if file.is_dir() => Err(ProgramNotFound::Folder { path: file }),
            None => Err(ProgramNotFound::Missing { name: shown(), path: file }),
        };
    }
    let searched = path.map_or_else(standard_path, OsStr::to_owned);
    let folders = std::env::split_paths(&searched).filter(|folder| !folder.as_os_str().is_empty());
    let mut files = folders.filter(|_| !name.is_empty()).map(|folder| cwd.join(folder).join(name));
    files
        .find_map(|file| look(&file, &endings))
        .ok_or_else(|| ProgramNotFound::NotOnPath { name: shown(), searched: searched.to_string_lossy().into_owned() })
}

/// The file itself, where its name has an ending of its own, and else with each ending of a program.
fn look(file: &Path, endings: &[String]) -> Option<PathBuf> {
    let whole = file.extension().is_some().then(|| file.to_owned());
    let with_endings = endings.iter().map(|ending| {
        let mut text = file.as_os_str().to_owned();
        text.push(ending);
        PathBuf::from(text)
    });
    let bare = file.extension().is_none().then(|| file.to_owned());
    whole.into_iter().chain(with_endings).chain(bare).find(|file| file.is_file())
}

/// The order of `PATHEXT`, without the endings of files that only an interpreter can run.
fn endings(pathext: Option<&OsStr>) -> Vec<String> {
    let given = pathext.map(|text| text.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let mut endings: Vec<String> =
        given.split(';').map(str::trim).filter(|ending| ENDINGS.contains(ending)).map(str::to_owned).collect();
    if endings.is_empty() {
        endings = ENDINGS.map(str::to_owned).into();
    }
    endings
}

/// What is searched when the program has no `PATH`: the system's own programs.
fn standard_path() -> OsString {
    let root = std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from);
    let mut path = root.join("System32").into_os_string();
    path.push(";");
    path.push(root);
    path
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_program_decides_and_endings_are_added() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["tool.exe", "tool.bat", "script.py", "plain"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let mut path = OsString::from(r"C:\no\such\folder;;");
        path.push(dir.path());
        let find = |name: &str| find_program(OsStr::new(name), Some(&path), Path::new(r"C:\"));
        assert_eq!(find("tool"), Ok(dir.path().join("tool.exe")));
        assert_eq!(find("tool.bat"), Ok(dir.path().join("tool.bat")));
        assert_eq!(find("script.py"), Ok(dir.path().join("script.py")));
        assert_eq!(find("plain"), Ok(dir.path().join("plain")));
        assert!(matches!(find("script"), Err(ProgramNotFound::NotOnPath { .. })));
        assert!(matches!(find(""), Err(ProgramNotFound::NotOnPath { .. })));
    }

    #[test]
    fn a_name_with_a_place_is_relative_to_the_working_folder_which_is_never_searched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("own.exe"), "").unwrap();
        let find = |name: &str| find_program(OsStr::new(name), Some(OsStr::new("")), dir.path());
        assert_eq!(find(r".\own"), Ok(dir.path().join(r".\own.exe")));
        assert_eq!(find("./own.exe"), Ok(dir.path().join("./own.exe")));
        assert!(matches!(find("own"), Err(ProgramNotFound::NotOnPath { .. })));
        assert!(matches!(find(r".\other"), Err(ProgramNotFound::Missing { .. })));
        let folder = dir.path().to_str().unwrap();
        assert!(matches!(find(folder), Err(ProgramNotFound::Folder { .. })));
    }

    #[test]
    fn endings_keep_the_order_of_the_host_and_leave_scripts_out() {
        assert_eq!(endings(Some(OsStr::new(".PY;.EXE;.Cmd;.VBS"))), [".exe", ".cmd"]);
        assert_eq!(endings(None), ENDINGS);
    }
}
