//! Folders of a registration: made with an access list for the OS, the administrators and the account, put right when
//! they are there already, and removed without ever leaving them through a link.
//!
//! Invariant: a folder is only taken over from an owner who may do everything anyway; whoever else owns it could give
//! himself every right to it again.

use super::access_list::{Descriptor, Entry, entries, identifier};
use super::mark::Mark;
use super::service::path_text;
use super::text::Wide;
use crate::Error;
use crate::paths::Paths;
use crate::platform::security::descriptor;
use crate::platform::security::sid::{ADMINISTRATORS, SYSTEM, TRUSTED_INSTALLER};
use crate::registration::{Definition, Plan, RegisterError, Step, Undo};
use std::fmt;
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tutela_core::names::Name;
use windows_sys::Win32::Storage::FileSystem::{CreateDirectoryW, FILE_ATTRIBUTE_REPARSE_POINT, GetVolumeInformationW};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::SystemServices::FILE_PERSISTENT_ACLS;

/// For folders above, which several guards share: everybody may look for what is theirs, nobody may put anything in.
const ABOVE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";

/// The access list of a folder for the account `sid`: it may do everything but change the rights.
fn access_list(sid: &str) -> String {
    let shared = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
    if sid == SYSTEM { shared.to_owned() } else { format!("{shared}(A;OICI;0x1301bf;;;{sid})") }
}

/// Whether the path is a link, a mount point or another thing that leads elsewhere.
fn leads_elsewhere(path: &Path) -> io::Result<bool> {
    Ok(std::fs::symlink_metadata(path)?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0)
}

/// Whether the place keeps access lists. FAT and its kin do not, and Wine answers with lists that it makes up from the
/// permissions of the computer below it.
fn keeps_lists(path: &Path) -> bool {
    // SAFETY: the name ends with a NUL. The library is part of every process and stays loaded.
    let library = unsafe { GetModuleHandleW(Wide::new("ntdll.dll").as_ptr()) };
    // SAFETY: the name ends with a NUL; the address is not called.
    let wine = unsafe { GetProcAddress(library, c"wine_get_version".as_ptr().cast()) };
    let Some(root) = path.ancestors().last().filter(|_| wine.is_none()) else { return false };
    let mut flags = 0;
    let root = Wide::new(&format!("{}\\", root.display().to_string().trim_end_matches('\\')));
    // SAFETY: the path ends with a NUL; the flags are written to a local; the rest is not wanted.
    let asked = unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut flags,
            std::ptr::null_mut(),
            0,
        )
    };
    // A volume that cannot be asked is a mounted or a distant one, which mostly does.
    asked == 0 || flags & FILE_PERSISTENT_ACLS != 0
}

/// What it takes for `path` to be a folder of the account; nothing when it is one.
fn plan(path: &Path, sid: &str, account: &str, notes: &mut Vec<String>) -> Result<Option<MakeFolder>, RegisterError> {
    let protected = keeps_lists(path);
    if !protected {
        notes.push(format!(
            "{} is where no access lists are kept, so others than {account} and administrators may get at it",
            path.display()
        ));
    }
    let step = MakeFolder { path: path.to_owned(), access_list: access_list(sid), account: account.to_owned() };
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(step)),
        Err(error) => return Err(Error::io(format!("look at {}", path.display()), error).into()),
        Ok(metadata) => metadata,
    };
    let shown = path.display();
    if metadata.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err(RegisterError::Refused(format!(
            "{shown} is a link or a junction; a folder of the guard has to be a real one"
        )));
    }
    if !metadata.is_dir() {
        return Err(RegisterError::Refused(format!("{shown} is there and is no folder; move it away")));
    }
    let failed = |source| RegisterError::from(Error::io(format!("read the access list of {shown}"), source));
    let owner = descriptor::of_path(path.as_os_str()).map_err(failed)?.owner;
    let owner = owner.map(|owner| owner.to_string()).unwrap_or_default();
    let own = crate::accounts::current().map(|own| own.id().to_string()).unwrap_or_default();
    if ![ADMINISTRATORS, SYSTEM, TRUSTED_INSTALLER, sid, &own].contains(&owner.as_str()) {
        return Err(RegisterError::Refused(format!(
            "{shown} belongs to {}, who could give himself every right to it; look at what is in it, and give it to the \
             administrators with: takeown /F \"{shown}\" /A /R",
            super::accounts::name_of(&owner)
        )));
    }
    let there = Descriptor::of_file(path).and_then(|descriptor| descriptor.access_list()).map_err(failed)?;
    Ok((protected && !same(&there, &step.access_list)).then_some(step))
}

/// The steps for all folders of a definition; `remembered` becomes what its mark is to remember of them.
pub(super) fn plan_all(
    definition: &Definition,
    sid: &str,
    account: &str,
    remembered: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Step>>, RegisterError> {
    let folders = &definition.folders;
    let each = [("state", &folders.state), ("logs", &folders.logs), ("runtime", &folders.runtime)];
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    remembered.clear();
    for (kind, folder) in each {
        let Some(folder) = folder else { continue };
        let text = path_text(folder)?;
        remembered.push(format!("{kind}={text}"));
        if let Some(step) = plan(text.as_ref(), sid, account, notes)? {
            steps.push(Box::new(step));
        }
    }
    Ok(steps)
}

/// The last steps of a removal: nothing brings folders back.
pub(super) fn plan_removal(mark: &Mark, purge: bool, steps: &mut Vec<Box<dyn Step>>, notes: &mut Vec<String>) {
    for folder in mark.folders_of("runtime").filter(|folder| folder.exists()) {
        steps.push(Box::new(RemoveFolder(folder)));
    }
    for folder in mark.folders_of("logs").chain(mark.folders_of("state")).filter(|folder| folder.exists()) {
        if purge {
            steps.push(Box::new(PurgeFolder(folder)));
        } else {
            notes.push(format!("{} stays; --purge removes it", folder.display()));
        }
    }
}

/// What an earlier removal left of a guard of the computer, by the places that registering gives to every guard.
pub(super) fn plan_purge(name: &str) -> Result<Plan, RegisterError> {
    let paths = Paths::of_host(|key| std::env::var_os(key));
    let mut places = vec![paths.log_dir(name), paths.state_dir(name)];
    // What is no name could lead anywhere.
    places.retain(|place| Name::new(name).is_ok() && place.exists());
    if places.is_empty() {
        return Err(RegisterError::Missing { name: name.to_owned() });
    }
    let steps = places.into_iter().map(|folder| Box::new(PurgeFolder(folder)) as Box<dyn Step>).collect();
    Ok(Plan::new(steps, vec![format!("{name} is not installed; this removes what an earlier one left")]))
}

fn whole(letters_or_sid: &str) -> String {
    identifier(letters_or_sid).map_or_else(|_| letters_or_sid.to_owned(), |sid| sid.to_string())
}

/// Whether two access lists say the same, in whatever letters.
fn same(a: &str, b: &str) -> bool {
    let read = |list: &str| {
        // The OS writes rights by letters where it has them, so both go through it.
        let list = Descriptor::parse(list).and_then(|descriptor| descriptor.access_list());
        let (mut entries, protected) = entries(&list.unwrap_or_default());
        for entry in &mut entries {
            *entry = Entry { whom: whole(&entry.whom), ..entry.clone() };
        }
        entries.sort();
        (entries, protected)
    };
    read(a) == read(b)
}

/// A path that may be longer than what Windows takes without being told.
fn wide(path: &Path) -> Wide {
    let text = path.to_string_lossy();
    // Folders are refused from 248 characters on.
    if text.len() < 240 || text.starts_with(r"\\") { Wide::new(&text) } else { Wide::new(&format!(r"\\?\{text}")) }
}

fn make(path: &Path, access_list: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(access_list)?;
    let attributes = descriptor.attributes();
    let path = wide(path);
    // SAFETY: the path ends with a NUL; the attributes point to a descriptor that lives through the call.
    if unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes a folder and those above it, or puts its access list right.
struct MakeFolder {
    path: PathBuf,
    access_list: String,
    account: String,
}

impl fmt::Display for MakeFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make the folder {} for {}", self.path.display(), self.account)
    }
}

impl Step for MakeFolder {
    fn text(&self) -> Option<String> {
        Some(format!("access list {}", self.access_list))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let failed = |what: &str, path: &Path, source| Error::io(format!("{what} {}", path.display()), source);
        if self.path.is_dir() {
            if leads_elsewhere(&self.path).map_err(|source| failed("look at", &self.path, source))? {
                return Err(Error::Refused(format!("{} has become a link", self.path.display())));
            }
            let former = Descriptor::of_file(&self.path).map_err(|source| failed("look at", &self.path, source))?;
            let protected = former.access_list().is_ok_and(|list| entries(&list).1);
            Descriptor::parse(&self.access_list)
                .and_then(|descriptor| descriptor.put_on(&self.path, true))
                .map_err(|source| failed("set the access list of", &self.path, source))?;
            let path = self.path.clone();
            return Ok(Some(Box::new(move || {
                former.put_on(&path, protected).map_err(|source| {
                    Error::io(format!("put the former access list back on {}", path.display()), source)
                })
            })));
        }
        let mut absent: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        absent.reverse();
        let mut made: Vec<PathBuf> = Vec::new();
        for path in absent {
            let list = if path == self.path { self.access_list.as_str() } else { ABOVE };
            if let Err(source) = make(path, list) {
                let error = failed("make the folder", path, source);
                return Err(match unmake(&made) {
                    Ok(()) => error,
                    Err(stuck) => Error::Refused(format!("{error}, and {stuck}")),
                });
            }
            made.push(path.to_owned());
        }
        if made.is_empty() {
            return Err(Error::Refused(format!("{} is there and is no folder", self.path.display())));
        }
        Ok(Some(Box::new(move || unmake(&made))))
    }
}

/// Removes folders that were made, the innermost first; they are empty, for nothing has run yet.
fn unmake(made: &[PathBuf]) -> Result<(), Error> {
    for path in made.iter().rev() {
        std::fs::remove_dir(path)
            .map_err(|source| Error::io(format!("remove the folder {}", path.display()), source))?;
    }
    Ok(())
}

/// Removes a folder with everything in it; the last of steps, for it cannot be taken back.
struct PurgeFolder(PathBuf);

impl fmt::Display for PurgeFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove the folder {} with everything in it", self.0.display())
    }
}

impl Step for PurgeFolder {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let shown = self.0.display();
        match leads_elsewhere(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io(format!("look at {shown}"), source)),
            Ok(true) => {
                return Err(Error::Refused(format!(
                    "{shown} has become a link or a junction, and what is behind it is not the guard's; remove it \
                     yourself"
                )));
            }
            Ok(false) => {}
        }
        // The standard library opens what it removes without following links, at every depth.
        std::fs::remove_dir_all(&self.0).map_err(|source| Error::io(format!("remove the folder {shown}"), source))?;
        let path = self.0.clone();
        Ok(Some(Box::new(move || Err(Error::Refused(format!("{} was removed with everything in it", path.display()))))))
    }
}

/// Removes a folder of the time while it runs, when nothing is left in it.
struct RemoveFolder(PathBuf);

impl fmt::Display for RemoveFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove the folder {}", self.0.display())
    }
}

impl Step for RemoveFolder {
    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        match PurgeFolder(self.0.clone()).carry_out() {
            // What was in it is of no use to what does not run, so there is nothing to be sorry for.
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
