//! Steps of registering and removing: files, folders, accounts, words to systemd; each with its way back.

use super::systemctl::{Systemctl, program, run};
use crate::Error;
use crate::registration::{Scope, Step, Undo};
use std::fmt;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long making or removing an account may take: it locks a few files.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);

/// One step: its words, what it writes, and how it is done.
pub(super) struct Act {
    says: String,
    shows: Option<String>,
    does: Box<dyn Fn() -> Result<Option<Undo>, Error>>,
}

impl Act {
    pub(super) fn step(
        says: impl Into<String>,
        does: impl Fn() -> Result<Option<Undo>, Error> + 'static,
    ) -> Box<dyn Step> {
        Box::new(Act { says: says.into(), shows: None, does: Box::new(does) })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl Step for Act {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        (self.does)()
    }

    fn text(&self) -> Option<String> {
        self.shows.clone()
    }
}

fn undo(back: impl FnOnce() -> Result<(), Error> + 'static) -> Result<Option<Undo>, Error> {
    Ok(Some(Box::new(back)))
}

/// Writes a file that everybody may read, whole or not at all. `manager`: it is a unit, so taking it back tells systemd.
pub(super) fn write(path: &Path, text: &str, manager: Option<&Systemctl>) -> Box<dyn Step> {
    let (path, text, manager) = (path.to_path_buf(), text.to_owned(), manager.cloned());
    let says = format!("write {}", path.display());
    let shows = Some(text.clone());
    let does = move || {
        let before = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
        };
        let made = make_folders(path.parent().unwrap_or(Path::new("/")))?;
        if let Err(error) = place(&path, text.as_bytes()) {
            drop(remove_folders(&made));
            return Err(error);
        }
        let (path, manager) = (path.clone(), manager.clone());
        undo(move || {
            match before {
                Some(bytes) => place(&path, &bytes)?,
                None => remove(&path)?,
            }
            remove_folders(&made)?;
            manager.map_or(Ok(()), |manager| manager.ask(&["daemon-reload"]).map(drop))
        })
    };
    Box::new(Act { says, shows, does: Box::new(does) })
}

/// Keeps a file that somebody changed beside the one that replaces it.
pub(super) fn keep_edited(path: &Path) -> Box<dyn Step> {
    let path = path.to_path_buf();
    let kept = beside(&path, "bak");
    Act::step(format!("keep the changed {} as {}", path.display(), kept.display()), move || {
        let bytes = std::fs::read(&path).map_err(|source| Error::io(format!("read {}", path.display()), source))?;
        let before = std::fs::read(&kept).ok();
        place(&kept, &bytes)?;
        let kept = kept.clone();
        undo(move || match before {
            Some(bytes) => place(&kept, &bytes),
            None => remove(&kept),
        })
    })
}

/// The name of a file beside another: `shop.service.bak`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    PathBuf::from(name)
}

/// Removes a file. `manager`: as for [`write`].
pub(super) fn remove_file(path: &Path, manager: Option<&Systemctl>) -> Box<dyn Step> {
    let (path, manager) = (path.to_path_buf(), manager.cloned());
    Act::step(format!("remove {}", path.display()), move || {
        let bytes = std::fs::read(&path).map_err(|source| Error::io(format!("read {}", path.display()), source))?;
        remove(&path)?;
        let (path, manager) = (path.clone(), manager.clone());
        undo(move || {
            place(&path, &bytes)?;
            manager.map_or(Ok(()), |manager| manager.ask(&["daemon-reload"]).map(drop))
        })
    })
}

/// Makes systemd read its units again, and makes sure that it can use `unit`, if one is given.
pub(super) fn reload(manager: &Systemctl, scope: Scope, unit: Option<&str>) -> Box<dyn Step> {
    let (manager, unit) = (manager.clone(), unit.map(str::to_owned));
    Act::step(format!("run `{}`", Systemctl::words(scope, &["daemon-reload"])), move || {
        manager.ask(&["daemon-reload"])?;
        if let Some(unit) = &unit {
            let shown = manager.show(unit)?;
            if shown.get("LoadState") != "loaded" {
                let (state, why) = (shown.get("LoadState"), shown.get("LoadError"));
                return Err(Error::Refused(format!("systemd does not take {unit}: {state} {why}")));
            }
        }
        Ok(None)
    })
}

/// Has a unit started at boot or no more. The way back is to how it was.
pub(super) fn enable(manager: &Systemctl, scope: Scope, unit: &str, wanted: bool) -> Box<dyn Step> {
    let (manager, unit) = (manager.clone(), unit.to_owned());
    let word = |wanted: bool| if wanted { "enable" } else { "disable" };
    let says = format!("run `{}`", Systemctl::words(scope, &[word(wanted), &unit]));
    Act::step(says, move || {
        manager.ask(&["--quiet", word(wanted), &unit])?;
        let (manager, unit) = (manager.clone(), unit.clone());
        undo(move || manager.ask(&["--quiet", word(!wanted), &unit]).map(drop))
    })
}

/// Stops a unit and waits until it has ended. The way back starts it again.
pub(super) fn stop(manager: &Systemctl, scope: Scope, unit: &str, bound: Duration) -> Box<dyn Step> {
    let (manager, unit) = (manager.clone(), unit.to_owned());
    let says = format!("run `{}` and wait until it has ended", Systemctl::words(scope, &["stop", &unit]));
    Act::step(says, move || {
        let words = ["stop", &unit];
        manager.run(&words, bound).map_err(|said| said.error(&Systemctl::words(scope, &words)))?;
        let (manager, unit) = (manager.clone(), unit.clone());
        undo(move || manager.ask(&["--no-block", "start", &unit]).map(drop))
    })
}

/// Makes systemd forget how a unit that is gone has ended.
pub(super) fn forget(manager: &Systemctl, scope: Scope, unit: &str) -> Box<dyn Step> {
    let (manager, unit) = (manager.clone(), unit.to_owned());
    Act::step(format!("run `{}`", Systemctl::words(scope, &["reset-failed", &unit])), move || {
        // One that had not failed is not known any more, which is what is wanted.
        drop(manager.ask(&["reset-failed", &unit]));
        Ok(None)
    })
}

/// Makes an account that nobody can log in with.
pub(super) fn make_account(name: &str, purpose: &str) -> Box<dyn Step> {
    let name = name.to_owned();
    let words: Vec<String> = {
        let shell = program("nologin").unwrap_or_else(|| PathBuf::from("/bin/false"));
        let shell = shell.display().to_string();
        let plain: String = purpose.chars().filter(|it| !matches!(it, ':' | ',') && !it.is_control()).collect();
        ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", &shell, "--comment"]
            .into_iter()
            .map(str::to_owned)
            .chain([plain, name.clone()])
            .collect()
    };
    Act::step(format!("make the account {name} with `useradd --system`, which nobody can log in with"), move || {
        let useradd = program("useradd")
            .ok_or_else(|| Error::Refused(format!("there is no useradd here to make the account {name} with")))?;
        let made = run(Command::new(useradd).args(&words), ACCOUNT_LIMIT);
        made.map_err(|said| said.error(&format!("useradd {name}")))?;
        let name = name.clone();
        undo(move || remove_account(&name))
    })
}

/// Removes an account that registering made.
pub(super) fn unmake_account(name: &str) -> Box<dyn Step> {
    let name = name.to_owned();
    Act::step(format!("remove the account {name}"), move || remove_account(&name).map(|()| None))
}

fn remove_account(name: &str) -> Result<(), Error> {
    let userdel =
        program("userdel").ok_or_else(|| Error::Refused(format!("there is no userdel here to remove {name} with")))?;
    run(Command::new(userdel).arg(name), ACCOUNT_LIMIT).map_err(|said| said.error(&format!("userdel {name}"))).map(drop)
}

/// Makes a folder for the account `owner`; `None`: for whoever makes it.
pub(super) fn make_folder(path: &Path, owner: Option<&str>) -> Box<dyn Step> {
    let (path, owner) = (path.to_path_buf(), owner.map(str::to_owned));
    let whose = owner.as_ref().map(|owner| format!(" for {owner}")).unwrap_or_default();
    Act::step(format!("make the folder {}{whose}", path.display()), move || {
        let made = make_folders(&path)?;
        let given = owner.as_ref().map_or(Ok(()), |owner| give(&path, owner));
        if let Err(error) = given {
            drop(remove_folders(&made));
            return Err(error);
        }
        undo(move || remove_folders(&made))
    })
}

/// Removes a folder that registering made, if nothing is in it: what is, is somebody's.
pub(super) fn unmake_folder(path: &Path) -> Box<dyn Step> {
    let path = path.to_path_buf();
    Act::step(format!("remove the folder {} if it is empty", path.display()), move || {
        drop(remove_folders(std::slice::from_ref(&path)));
        Ok(None)
    })
}

fn give(path: &Path, owner: &str) -> Result<(), Error> {
    let identity = crate::accounts::resolve(owner, None)?.id();
    std::os::unix::fs::chown(path, identity.uid(), identity.gid())
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o750)))
        .map_err(|source| Error::io(format!("give {} to {owner}", path.display()), source))
}

/// Removes a folder with everything in it; where it is a link, as systemd makes for dynamic users, what it leads to too.
pub(super) fn purge(path: &Path) -> Box<dyn Step> {
    let path = path.to_path_buf();
    Act::step(format!("remove {} with everything in it", path.display()), move || {
        let failed = |source| Error::io(format!("remove {}", path.display()), source);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(it) if it.is_symlink() => std::fs::remove_file(&path).map_err(failed)?,
            Ok(_) => std::fs::remove_dir_all(&path).map_err(failed)?,
        }
        // The folder of all guards, when this was the last one. Others in it are no error.
        drop(path.parent().map(std::fs::remove_dir));
        Ok(None)
    })
}

/// Replaces a file by one that everybody may read: after a power cut there is the former one or this one.
fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::io(format!("write {}", path.display()), source);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // One name, so that what a write left that was cut short is written over by the next one.
    let new = folder.join(format!(".{name}.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            // Whatever the mask of who asks for it.
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, path));
    if let Err(source) = written {
        drop(std::fs::remove_file(&new));
        return Err(failed(source));
    }
    crate::platform::files::sync_folder(folder).map_err(failed)
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a folder and those above it. Answers with those that were not there, the innermost first.
fn make_folders(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let missing: Vec<PathBuf> = path.ancestors().take_while(|it| !it.exists()).map(Path::to_path_buf).collect();
    for folder in missing.iter().rev() {
        let made = DirBuilder::new().mode(0o755).create(folder);
        if let Err(source) = made {
            drop(remove_folders(&missing));
            return Err(Error::io(format!("make the folder {}", folder.display()), source));
        }
    }
    Ok(missing)
}

/// Removes folders that are empty; those with something in them are somebody's by now.
fn remove_folders(folders: &[PathBuf]) -> Result<(), Error> {
    for folder in folders {
        match std::fs::remove_dir(folder) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                return Err(Error::io(format!("remove {}", folder.display()), error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_taken_back_with_the_folders_that_were_made_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/shop.service");
        let back = write(&path, "one", None).carry_out().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let second = write(&path, "two", None).carry_out().unwrap().unwrap();
        second().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        back().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_removed_file_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.service");
        std::fs::write(&path, "mine").unwrap();
        let back = remove_file(&path, None).carry_out().unwrap().unwrap();
        assert!(!path.exists());
        back().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn purging_a_link_leaves_what_it_leads_to_and_the_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("private/shop/x")).unwrap();
        std::fs::create_dir(dir.path().join("tutela")).unwrap();
        std::os::unix::fs::symlink("../private/shop", dir.path().join("tutela/shop")).unwrap();
        purge(&dir.path().join("tutela/shop")).carry_out().unwrap();
        assert!(dir.path().join("private/shop/x").exists());
        assert!(!dir.path().join("tutela").exists(), "it was the last guard's");
    }
}
