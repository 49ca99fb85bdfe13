//! Where a program is, by the rules of `execvp`.

use crate::process::ProgramNotFound;
use rustix::fs::{Access, AtFlags, CWD};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is searched when the program has no `PATH`: the folders of every distribution's programs.
const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn find_program(name: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, ProgramNotFound> {
    let shown = || name.to_string_lossy().into_owned();
    if name.as_bytes().contains(&b'/') {
        let file = cwd.join(name);
        return match look(&file) {
            Found::Program => Ok(file),
            Found::Folder => Err(ProgramNotFound::Folder { path: file }),
            Found::NotExecutable => Err(ProgramNotFound::NotExecutable { path: file }),
            Found::Nothing => Err(ProgramNotFound::Missing { name: shown(), path: file }),
        };
    }
    let searched = path.unwrap_or(OsStr::new(STANDARD_PATH));
    let mut unusable = None;
    // An empty name would find the folders themselves.
    for folder in std::env::split_paths(searched).filter(|_| !name.is_empty()) {
        // An empty entry means the working folder, as a relative one does.
        let file = cwd.join(folder).join(name);
        match look(&file) {
            Found::Program => return Ok(file),
            Found::NotExecutable => unusable = unusable.or(Some(file)),
            Found::Folder | Found::Nothing => {}
        }
    }
    Err(match unusable {
        Some(path) => ProgramNotFound::NotExecutable { path },
        None => ProgramNotFound::NotOnPath { name: shown(), searched: searched.to_string_lossy().into_owned() },
    })
}

enum Found {
    Program,
    NotExecutable,
    Folder,
    Nothing,
}

fn look(file: &Path) -> Found {
    match std::fs::metadata(file) {
        Err(_) => Found::Nothing,
        Ok(meta) if meta.is_dir() => Found::Folder,
        Ok(_) if rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok() => Found::Program,
        Ok(_) => Found::NotExecutable,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_path_of_the_program_decides_and_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let path = Some(dir.path().as_os_str());
        let find = |name: &str, path| find_program(OsStr::new(name), path, Path::new("/"));
        assert_eq!(find("tool", path), Err(ProgramNotFound::NotExecutable { path: file.clone() }));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool", path), Ok(file));
        assert!(matches!(find("sh", path), Err(ProgramNotFound::NotOnPath { .. })));
        assert!(find("sh", None).is_ok());
    }

    #[test]
    fn a_name_with_a_separator_is_relative_to_the_working_folder() {
        let find = |name: &str| find_program(OsStr::new(name), None, Path::new("/bin"));
        assert_eq!(find("./sh"), Ok(PathBuf::from("/bin/./sh")));
        assert!(matches!(find("./nothing-here"), Err(ProgramNotFound::Missing { .. })));
        assert!(matches!(find("/"), Err(ProgramNotFound::Folder { .. })));
    }
}
