//! Users and groups through the C library, which asks whatever directory the host is set up for.

use crate::Error;
use crate::accounts::{AccountId, Identity};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The most memory for one entry: groups with thousands of members have long ones.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The most groups that Linux gives one process.
const GROUPS_MAX: usize = 65_536;

/// What a process has of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

impl Account {
    pub(crate) fn id(&self) -> AccountId {
        AccountId::Unix { uid: self.uid, gid: self.gid }
    }

    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups
    }
}

/// What an account database knows of a user.
struct User {
    uid: u32,
    gid: u32,
    name: CString,
    home: PathBuf,
}

pub(crate) fn resolve(user: &str, group: Option<&str>) -> Result<Identity, Error> {
    let found = find_user(user)?;
    let own_group = group.map(find_group).transpose()?;
    let Some(account) = found else {
        // A number needs no account: containers use numbers that nobody has named.
        let uid = user.parse::<u32>().map_err(|_| no_such("user", user))?;
        let gid = own_group.unwrap_or(uid);
        let account = Account { uid, gid, groups: vec![gid] };
        return Ok(Identity { account, name: user.to_owned(), home: None });
    };
    let gid = own_group.unwrap_or(account.gid);
    Ok(Identity {
        account: Account { uid: account.uid, gid, groups: groups_of(&account.name, gid)? },
        name: account.name.to_string_lossy().into_owned(),
        home: Some(account.home),
    })
}

pub(crate) fn resolve_group(group: &str) -> Result<Identity, Error> {
    let own = current()?;
    Ok(Identity { account: Account { gid: find_group(group)?, ..own.account }, ..own })
}

/// The guard's own account is an identity as every other: a start that has nothing to change knows it.
pub(crate) fn for_program(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Error> {
    match (user, group) {
        (None, None) => Ok(None),
        (Some(user), group) => resolve(user, group).map(Some),
        (None, Some(group)) => resolve_group(group).map(Some),
    }
}

pub(crate) fn current() -> Result<Identity, Error> {
    let uid = rustix::process::geteuid().as_raw();
    let groups = rustix::process::getgroups().map_err(|errno| Error::io("read the guard's own groups", errno))?;
    Ok(Identity {
        account: Account {
            uid,
            gid: rustix::process::getegid().as_raw(),
            groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
        },
        name: user_name(uid),
        home: user_by_number(uid).ok().flatten().map(|user| user.home),
    })
}

pub(crate) fn user_name(uid: u32) -> String {
    match user_by_number(uid) {
        Ok(Some(user)) => user.name.to_string_lossy().into_owned(),
        Ok(None) | Err(_) => uid.to_string(),
    }
}

pub(crate) fn name_of(account: &AccountId) -> String {
    match account {
        AccountId::Unix { uid, .. } => user_name(*uid),
        other @ (AccountId::Sid(_) | AccountId::Unknown) => other.to_string(),
    }
}

/// The kernel keeps it per session where it was built to, and gives the highest number where nobody logged in.
pub(crate) fn login_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The name of a group's number, or the number as text.
pub(crate) fn group_name(gid: u32) -> String {
    let found = entry(
        &format!("look up the group {gid}"),
        |entry: *mut libc::group, buffer, result| {
            // SAFETY: entry, buffer (with its length) and result are live, ours and exclusive for the call,
            // which writes to nothing else.
            unsafe { libc::getgrgid_r(gid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
        },
        |entry| c_text(entry.gr_name).to_string_lossy().into_owned(),
    );
    found.ok().flatten().unwrap_or_else(|| gid.to_string())
}

pub(crate) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}

fn no_such(kind: &str, name: &str) -> Error {
    Error::Refused(format!("there is no {kind} named {name} on this host; make it, or name another"))
}

/// By name first, as every tool does: an account may be named with digits.
fn find_user(user: &str) -> Result<Option<User>, Error> {
    let name = CString::new(user).map_err(|_| no_such("user", user))?;
    let by_name = user_entry(user, |entry, buffer, result| {
        // SAFETY: the name is a C string; entry, buffer (with its length) and result are live, ours and
        // exclusive for the call, which writes to nothing else.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })?;
    match (by_name, user.parse::<u32>()) {
        (None, Ok(uid)) => user_by_number(uid),
        (found, _) => Ok(found),
    }
}

fn user_by_number(uid: u32) -> Result<Option<User>, Error> {
    user_entry(&uid.to_string(), |entry, buffer, result| {
        // SAFETY: entry, buffer (with its length) and result are live, ours and exclusive for the call,
        // which writes to nothing else.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })
}

fn user_entry(
    shown: &str,
    ask: impl Fn(*mut libc::passwd, &mut [libc::c_char], *mut *mut libc::passwd) -> libc::c_int,
) -> Result<Option<User>, Error> {
    entry(&format!("look up the user {shown}"), ask, |entry: &libc::passwd| User {
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        name: c_text(entry.pw_name).to_owned(),
        home: PathBuf::from(OsStr::from_bytes(c_text(entry.pw_dir).to_bytes())),
    })
}

fn find_group(group: &str) -> Result<u32, Error> {
    let name = CString::new(group).map_err(|_| no_such("group", group))?;
    let found = entry(
        &format!("look up the group {group}"),
        |entry: *mut libc::group, buffer, result| {
            // SAFETY: the name is a C string; entry, buffer (with its length) and result are live, ours and
            // exclusive for the call, which writes to nothing else.
            unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
        },
        |entry| entry.gr_gid,
    )?;
    found.or_else(|| group.parse().ok()).ok_or_else(|| no_such("group", group))
}

/// Asks with a growing buffer until the entry fits.
fn entry<E, T>(
    what: &str,
    ask: impl Fn(*mut E, &mut [libc::c_char], *mut *mut E) -> libc::c_int,
    take: impl Fn(&E) -> T,
) -> Result<Option<T>, Error> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut place = MaybeUninit::<E>::uninit();
        let mut result = std::ptr::null_mut();
        match ask(place.as_mut_ptr(), &mut buffer, &raw mut result) {
            0 if result.is_null() => return Ok(None),
            0 => {
                // SAFETY: an answer of 0 with a result that is not null means that the entry was filled in.
                let filled = unsafe { place.assume_init_ref() };
                return Ok(Some(take(filled)));
            }
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            // The ways in which the C library says 'not there' where a database is missing altogether.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            errno => return Err(Error::io(what, io::Error::from_raw_os_error(errno))),
        }
    }
}

/// A text of an entry. The database leaves none of the fields out that are read here; should it, the
/// text is empty.
fn c_text<'a>(pointer: *const libc::c_char) -> &'a CStr {
    if pointer.is_null() {
        return c"";
    }
    // SAFETY: a pointer of a filled entry is to a C string in the buffer, which lives until the entry has
    // been taken over; callers copy the text at once.
    unsafe { CStr::from_ptr(pointer) }
}

fn groups_of(user: &CStr, gid: u32) -> Result<Vec<u32>, Error> {
    let mut groups = vec![0; 32];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the name is a C string, and `count` says how many entries the live, exclusive array has;
        // the call writes at most that many, and the wanted number into `count`.
        let answer = unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if answer >= 0 {
            groups.truncate(wanted);
            return Ok(groups);
        }
        if groups.len() >= GROUPS_MAX {
            return Err(Error::Refused(format!("{} is in more than {GROUPS_MAX} groups", user.to_string_lossy())));
        }
        groups.resize(wanted.clamp(groups.len() * 2, GROUPS_MAX), 0);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        for user in ["root", "0"] {
            let root = resolve(user, None).unwrap();
            assert_eq!((root.id(), root.name.as_str()), (AccountId::Unix { uid: 0, gid: 0 }, "root"));
            assert!(root.groups().contains(&0));
        }
    }

    #[test]
    fn a_user_that_is_not_there_is_refused_by_name() {
        let refusal = resolve("no-such-user-here", None).unwrap_err().to_string();
        assert!(refusal.contains("no-such-user-here"), "{refusal}");
        assert!(resolve("root", Some("no-such-group-here")).is_err());
    }

    #[test]
    fn a_number_without_an_account_is_an_identity_too() {
        let nobody = resolve("64123", None).unwrap();
        assert_eq!((nobody.id(), nobody.home), (AccountId::Unix { uid: 64_123, gid: 64_123 }, None));
    }
}
