//! Whether a folder of the guard is the guard's alone: nobody whom it does not have to trust anyway owns it or what is in
//! it, or may change it.
//!
//! Trusted are root and the account that asks. A group may write where it is that account's own: whoever put themselves
//! into that group meant it, and volumes of containers are shared so.

use crate::Error;
use crate::files::Look;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files of a folder that are looked at. A guard's own has a dozen; in one that nobody else may change, further ones are
/// nobody else's either.
const ENTRIES_MAX: usize = 1024;

/// Who asks.
struct Asker {
    uid: u32,
    gid: u32,
}

pub(crate) fn refuse_strangers(folder: &Path, look: Look) -> Result<(), Error> {
    let asker = Asker { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let failed = |path: &Path, source| Error::io(format!("look at {}", path.display()), source);
    let entered_by = match std::fs::metadata(folder) {
        Ok(about) => {
            let is_shared = look == Look::Way && about.mode() & 0o1000 != 0;
            asker.judge(folder, folder, &about, if is_shared { 0 } else { 0o022 })?;
            // Who may not enter the folder changes nothing in it, whatever the modes there are: some umasks let all write.
            (about.mode() & 0o011) << 1
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(folder, source)),
    };
    if look != Look::Within {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|source| failed(folder, source))?;
    for entry in entries.take(ENTRIES_MAX) {
        let path = entry.map_err(|source| failed(folder, source))?.path();
        // Of a link: who made it says where it leads.
        match std::fs::symlink_metadata(&path) {
            Ok(about) => asker.judge(folder, &path, &about, entered_by)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(&path, source)),
        }
    }
    Ok(())
}

impl Asker {
    /// `by`: whose writing counts, as the bits of a mode.
    fn judge(&self, folder: &Path, path: &Path, about: &Metadata, by: u32) -> Result<(), Error> {
        let (owner, group, mode) = (about.uid(), about.gid(), about.mode() & 0o7777);
        let refuse = |what: String, mend: String| {
            let path = path.display();
            Err(Error::Refused(format!(
                "{path} {what} (owner {owner}, group {group}, mode {mode:03o}), who could change what this guard relies \
                 on; if it is this guard's, mend it: {mend}"
            )))
        };
        if owner != self.uid && owner != 0 {
            let command = format!("chown -R {}:{} '{}'", self.uid, self.gid, folder.display());
            return refuse(format!("belongs to the account {owner}"), command);
        }
        // The mode of a link means nothing, and who may speak to a socket is asked by who listens.
        if !about.is_dir() && !about.is_file() {
            return Ok(());
        }
        match who_writes(about, by, self.gid) {
            None => Ok(()),
            Some(Writers::All) => {
                refuse("can be changed by every account".into(), format!("chmod o-w '{}'", path.display()))
            }
            Some(Writers::Group) => {
                refuse(format!("can be changed by the group {group}"), format!("chmod g-w '{}'", path.display()))
            }
        }
    }
}

/// Who, besides its owner, may change something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writers {
    All,
    /// Of it, nobody knows who is in it.
    Group,
}

/// Who may change this that nobody has to trust. `by`: whose writing counts, as the bits of a mode. `gid`: the group of
/// whoever asks.
pub(super) fn who_writes(about: &Metadata, by: u32, gid: u32) -> Option<Writers> {
    let writing = about.mode() & by;
    if writing & 0o002 != 0 {
        return Some(Writers::All);
    }
    (writing & 0o020 != 0 && ![0, gid].contains(&about.gid())).then_some(Writers::Group)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    /// An account that nobody has to trust.
    const STRANGER: u32 = 65_534;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn look(folder: &Path) -> Result<(), Error> {
        refuse_strangers(folder, Look::Within)
    }

    fn said(folder: &Path) -> String {
        look(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_way_leads_through_folders_in_which_nobody_else_can_put_another_thing_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let way = || refuse_strangers(dir.path(), Look::Way);
        mode(dir.path(), 0o1777);
        way().unwrap();
        assert!(refuse_strangers(dir.path(), Look::Folder).is_err());
        mode(dir.path(), 0o777);
        assert!(way().unwrap_err().to_string().contains("chmod o-w"));
        mode(dir.path(), 0o755);
        way().unwrap();
        // Whoever owns it may take anything out of it.
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(STRANGER), None).unwrap();
            assert!(way().is_err());
        }
    }

    #[test]
    fn a_folder_or_a_file_in_it_that_others_can_change_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ledger");
        std::fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        look(dir.path()).unwrap();
        mode(&file, 0o666);
        mode(dir.path(), 0o700);
        look(dir.path()).unwrap();
        mode(dir.path(), 0o755);
        mode(&file, 0o646);
        let told = said(dir.path());
        assert!(told.contains(&format!("chmod o-w '{}'", file.display())) && told.contains("mode 646"), "{told}");
        refuse_strangers(dir.path(), Look::Folder).unwrap();
        refuse_strangers(&dir.path().join("none"), Look::Within).unwrap();
        mode(&file, 0o600);
        mode(dir.path(), 0o707);
        let told = said(dir.path());
        assert!(told.contains(&format!("chmod o-w '{}'", dir.path().display())), "{told}");
    }

    #[test]
    fn what_belongs_to_another_account_is_refused_by_root_too() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("ledger"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        chown(&file, Some(STRANGER), None).unwrap();
        let told = said(dir.path());
        assert!(told.contains("belongs to the account 65534") && told.contains("chown -R 0:0"), "{told}");
        std::fs::remove_file(&file).unwrap();
        symlink("elsewhere", &link).unwrap();
        look(dir.path()).unwrap();
        lchown(&link, Some(STRANGER), None).unwrap();
        assert!(said(dir.path()).contains("link"), "{}", said(dir.path()));
        std::fs::remove_file(&link).unwrap();
        mode(dir.path(), 0o770);
        look(dir.path()).unwrap();
        chown(dir.path(), None, Some(STRANGER)).unwrap();
        assert!(said(dir.path()).contains("can be changed by the group 65534"), "{}", said(dir.path()));
        chown(dir.path(), Some(STRANGER), Some(0)).unwrap();
        assert!(said(dir.path()).contains("belongs to the account 65534"), "{}", said(dir.path()));
    }
}
