//! Whether a folder can be trusted with what guards keep: whether it is one, and whose.
//!
//! Everybody may make folders and links in `ProgramData`. Whoever owns a folder can give himself every right to it, and
//! whoever made a link chose what is behind it. Asked before a guard puts anything into a folder ([`super::files`]) and
//! when a registration is planned, so that both judge alike and an installation is refused where its service would be.
//!
//! Invariant: what is judged is the thing itself, by one handle, and never what a link leads to.

use super::access::is_trusted;
use super::files::for_the_os;
use super::security::descriptor::{self, Access, Rule};
use super::security::sid::{ADMINISTRATORS, AUTHENTICATED, EVERYONE, SYSTEM, TRUSTED_INSTALLER, USERS};
use super::security::{Sid, token};
use super::wide::terminated;
use crate::Error;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_READ_ATTRIBUTES, GetFileAttributesW, INVALID_FILE_ATTRIBUTES, READ_CONTROL,
};

/// The access list of folders that several guards share: everybody may look for what is theirs, nobody may put anything
/// in.
pub(crate) const SHARED: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";

/// What every account must be allowed in a shared folder, as [`SHARED`] says it: reading, passing through, and seeing
/// whose it is.
const LOOK: u32 = 0x0012_00a9;

/// Adding files and folders, deleting them, deleting the folder, changing its list and its owner; and what stands for
/// writing or everything.
const CHANGE: u32 = 0x2 | 0x4 | 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x1000_0000 | 0x4000_0000;

/// The folder in `ProgramData` under which nobody else has any business.
pub(crate) fn root() -> PathBuf {
    let root = super::paths::root(&|key: &str| std::env::var_os(key));
    std::path::absolute(&root).unwrap_or(root)
}

/// Whether `path`, which is absolute, is `root` or under it. Windows knows no capitals in names, and long paths have a
/// spelling of their own.
pub(crate) fn is_within(path: &Path, root: &Path) -> bool {
    let mut long = OsString::from(r"\\?\");
    long.push(root);
    let spellings = [root.as_os_str(), &long];
    path.ancestors().any(|folder| spellings.iter().any(|root| folder.as_os_str().eq_ignore_ascii_case(root)))
}

/// The folders from `root` down to the one that `path` is in, the outermost first; none when it is not under `root`.
pub(crate) fn above(path: &Path, root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        path.ancestors().skip(1).take_while(|folder| is_within(folder, root)).map(Path::to_path_buf).collect();
    folders.reverse();
    folders
}

/// What to make a shared folder with. One without an administrator's rights could put nothing into its own folder
/// otherwise, and cannot give it away.
pub(crate) fn list_for_shared(own: &Sid) -> String {
    if token::is_administrator() { format!("O:BA{SHARED}") } else { format!("{SHARED}(A;OICI;FA;;;{own})") }
}

/// What is in a place.
#[derive(Debug)]
struct Found {
    is_folder: bool,
    leads_elsewhere: bool,
    access: Access,
}

/// Looks at `path` without following a link. `None`: there is nothing.
///
/// # Errors
/// It cannot be looked at, or it is no folder that can be trusted by a guard of these `accounts` ([`Error::Refused`]).
pub(crate) fn look(path: &Path, accounts: &[Sid]) -> Result<Option<Access>, Error> {
    let found =
        find(path).map_err(|source| Error::io(format!("find out what {} is and whose", path.display()), source))?;
    match found {
        None => Ok(None),
        Some(found) => match refusal(path, &found, accounts) {
            None => Ok(Some(found.access)),
            Some(refusal) => Err(Error::Refused(refusal)),
        },
    }
}

fn find(path: &Path) -> io::Result<Option<Found>> {
    let opened = OpenOptions::new()
        .access_mode(READ_CONTROL | FILE_READ_ATTRIBUTES)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path);
    let opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let attributes = opened.metadata()?.file_attributes();
    Ok(Some(Found {
        is_folder: attributes & FILE_ATTRIBUTE_DIRECTORY != 0,
        // Wine knows only by its name that a thing is a link.
        leads_elsewhere: attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 || leads_elsewhere(path)?,
        access: descriptor::of_file(&opened)?,
    }))
}

/// Whether the path is a link, a mount point or another thing that leads elsewhere.
pub(crate) fn leads_elsewhere(path: &Path) -> io::Result<bool> {
    let name = terminated(for_the_os(path)?)?;
    // SAFETY: the name ends with a zero and lives during the call.
    match unsafe { GetFileAttributesW(name.as_ptr()) } {
        INVALID_FILE_ATTRIBUTES => Err(io::Error::last_os_error()),
        attributes => Ok(attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0),
    }
}

fn refusal(path: &Path, found: &Found, accounts: &[Sid]) -> Option<String> {
    let shown = path.display();
    if found.leads_elsewhere {
        let whose = found.access.owner.as_ref().map_or_else(|| "nobody".to_owned(), Sid::name);
        return Some(format!(
            "{shown} is a link or a junction, which belongs to {whose}, and a guard keeps nothing behind one; remove it \
             with: rmdir \"{shown}\""
        ));
    }
    if !found.is_folder {
        return Some(format!("{shown} is there and is no folder; move it away"));
    }
    stranger(path, found.access.owner.as_ref(), accounts)
}

/// Why a folder of this owner is not to be used; `None` for one of the system, the administrators or these `accounts`.
pub(crate) fn stranger(path: &Path, owner: Option<&Sid>, accounts: &[Sid]) -> Option<String> {
    let owner = owner.filter(|owner| !may_do_everything(owner) && !accounts.contains(owner))?;
    let shown = path.display();
    Some(format!(
        "the folder {shown} belongs to {}, who could read and replace what is put in it; delete it, or look at what is \
         in it and make it the administrators' with: takeown /F \"{shown}\" /A /R, then: icacls \"{shown}\" /reset /T",
        owner.name()
    ))
}

/// Whether `owner` may do everything on the computer anyway.
pub(crate) fn may_do_everything(owner: &Sid) -> bool {
    [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER].iter().any(|text| owner.is(text))
}

/// Whether a shared folder's list has to become [`SHARED`]: an account could not look for its own folder in it, or
/// somebody who need not be trusted could put a folder in it before a guard does. Folders in `ProgramData` are the
/// latter unless they are made otherwise; the former are those that were made for one account.
pub(crate) fn is_to_be_mended(access: &Access) -> bool {
    let Some(rules) = &access.rules else { return true };
    let is_everybodys = |rule: &&Rule| [USERS, EVERYONE, AUTHENTICATED].iter().any(|text| rule.sid.is(text));
    let (denied, allowed): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| rule.denies);
    let look = allowed.iter().copied().filter(is_everybodys).fold(0, |rights, rule| rights | rule.rights);
    look & LOOK != LOOK
        || denied.iter().copied().filter(is_everybodys).any(|rule| rule.rights & LOOK != 0)
        || allowed.iter().any(|rule| rule.rights & CHANGE != 0 && !is_trusted(&rule.sid))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::process::Command;

    /// Makes `link` lead to the folder `target`. `false`: the host cannot make such a thing.
    pub(crate) fn junction(link: &Path, target: &Path) -> bool {
        let said = |program: &str, words: &[&OsStr]| {
            let said = Command::new(program).args(words).output();
            said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
        };
        said("cmd", &["/c".as_ref(), "mklink".as_ref(), "/J".as_ref(), link.as_ref(), target.as_ref()]);
        let made = || find(link).unwrap().is_some_and(|found| found.leads_elsewhere);
        if !made() {
            // Wine has no junctions, and takes the links of the computer below it for such.
            let below = |path: &Path| said("winepath", &["-u".as_ref(), path.as_ref()]);
            let (link, target) = (below(link), below(target));
            let words = ["/wait", "/unix", "/bin/ln", "-s", &target, &link].map(OsStr::new);
            said("start", &words);
        }
        made()
    }

    #[test]
    fn what_leads_elsewhere_is_seen_as_that_and_not_as_what_is_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::fs::create_dir(&target).unwrap();
        let own = token::Token::own().unwrap().user().unwrap();
        assert!(!find(&target).unwrap().unwrap().leads_elsewhere);
        let linked = junction(&link, &target);
        println!("links can be made here: {linked}");
        if linked {
            let said = look(&link, &[own]).unwrap_err().to_string();
            assert!(said.contains("junction"), "{said}");
        }
    }

    const PERSON: &str = "S-1-5-21-1-2-3-1001";
    const SERVICE: &str = "S-1-5-80-1-2-3-4-5";

    fn sid(text: &str) -> Sid {
        text.parse().unwrap()
    }

    fn rule(who: &str, rights: u32) -> Rule {
        Rule { sid: sid(who), denies: false, rights }
    }

    fn found(owner: &str) -> Found {
        let access = Access { owner: Some(sid(owner)), rules: Some(Vec::new()) };
        Found { is_folder: true, leads_elsewhere: false, access }
    }

    fn said(found: &Found) -> Option<String> {
        refusal(Path::new(r"C:\ProgramData\Tutela"), found, &[sid(SERVICE)])
    }

    #[test]
    fn a_folder_of_the_system_the_administrators_or_the_account_itself_is_trusted() {
        for owner in [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, SERVICE] {
            assert_eq!(said(&found(owner)), None, "{owner}");
        }
    }

    #[test]
    fn a_folder_that_somebody_else_made_is_refused_with_his_name_and_a_way_out() {
        let said = said(&found(PERSON)).unwrap();
        assert!(said.contains(PERSON) && said.contains(r#"takeown /F "C:\ProgramData\Tutela" /A"#), "{said}");
    }

    #[test]
    fn a_link_is_refused_whoever_made_it_and_a_file_as_well() {
        for owner in [ADMINISTRATORS, PERSON] {
            let said = said(&Found { leads_elsewhere: true, ..found(owner) }).unwrap();
            assert!(said.contains("junction") && said.contains(r#"rmdir "C:\ProgramData\Tutela""#), "{said}");
        }
        assert!(said(&Found { is_folder: false, ..found(SYSTEM) }).unwrap().contains("no folder"));
    }

    #[test]
    fn the_folders_above_are_those_from_the_root_down_in_whatever_capitals() {
        let root = Path::new(r"C:\ProgramData\Tutela");
        let folders = above(Path::new(r"c:\programdata\TUTELA\state\shop"), root);
        assert_eq!(folders, [Path::new(r"c:\programdata\TUTELA"), Path::new(r"c:\programdata\TUTELA\state")]);
        assert_eq!(above(Path::new(r"\\?\C:\ProgramData\Tutela\state\shop"), root).len(), 2);
        for elsewhere in [r"C:\ProgramData\Tutela", r"C:\ProgramData\Tutelage\x", r"D:\ProgramData\Tutela\x"] {
            assert!(above(Path::new(elsewhere), root).is_empty(), "{elsewhere}");
        }
    }

    #[test]
    fn a_shared_folder_is_mended_when_others_cannot_look_or_could_put_something_in() {
        let full = 0x001f_01ff;
        let masters = vec![rule(SYSTEM, full), rule(ADMINISTRATORS, full)];
        let with = |more: &[Rule]| {
            let rules = [masters.as_slice(), more].concat();
            is_to_be_mended(&Access { owner: None, rules: Some(rules) })
        };
        assert!(!with(&[rule(USERS, LOOK)]), "as it is made");
        assert!(!with(&[rule(EVERYONE, LOOK), rule(PERSON, LOOK)]));
        assert!(with(&[rule(PERSON, full)]), "a try in an elevated prompt left it so");
        assert!(with(&[rule(USERS, LOOK), rule(USERS, 0x116)]), "as ProgramData hands it down");
        assert!(with(&[rule(USERS, LOOK), rule(PERSON, full)]));
        assert!(with(&[Rule { denies: true, ..rule(USERS, 0x1) }, rule(USERS, LOOK)]));
        assert!(is_to_be_mended(&Access { owner: None, rules: None }), "no list allows everything");
    }

    #[test]
    fn what_is_not_there_is_nothing_and_what_was_made_here_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let own = token::Token::own().unwrap().user().unwrap();
        assert!(look(&dir.path().join("absent").join("more"), std::slice::from_ref(&own)).unwrap().is_none());
        assert!(look(dir.path(), &[own]).unwrap().is_some());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(look(&file, &[]).is_err());
    }
}
