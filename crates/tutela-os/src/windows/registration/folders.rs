//! Folders of a registration: made with an access list for the OS, the administrators and the account, put right when
//! they are there already, and removed without ever leaving them through a link.
//!
//! Invariant: a folder is only taken over from an owner who may do everything anyway, or who registers; whoever else
//! owns it could give himself every right to it again. That holds for those above it too, as far as they are Tutela's.

use super::access_list::same;
use super::mark::Mark;
use super::refusals::NEEDS;
use super::service::path_text;
use super::text::Wide;
use crate::Error;
use crate::paths::Paths;
use crate::platform::library::Library;
use crate::platform::security::descriptor::Access;
use crate::platform::security::sid::SYSTEM;
use crate::platform::security::{Descriptor, Sid, Token, token};
use crate::platform::{files, trust};
use crate::registration::{Definition, Plan, RegisterError, Step, Undo};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tutela_core::names::Name;
use windows_sys::Win32::Storage::FileSystem::GetVolumeInformationW;
use windows_sys::Win32::System::SystemServices::FILE_PERSISTENT_ACLS;

/// The access list of a folder for the account `sid`: it may do everything but change the rights.
fn access_list(sid: &str) -> String {
    let shared = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
    if sid == SYSTEM { shared.to_owned() } else { format!("{shared}(A;OICI;0x1301bf;;;{sid})") }
}

/// Whether the place keeps access lists. FAT and its kin do not, and Wine answers with lists that it makes up from the
/// permissions of the computer below it.
fn keeps_lists(path: &Path) -> bool {
    let is_wine = Library::load("ntdll.dll").is_some_and(|library| library.has(c"wine_get_version"));
    let Some(root) = path.ancestors().last().filter(|_| !is_wine) else { return false };
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

/// Whom the folders of a registration are for, and who registers.
#[derive(Debug, Clone)]
struct Whose {
    sid: String,
    account: String,
    /// The accounts whose folders are taken over: of the guard, and of who registers.
    trusted: Vec<Sid>,
}

impl Whose {
    /// Whether something of this owner is to become the administrators': a service of another account would not trust
    /// it with him.
    fn is_taken_over(&self, owner: Option<&Sid>) -> bool {
        owner.is_some_and(|owner| !trust::may_do_everything(owner) && !owner.is(&self.sid))
    }
}

/// Looks at a folder without following a link; `None`: there is none.
fn look(path: &Path, whose: &Whose) -> Result<Option<Access>, RegisterError> {
    trust::look(path, &whose.trusted).map_err(|error| match error {
        Error::Refused(why) => RegisterError::Refused(why),
        denied if denied.io_kind() == Some(io::ErrorKind::PermissionDenied) && !token::is_administrator() => {
            RegisterError::NotAllowed { what: format!("looking at {}", path.display()), needs: NEEDS.to_owned() }
        }
        failed => failed.into(),
    })
}

/// What it takes for `path` to be a folder of the account; nothing when it is one.
fn plan(path: &Path, whose: &Whose, root: &Path, notes: &mut Vec<String>) -> Result<Option<MakeFolder>, RegisterError> {
    let protected = keeps_lists(path);
    if !protected {
        notes.push(format!(
            "{} is where no access lists are kept, so others than {} and administrators may get at it",
            path.display(),
            whose.account
        ));
    }
    let access_list = access_list(&whose.sid);
    let step = MakeFolder { path: path.to_owned(), root: root.to_owned(), access_list, whose: whose.clone() };
    let Some(access) = look(path, whose)? else { return Ok(Some(step)) };
    let there = Descriptor::of_file(path)
        .and_then(|descriptor| descriptor.access_list())
        .map_err(|source| Error::io(format!("read the access list of {}", path.display()), source))?;
    let is_right = same(&there, &step.access_list) && !whose.is_taken_over(access.owner.as_ref());
    Ok((protected && !is_right).then_some(step))
}

/// The steps that make those folders above `path` that are Tutela's, and are there, what every guard needs; `seen` are
/// those that are not to be looked at again.
fn plan_above(
    path: &Path,
    whose: &Whose,
    root: &Path,
    seen: &mut Vec<PathBuf>,
) -> Result<Vec<Box<dyn Step>>, RegisterError> {
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    for folder in trust::above(path, root) {
        if seen.contains(&folder) {
            continue;
        }
        let Some(access) = look(&folder, whose)? else { break };
        let is_right = !trust::is_to_be_mended(&access) && !whose.is_taken_over(access.owner.as_ref());
        if !is_right && keeps_lists(&folder) {
            steps.push(Box::new(ShareFolder { path: folder.clone(), whose: whose.clone() }));
        }
        seen.push(folder);
    }
    Ok(steps)
}

/// The steps for all folders of a definition; `remembered` becomes what its mark is to remember of them.
pub(super) fn plan_all(
    definition: &Definition,
    sid: &str,
    account: &str,
    remembered: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Step>>, RegisterError> {
    plan_under(&trust::root(), definition, (sid, account), remembered, notes)
}

/// As [`plan_all`], where the folders that are Tutela's are under `root`.
fn plan_under(
    root: &Path,
    definition: &Definition,
    (sid, account): (&str, &str),
    remembered: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Step>>, RegisterError> {
    let own = Token::own().and_then(|token| token.user());
    let trusted = own.into_iter().chain(sid.parse()).collect();
    let whose = Whose { sid: sid.to_owned(), account: account.to_owned(), trusted };
    let folders = &definition.folders;
    let each = [("state", &folders.state), ("logs", &folders.logs), ("runtime", &folders.runtime)];
    let (mut steps, mut seen): (Vec<Box<dyn Step>>, _) = (Vec::new(), Vec::new());
    remembered.clear();
    for (kind, folder) in each {
        let Some(folder) = folder else { continue };
        let text = path_text(folder)?;
        remembered.push(format!("{kind}={text}"));
        steps.extend(plan_above(text.as_ref(), &whose, root, &mut seen)?);
        if let Some(step) = plan(text.as_ref(), &whose, root, notes)? {
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

/// Puts the access list on a folder that is there, and makes it the administrators' when whose it is would not do.
fn put_right(path: &Path, access_list: &str, whose: &Whose) -> Result<Undo, Error> {
    let failed = |what: &str, source| Error::io(format!("{what} {}", path.display()), source);
    if trust::look(path, &whose.trusted)?.is_none() {
        return Err(Error::Refused(format!("{} has been removed meanwhile", path.display())));
    }
    let former = Descriptor::of_file(path).map_err(|source| failed("look at", source))?;
    let owner = former.owner().map_err(|source| failed("look at", source))?;
    let is_taken_over = whose.is_taken_over(owner.as_ref());
    let wanted = Descriptor::from_sddl(&format!("O:BA{access_list}"))
        .map_err(|source| failed("write the access list for", source))?;
    wanted.put_list_on(path).map_err(|source| failed("set the access list of", source))?;
    let path = path.to_owned();
    let put_back = move |path: &Path, with_owner: bool| {
        // While it is the administrators' it can be given back, and only its owner is sure to change the list.
        let given_back = if with_owner { former.put_owner_on(path) } else { Ok(()) };
        let list = former.put_list_on(path);
        given_back.and(list).map_err(|source| {
            Error::io(format!("put the former owner and access list back on {}", path.display()), source)
        })
    };
    // The list comes first, because it is what lets administrators take the folder.
    if is_taken_over && let Err(source) = wanted.put_owner_on(&path) {
        let error = Error::io(format!("make {} the administrators'", path.display()), source);
        return Err(match put_back(&path, false) {
            Ok(()) => error,
            Err(stuck) => Error::Refused(format!("{error}, and {stuck}")),
        });
    }
    Ok(Box::new(move || put_back(&path, is_taken_over)))
}

/// Makes a folder that guards share what each of them needs.
struct ShareFolder {
    path: PathBuf,
    whose: Whose,
}

impl fmt::Display for ShareFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "let everybody look into the folder {} and only administrators change it", self.path.display())
    }
}

impl Step for ShareFolder {
    fn text(&self) -> Option<String> {
        Some(format!("access list {}", trust::SHARED))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        put_right(&self.path, trust::SHARED, &self.whose).map(Some)
    }
}

/// Makes a folder and those above it, or puts its access list right.
struct MakeFolder {
    path: PathBuf,
    /// What is under it is Tutela's.
    root: PathBuf,
    access_list: String,
    whose: Whose,
}

impl fmt::Display for MakeFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make the folder {} for {}", self.path.display(), self.whose.account)
    }
}

impl Step for MakeFolder {
    fn text(&self) -> Option<String> {
        Some(format!("access list {}", self.access_list))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        for folder in trust::above(&self.path, &self.root) {
            trust::look(&folder, &self.whose.trusted)?;
        }
        if trust::look(&self.path, &self.whose.trusted)?.is_some() {
            return put_right(&self.path, &self.access_list, &self.whose).map(Some);
        }
        let mut absent: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        absent.reverse();
        let mut made: Vec<PathBuf> = Vec::new();
        for path in absent {
            // In an account's own place the folders above are the account's too, also when an administrator makes them
            // for it: it makes those of its other guards there.
            let is_shared = path != self.path && trust::is_within(path, &self.root);
            let list = (!is_shared).then_some(self.access_list.as_str());
            if let Err(source) = make(path, list) {
                let error = Error::io(format!("make the folder {}", path.display()), source);
                return Err(match unmake(&made) {
                    Ok(()) => error,
                    Err(stuck) => Error::Refused(format!("{error}, and {stuck}")),
                });
            }
            made.push(path.to_owned());
        }
        Ok(Some(Box::new(move || unmake(&made))))
    }
}

/// Makes a folder with this list, or one that guards share. What an administrator makes is the administrators', so that
/// a service trusts it whoever that was.
fn make(path: &Path, access_list: Option<&str>) -> io::Result<()> {
    let list = match access_list {
        Some(list) if token::is_administrator() => format!("O:BA{list}"),
        Some(list) => list.to_owned(),
        None => trust::list_for_shared(&Token::own()?.user()?),
    };
    files::make_one(path, &Descriptor::from_sddl(&list)?)
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
        for folder in trust::above(&self.0, &trust::root()) {
            if trust::leads_elsewhere(&folder).is_ok_and(|leads| leads) {
                return Err(Error::Refused(format!(
                    "{} is a link or a junction, so {shown} is not the guard's; remove it yourself",
                    folder.display()
                )));
            }
        }
        match trust::leads_elsewhere(&self.0) {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const SERVICE: &str = "S-1-5-80-1-2-3-4-5";

    fn whose(trusted: &[&str]) -> Whose {
        let trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Whose { sid: SERVICE.to_owned(), account: "a service".to_owned(), trusted }
    }

    /// The account that the tests run as.
    fn own() -> Whose {
        whose(&[&Token::own().unwrap().user().unwrap().to_string()])
    }

    #[test]
    fn what_an_administrator_owns_as_a_person_is_taken_over_and_what_the_account_owns_is_not() {
        let whose = whose(&["S-1-5-21-1-2-3-1001", SERVICE]);
        let is_taken_over = |owner: &str| whose.is_taken_over(Some(&owner.parse().unwrap()));
        assert!(is_taken_over("S-1-5-21-1-2-3-1001"));
        for owner in [SERVICE, SYSTEM, "S-1-5-32-544"] {
            assert!(!is_taken_over(owner), "{owner}");
        }
    }

    #[test]
    fn a_plan_is_refused_by_a_link_or_a_file_anywhere_from_the_root_down() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Tutela");
        let (path, target) = (root.join("state").join("shop"), dir.path().join("target"));
        std::fs::create_dir_all(target.join("shop")).unwrap();
        std::fs::create_dir(&root).unwrap();
        let refused = |path: &Path| {
            let above = plan_above(path, &own(), &root, &mut Vec::new()).map(drop);
            let error = above.and_then(|()| plan(path, &own(), &root, &mut Vec::new()).map(drop)).unwrap_err();
            assert!(matches!(error, RegisterError::Refused(_)), "{error}");
            error.to_string()
        };
        std::fs::write(root.join("state"), "").unwrap();
        assert!(refused(&path).contains("is no folder"));
        std::fs::remove_file(root.join("state")).unwrap();
        if trust::tests::junction(&root.join("state"), &target) {
            assert!(refused(&path).contains("junction"));
        }
    }

    #[test]
    fn what_is_not_under_the_root_is_made_for_the_account_with_those_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let (root, place) = (dir.path().join("ProgramData"), dir.path().join("Own"));
        let path = place.join("state").join("shop");
        let whose = Whose { sid: own().trusted[0].to_string(), ..own() };
        let step = plan(&path, &whose, &root, &mut Vec::new()).unwrap().unwrap();
        let undo = step.carry_out().unwrap().unwrap();
        // The account makes that of another guard by itself.
        std::fs::create_dir(place.join("state").join("other")).unwrap();
        if keeps_lists(&place) {
            let list = Descriptor::of_file(&place).unwrap().access_list().unwrap();
            assert!(same(&list, &access_list(&whose.sid)), "{list}");
        }
        std::fs::remove_dir(place.join("state").join("other")).unwrap();
        undo().unwrap();
        assert!(!place.exists());
    }

    #[test]
    fn folders_are_made_for_an_account_put_right_when_they_are_there_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Tutela");
        let path = root.join("state").join("shop");
        // The tests' own account, which has to be able to remove what it made.
        let whose = Whose { sid: own().trusted[0].to_string(), ..own() };
        let step = || plan(&path, &whose, &root, &mut Vec::new()).unwrap();
        let undo = step().unwrap().carry_out().unwrap().unwrap();
        assert!(path.is_dir());
        undo().unwrap();
        assert!(!root.exists());
        std::fs::create_dir_all(&path).unwrap();
        let there = || Descriptor::of_file(&path).unwrap().access_list().unwrap();
        let before = there();
        let access_list = access_list(&whose.sid);
        let step = MakeFolder { path: path.clone(), root: root.clone(), access_list, whose: whose.clone() };
        step.carry_out().unwrap().unwrap()().unwrap();
        assert_eq!(there(), before, "what a folder takes over from above comes back too");
        let share = ShareFolder { path: root.clone(), whose };
        share.carry_out().unwrap().unwrap()().unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(share.carry_out().is_err());
    }

    #[test]
    fn a_folder_above_is_mended_once_for_all_that_are_under_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Tutela");
        let (state, logs) = (root.join("state").join("shop"), root.join("logs").join("shop"));
        std::fs::create_dir_all(root.join("state")).unwrap();
        let mut seen = Vec::new();
        let steps: Vec<String> = [&state, &logs]
            .into_iter()
            .flat_map(|path| plan_above(path, &own(), &root, &mut seen).unwrap())
            .map(|step| step.to_string())
            .collect();
        assert_eq!(seen, [root.clone(), root.join("state")]);
        // What a plain call made is one account's own, where lists are kept.
        assert_eq!(steps.len(), if keeps_lists(&root) { 2 } else { 0 }, "{steps:?}");
    }
}
