//! Who may change, read and listen, by access lists and the tables of the network.

mod ports;

pub(crate) use ports::port_holder;

use super::files::for_the_os;
use super::security::Sid;
use super::security::descriptor::{Access, Rule, of_path};
use super::security::sid::{
    ADMINISTRATORS, ALL_SERVICES, AUTHENTICATED, CREATOR_OWNER, EVERYONE, OWNER_RIGHTS, SERVICE, SYSTEM,
    TRUSTED_INSTALLER, USERS,
};
use crate::Error;
use crate::access::{Obstacle, Principal, Reader, Way, Writer};
use crate::accounts::AccountId;
use std::path::Path;

/// Reading a file, or listing a folder.
const READ: u32 = 0x1;
/// Writing to a file, or adding one to a folder.
const WRITE: u32 = 0x2;
/// Writing at a file's end, or adding a folder to one.
const APPEND: u32 = 0x4;
/// Deleting what is in a folder, whatever its own list says.
const DELETE_CHILD: u32 = 0x40;
/// Deleting or renaming.
const DELETE: u32 = 0x1_0000;
/// Writing the list, or becoming the owner: the way to every other right.
const TAKE: u32 = 0x4_0000 | 0x8_0000;
/// What stands for all rights, and for those of writing and reading.
const GENERIC_ALL: u32 = 0x1000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const GENERIC_READ: u32 = 0x8000_0000;

pub(crate) fn who_may_write(path: &Path) -> Result<Vec<Writer>, Error> {
    let failed = |source| Error::io(format!("read the rights of {}", path.display()), source);
    let whole = std::path::absolute(path).map_err(failed)?;
    let is_folder = std::fs::metadata(&whole).map_err(failed)?.is_dir();
    let mut found = Vec::new();
    for (level, place) in whole.ancestors().enumerate() {
        let access = for_the_os(place).and_then(|place| of_path(&place)).map_err(failed)?;
        let (rights, way) = match level {
            0 if is_folder => (WRITE | APPEND | DELETE_CHILD | DELETE | TAKE | GENERIC_WRITE, Way::Writes),
            0 => (WRITE | APPEND | DELETE | TAKE | GENERIC_WRITE, Way::Writes),
            // A program takes libraries from its own folder first, so adding one there changes the program.
            1 if !is_folder => (WRITE | DELETE_CHILD | DELETE | TAKE | GENERIC_WRITE, Way::Replaces),
            _ => (DELETE_CHILD | DELETE | TAKE, Way::Replaces),
        };
        if let Some(owner) = access.owner.as_ref().filter(|owner| !is_trusted(owner)) {
            let who = Principal::Account(AccountId::Sid(owner.to_string()));
            found.push(Writer { who, path: place.to_path_buf(), way: Way::Owns });
        }
        for who in who_has(&access, rights | GENERIC_ALL) {
            let writer = Writer { who, path: place.to_path_buf(), way };
            if !found.contains(&writer) {
                found.push(writer);
            }
        }
    }
    Ok(found)
}

/// Those that need not be trusted and are allowed any of `rights`.
fn who_has(access: &Access, rights: u32) -> Vec<Principal> {
    let Some(rules) = &access.rules else { return vec![Principal::Everyone] };
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.denies && !is_trusted(&rule.sid)) {
        // What is denied earlier, to the same or to everybody, is not allowed later.
        let denied = rules.iter().take(index).filter(|former| former.denies && covers(&former.sid, &rule.sid));
        let left = denied.fold(rule.rights & rights, |left, former| left & !former.rights);
        let who = if rule.sid.is(EVERYONE) {
            Principal::Everyone
        } else {
            Principal::Account(AccountId::Sid(rule.sid.to_string()))
        };
        if left != 0 && !found.contains(&who) {
            found.push(who);
        }
    }
    found
}

fn covers(denied: &Sid, allowed: &Sid) -> bool {
    denied == allowed || denied.is(EVERYONE)
}

/// Administrators of this computer or its domain, and the OS itself. What is said of the owner in general has been
/// told with the owner.
pub(crate) fn is_trusted(sid: &Sid) -> bool {
    let text = sid.to_string();
    [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, CREATOR_OWNER, OWNER_RIGHTS].contains(&text.as_str())
        // The administrator's account, the domain's administrators, and those of the whole forest.
        || (sid.is_under("S-1-5-21") && ["-500", "-512", "-519"].iter().any(|end| text.ends_with(end)))
}

/// By the lists of the thing itself: every account may pass through folders by default on Windows.
pub(crate) fn may_read(path: &Path, reader: Reader<'_>) -> Result<Option<Obstacle>, Error> {
    let failed = |source| Error::io(format!("read the rights of {}", path.display()), source);
    let access = for_the_os(path).and_then(|place| of_path(&place)).map_err(failed)?;
    let mut counts: Vec<Sid> =
        [EVERYONE, USERS, AUTHENTICATED, SERVICE, ALL_SERVICES].iter().filter_map(|text| text.parse().ok()).collect();
    if let Reader::Identity(identity) = reader {
        let sid = identity.account.sid.clone();
        if sid.is(SYSTEM) {
            counts.extend(ADMINISTRATORS.parse::<Sid>().ok());
        }
        counts.push(sid);
    }
    let readable = access.rules.as_deref().is_none_or(|rules| is_allowed(rules, &counts));
    Ok((!readable).then(|| Obstacle { path: path.to_path_buf(), on_the_way: false }))
}

/// The first line that says something decides.
fn is_allowed(rules: &[Rule], counts: &[Sid]) -> bool {
    let wanted = READ | GENERIC_READ | GENERIC_ALL;
    rules.iter().find(|rule| rule.rights & wanted != 0 && counts.contains(&rule.sid)).is_some_and(|rule| !rule.denies)
}

/// Groups have no numbers here.
pub(crate) fn group_name(gid: u32) -> String {
    gid.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn rule(sid: &str, denies: bool, rights: u32) -> Rule {
        Rule { sid: sid.parse().unwrap(), denies, rights }
    }

    fn access(rules: Vec<Rule>) -> Access {
        Access { owner: SYSTEM.parse().ok(), rules: Some(rules) }
    }

    #[test]
    fn only_those_who_need_not_be_trusted_and_have_such_a_right_are_told() {
        let list = access(vec![
            rule(ADMINISTRATORS, false, GENERIC_ALL),
            rule("S-1-5-21-1-2-3-512", false, GENERIC_ALL),
            rule(USERS, false, 0x12_00a9),
            rule("S-1-5-21-1-2-3-1001", false, WRITE),
        ]);
        let told = who_has(&list, WRITE | GENERIC_ALL);
        assert_eq!(told, [Principal::Account(AccountId::Sid("S-1-5-21-1-2-3-1001".into()))]);
        assert_eq!(who_has(&Access { owner: None, rules: None }, WRITE), [Principal::Everyone]);
    }

    #[test]
    fn what_is_denied_first_is_not_told() {
        let list = access(vec![rule(EVERYONE, true, WRITE), rule(USERS, false, WRITE | DELETE)]);
        assert!(who_has(&list, WRITE).is_empty());
        assert_eq!(who_has(&list, WRITE | DELETE).len(), 1);
    }

    #[test]
    fn reading_is_decided_by_the_first_line_that_counts() {
        let counts: Vec<Sid> = vec![USERS.parse().unwrap()];
        assert!(is_allowed(&[rule(ADMINISTRATORS, true, READ), rule(USERS, false, READ)], &counts));
        assert!(!is_allowed(&[rule(USERS, true, READ), rule(USERS, false, READ)], &counts));
        assert!(!is_allowed(&[], &counts));
    }

    #[test]
    fn a_private_folder_is_told_of_nobody_but_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        crate::files::make_private_dir(&path).unwrap();
        let own = crate::accounts::current().unwrap();
        let told = who_may_write(&path).unwrap();
        let others = told.iter().filter(|it| it.path == path && it.who != Principal::Account(own.id()));
        assert_eq!(others.count(), 0, "{told:?}");
        assert_eq!(may_read(&path, Reader::Identity(&own)).unwrap(), None);
        assert!(may_read(&path, Reader::Newcomer).unwrap().is_some());
    }
}
