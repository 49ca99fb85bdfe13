//! Whom systemd is to run it as, and whether that account can reach what it needs.
//!
//! A look at modes is no proof: access lists and security modules have a say too. So a file with an access list is
//! taken to be reachable, and what is refused here is what can be seen to fail.

use super::steps;
use crate::platform::accounts;
use crate::registration::systemd::Runs;
use crate::registration::{Account, Definition, RegisterError, Scope, Step};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest name of an account: what `useradd` takes.
const ACCOUNT_BYTES_MAX: usize = 31;

/// Who it runs as, and what has to be done for it.
pub(super) struct Chosen {
    pub(super) runs: Runs,
    /// Makes the account, if that is to be done.
    pub(super) make: Option<Box<dyn Step>>,
    /// The account, if it goes with the registration.
    pub(super) made: Option<String>,
    who: Who,
}

/// By what numbers modes are looked at.
enum Who {
    Root,
    /// One that has nothing of its own yet.
    Nobody,
    User {
        uid: u32,
        groups: Vec<u32>,
    },
}

/// Chooses the account. `made_before`: what the registration before this one made.
pub(super) fn choose(definition: &Definition, made_before: Option<&str>) -> Result<Chosen, RegisterError> {
    let root = || Chosen { runs: Runs::Root, make: None, made: None, who: Who::Root };
    if definition.scope == Scope::User {
        return match definition.account {
            Account::Own => Ok(Chosen { who: current(), ..root() }),
            _ => Err(RegisterError::Refused(
                "a registration of a user runs as that user; leave `account` out, or register it for the computer"
                    .into(),
            )),
        };
    }
    let elsewhere = |what: &str| {
        Err(RegisterError::Account { account: what.into(), why: "is one of Windows; name one of this computer".into() })
    };
    match &definition.account {
        Account::System => Ok(root()),
        Account::Own => own(definition),
        Account::LocalService => elsewhere("local-service"),
        Account::NetworkService => elsewhere("network-service"),
        Account::Managed(name) => elsewhere(name),
        Account::Named { password: Some(_), name, .. } => {
            Err(RegisterError::Account { account: name.clone(), why: "needs no password here; leave it out".into() })
        }
        Account::Named { name, create, password: None } => named(definition, name, *create, made_before),
    }
}

/// An account for this registration alone. It exists only while it runs, unless there are folders that have to belong
/// to it meanwhile.
fn own(definition: &Definition) -> Result<Chosen, RegisterError> {
    let name = own_name(&definition.name);
    if definition.sandbox.writable.is_empty() {
        return Ok(Chosen { runs: Runs::Dynamic(name), make: None, made: None, who: Who::Nobody });
    }
    let (make, who) = match crate::accounts::resolve(&name, None) {
        Ok(identity) => (None, of(&identity)),
        Err(_) => (Some(steps::make_account(&name, &purpose(&definition.name))), Who::Nobody),
    };
    Ok(Chosen { runs: Runs::As(name.clone()), make, made: Some(name), who })
}

fn named(
    definition: &Definition,
    name: &str,
    create: bool,
    made_before: Option<&str>,
) -> Result<Chosen, RegisterError> {
    let account = || name.to_owned();
    match crate::accounts::resolve(name, None) {
        Ok(identity) if identity.id().uid() == Some(0) => {
            Ok(Chosen { runs: Runs::Root, make: None, made: None, who: Who::Root })
        }
        Ok(identity) => Ok(Chosen {
            runs: Runs::As(account()),
            make: None,
            made: made_before.filter(|made| *made == name).map(str::to_owned),
            who: of(&identity),
        }),
        Err(_) if create => {
            check_name(name)?;
            Ok(Chosen {
                runs: Runs::As(account()),
                make: Some(steps::make_account(name, &purpose(&definition.name))),
                made: Some(account()),
                who: Who::Nobody,
            })
        }
        Err(_) => Err(RegisterError::Account {
            account: account(),
            why: format!(
                "is not known on this computer; make it, or let it be made with account = \"new:{name}\", or leave \
                 `account` out for one that exists only while it runs"
            ),
        }),
    }
}

fn current() -> Who {
    crate::accounts::current().map_or(Who::Nobody, |identity| of(&identity))
}

fn of(identity: &crate::accounts::Identity) -> Who {
    match identity.id().uid() {
        Some(0) => Who::Root,
        Some(uid) => {
            Who::User { uid, groups: identity.id().gid().into_iter().chain(identity.groups().to_vec()).collect() }
        }
        None => Who::Nobody,
    }
}

/// What an account that is made for a guard says of itself.
fn purpose(guard: &str) -> String {
    format!("Tutela guard {guard}")
}

/// Whether `account` was made for `guard`: it says so, and is one of the system's. Whoever has the name by chance is
/// somebody.
pub(super) fn is_made_for(account: &str, guard: &str) -> bool {
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let says = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let number: Option<u32> = fields.get(2).and_then(|uid| uid.parse().ok());
        fields.first() == Some(&account)
            && fields.get(4) == Some(&purpose(guard).as_str())
            && number.is_some_and(|uid| uid != 0)
    };
    known.lines().any(says)
}

/// A name that `useradd` takes everywhere.
fn check_name(name: &str) -> Result<(), RegisterError> {
    let first = name.starts_with(|it: char| it.is_ascii_lowercase() || it == '_');
    let rest = name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, '_' | '-'));
    if first && rest && name.len() <= ACCOUNT_BYTES_MAX {
        return Ok(());
    }
    Err(RegisterError::Account {
        account: name.into(),
        why: format!(
            "cannot be made: a name has at most {ACCOUNT_BYTES_MAX} characters, small letters, digits, '_' and '-', and \
             starts with a letter"
        ),
    })
}

/// The name of the account of a guard's own: `tutela-NAME` where that can be one, so that no account of people can
/// be meant by it, however a guard is called.
pub(super) fn own_name(guard: &str) -> String {
    let fits =
        |it: char| if it.is_ascii_alphanumeric() || matches!(it, '_' | '-') { it.to_ascii_lowercase() } else { '-' };
    let plain: String = format!("tutela-{guard}").chars().map(fits).collect();
    if plain.len() <= ACCOUNT_BYTES_MAX && plain.ends_with(guard) {
        return plain;
    }
    // Two guards whose names differ only in what was lost here have two accounts all the same.
    let sum = guard.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let kept: String = plain.chars().take(ACCOUNT_BYTES_MAX - 9).collect();
    format!("{}-{sum:08x}", kept.trim_end_matches('-'))
}

impl Chosen {
    /// The first thing that it needs to read and cannot reach. `shown`: folders that are put into its view of the files
    /// by the service manager, so that the folders above them are not in its way.
    pub(super) fn unreachable(&self, definition: &Definition) -> Result<(), RegisterError> {
        let hidden = definition.scope == Scope::System && !definition.sandbox.off;
        let paths = definition.sandbox.readable.iter().chain([&definition.program, &definition.folder]);
        for path in paths {
            let begin = if hidden { shown_from(path, definition) } else { None };
            if let Err((where_, needs)) = self.reach(path, begin.as_deref()) {
                let account = self.account();
                return Err(RegisterError::Account {
                    account: account.clone(),
                    why: format!(
                        "could not use {}: {} does not let others {needs}; move it to where everybody may, such as \
                         /etc/tutela and /usr/local, or `chmod o+{}` it, or name another account",
                        path.display(),
                        where_.display(),
                        if needs == "read it" { "r" } else { "x" },
                    ),
                });
            }
        }
        Ok(())
    }

    /// Folders that are there and that it could not write to, with what mends it.
    pub(super) fn unwritable(&self, definition: &Definition) -> Vec<String> {
        let mut told = Vec::new();
        for folder in &definition.sandbox.writable {
            let Ok(it) = std::fs::metadata(folder) else { continue };
            if !self.may(&it, folder, 0o2) {
                let (account, folder) = (self.account(), folder.display());
                told.push(format!("{account} cannot write to {folder} yet: chown -R {account}: {folder}"));
            }
        }
        told
    }

    pub(super) fn account(&self) -> String {
        match &self.runs {
            Runs::Root => "root".into(),
            Runs::Dynamic(name) | Runs::As(name) => name.clone(),
        }
    }

    fn reach(&self, path: &Path, begin: Option<&Path>) -> Result<(), (PathBuf, &'static str)> {
        // Where a link leads has to be reached as well.
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let mut above: Vec<&Path> = real.ancestors().skip(1).collect();
        above.reverse();
        for folder in above {
            if begin.is_some_and(|begin| !folder.starts_with(begin)) {
                continue;
            }
            match std::fs::metadata(folder) {
                Ok(it) if !self.may(&it, folder, 0o1) => return Err((folder.to_path_buf(), "go through it")),
                Ok(_) => {}
                // Who asks cannot see it either; what systemd says of it will be the truth.
                Err(_) => return Ok(()),
            }
        }
        match std::fs::metadata(&real) {
            Ok(it) if it.is_dir() && !self.may(&it, &real, 0o1) => Err((real, "go through it")),
            Ok(it) if !it.is_dir() && it.mode() & 0o111 != 0 && !self.may(&it, &real, 0o1) => Err((real, "run it")),
            // A program that can be run need not be readable.
            Ok(it) if !it.is_dir() && it.mode() & 0o111 == 0 && !self.may(&it, &real, 0o4) => Err((real, "read it")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn may(&self, it: &std::fs::Metadata, path: &Path, bit: u32) -> bool {
        let (uid, groups) = match &self.who {
            Who::Root => return true,
            Who::Nobody => (None, &[][..]),
            Who::User { uid, groups } => (Some(*uid), groups.as_slice()),
        };
        let shift = match (uid == Some(it.uid()), groups.contains(&it.gid())) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        it.mode() >> shift & bit == bit || has_access_list(path)
    }
}

/// The outermost of the folders that the sandbox shows, around this path; `None`: it is not hidden.
fn shown_from(path: &Path, definition: &Definition) -> Option<PathBuf> {
    let sandbox = &definition.sandbox;
    if !["/home", "/root", "/run/user", "/tmp", "/var/tmp"].iter().any(|it| path.starts_with(it)) {
        return None;
    }
    let all = sandbox.readable.iter().chain(&sandbox.writable).chain([&definition.folder, &definition.program]);
    let shown = all.filter(|shown| path.starts_with(shown)).min_by_key(|shown| shown.components().count());
    shown.map(|shown| std::fs::canonicalize(shown).unwrap_or_else(|_| shown.clone()))
}

fn has_access_list(path: &Path) -> bool {
    let length = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [] as &mut [u8]);
    length.is_ok_and(|length| length > 0)
}

/// Whether this process could write to `folder`, or the nearest one above it that exists, but for its rights: it is
/// told apart because nobody's rights help against a file system that is read-only.
pub(super) fn is_read_only(folder: &Path) -> bool {
    let there = folder.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
    let access = rustix::fs::access(there, rustix::fs::Access::WRITE_OK);
    access.is_err_and(|errno| io::Error::from(errno).kind() == io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    accounts::is_privileged()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_own_account_has_a_name_that_can_be_one_and_is_like_no_other() {
        assert_eq!(own_name("shop"), "tutela-shop");
        let long = own_name("a-very-long-name-of-a-guard-with-48-characters-xx");
        assert!(long.len() <= ACCOUNT_BYTES_MAX && long.starts_with("tutela-a-very-long"), "{long}");
        assert!(check_name(&long).is_ok(), "{long}");
        assert_ne!(own_name("Shop"), own_name("shop"));
        assert_ne!(own_name("a.b"), own_name("a-b"));
        assert!(check_name(&own_name("Shop.1")).is_ok());
    }

    #[test]
    fn what_another_account_cannot_reach_is_found_with_the_folder_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("private/app");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(inside.join("api"), "x").unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(dir.path().join("private"), PermissionsExt::from_mode(0o700)).unwrap();
        let chosen = Chosen { runs: Runs::Dynamic("x".into()), make: None, made: None, who: Who::Nobody };
        let real = std::fs::canonicalize(dir.path()).unwrap();
        let (folder, _) = chosen.reach(&inside.join("api"), None).unwrap_err();
        assert_eq!(folder, real.join("private"));
        assert!(
            chosen.reach(&inside.join("api"), Some(&real.join("private/app"))).is_ok(),
            "it is shown from there on"
        );
        std::fs::set_permissions(inside.join("api"), PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(chosen.reach(&inside.join("api"), Some(&real.join("private/app"))).unwrap_err().1, "read it");
        let root = Chosen { who: Who::Root, ..chosen };
        assert!(root.reach(&inside.join("api"), None).is_ok());
    }
}
