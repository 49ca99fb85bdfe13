//! What file modes and the access lists of Linux say, without looking at any file.
#![allow(dead_code, reason = "for an OS with modes")]

use super::{Obstacle, Principal, Way, Writer};
use crate::accounts::AccountId;
use std::path::PathBuf;

const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;
const STICKY: u32 = 0o1000;

/// What was seen of one file or folder.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// What its access list adds to the mode.
    pub(crate) list: Option<List>,
}

/// What it is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A link; its own mode says nothing.
    Link,
    /// Anything else.
    File,
}

/// An access list: what single users and groups may, and what they may at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) users: Vec<(u32, u32)>,
    pub(crate) groups: Vec<(u32, u32)>,
    /// What the file's own group may, which the mode does not show when there is a list.
    pub(crate) own_group: u32,
    pub(crate) mask: u32,
}

impl List {
    /// From the bytes of the attribute `system.posix_acl_access`; `None`: they are none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<List> {
        let (head, mut rest) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*head) != 2 {
            return None;
        }
        let mut list = List { mask: 7, ..List::default() };
        while let Some((entry, after)) = rest.split_first_chunk::<8>() {
            rest = after;
            let (tag, rights) = (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]));
            let number = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            let rights = u32::from(rights);
            match tag {
                0x02 => list.users.push((number, rights)),
                0x04 => list.own_group = rights,
                0x08 => list.groups.push((number, rights)),
                0x10 => list.mask = rights,
                // The owner and everybody else have what the mode says.
                _ => {}
            }
        }
        Some(list)
    }
}

impl Seen {
    /// What the file's group may.
    fn group_rights(&self) -> u32 {
        match &self.list {
            Some(list) => list.own_group & list.mask,
            None => self.mode >> 3 & 7,
        }
    }

    /// Who is no administrator and may write. The owner comes first.
    fn writers(&self) -> Vec<Principal> {
        let mut writers = Vec::new();
        if self.kind == Kind::Link {
            return writers;
        }
        if self.group_rights() & WRITE != 0 && self.gid != 0 {
            writers.push(Principal::Group(self.gid));
        }
        if self.mode & WRITE != 0 {
            writers.push(Principal::Everyone);
        }
        if let Some(list) = &self.list {
            let may =
                |(number, rights): &(u32, u32)| (*number != 0 && rights & list.mask & WRITE != 0).then_some(*number);
            let user = |uid| Principal::Account(AccountId::Unix { uid, gid: uid });
            writers.extend(list.users.iter().filter_map(may).map(user));
            writers.extend(list.groups.iter().filter_map(may).map(Principal::Group));
        }
        writers
    }

    /// What an account with these numbers may.
    fn rights_of(&self, uid: Option<u32>, groups: &[u32]) -> u32 {
        if uid == Some(self.uid) {
            return self.mode >> 6 & 7;
        }
        let in_list = self.list.iter().flat_map(|list| list.users.iter().map(move |entry| (list, entry)));
        for (list, (user, rights)) in in_list {
            if uid == Some(*user) {
                return rights & list.mask;
            }
        }
        let mut by_group: Option<u32> = None;
        let mut grant = |rights: u32| by_group = Some(by_group.unwrap_or(0) | rights);
        if groups.contains(&self.gid) {
            grant(self.group_rights());
        }
        if let Some(list) = &self.list {
            list.groups
                .iter()
                .filter(|(gid, _)| groups.contains(gid))
                .for_each(|(_, rights)| grant(rights & list.mask));
        }
        // Members of a group have what it has, even when everybody else has more.
        by_group.unwrap_or(self.mode & 7)
    }
}

/// Who may change the first of `chain`, or replace it by way of the others, which are the folders above it.
pub(crate) fn writers(chain: &[Seen]) -> Vec<Writer> {
    let mut found = Vec::new();
    for (index, seen) in chain.iter().enumerate() {
        let mut tell = |who, way| {
            let writer = Writer { who, path: seen.path.clone(), way };
            if !found.contains(&writer) {
                found.push(writer);
            }
        };
        if seen.uid != 0 {
            tell(Principal::Account(AccountId::Unix { uid: seen.uid, gid: seen.gid }), Way::Owns);
        }
        // In such a folder one can remove only what is one's own, and whose it is has been told.
        let kept = index > 0 && seen.mode & STICKY != 0;
        if !kept {
            let way = if index == 0 { Way::Writes } else { Way::Replaces };
            seen.writers().into_iter().for_each(|who| tell(who, way));
        }
    }
    found
}

/// What keeps an account with these numbers from reading the first of `chain`. The farthest folder comes first.
pub(crate) fn obstacle(chain: &[Seen], uid: Option<u32>, groups: &[u32]) -> Option<Obstacle> {
    if uid == Some(0) {
        return None;
    }
    for (index, seen) in chain.iter().enumerate().rev().filter(|(_, seen)| seen.kind != Kind::Link) {
        let rights = seen.rights_of(uid, groups);
        if index > 0 && rights & ENTER == 0 {
            return Some(Obstacle { path: seen.path.clone(), on_the_way: true });
        }
        let needed = if seen.kind == Kind::Folder { READ | ENTER } else { READ };
        if index == 0 && rights & needed != needed {
            return Some(Obstacle { path: seen.path.clone(), on_the_way: false });
        }
    }
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn seen(path: &str, uid: u32, gid: u32, mode: u32) -> Seen {
        let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
        Seen { path: PathBuf::from(path), kind, uid, gid, mode, list: None }
    }

    fn told(chain: &[Seen]) -> Vec<(String, Way)> {
        writers(chain).into_iter().map(|it| (it.path.display().to_string(), it.way)).collect()
    }

    #[test]
    fn what_is_roots_alone_can_be_changed_by_nobody_else() {
        assert_eq!(
            told(&[seen("/usr/bin/x", 0, 0, 0o755), seen("/usr/bin/", 0, 0, 0o775), seen("/", 0, 0, 0o755)]),
            []
        );
    }

    #[test]
    fn a_folder_that_others_may_write_to_replaces_what_is_in_it_unless_each_keeps_their_own() {
        let file = seen("/srv/x", 0, 0, 0o755);
        assert_eq!(told(&[file.clone(), seen("/srv/", 0, 0, 0o777)]), [("/srv/".into(), Way::Replaces)]);
        assert_eq!(told(&[file.clone(), seen("/srv/", 0, 50, 0o775)]), [("/srv/".into(), Way::Replaces)]);
        assert_eq!(told(&[file, seen("/tmp/", 0, 0, 0o1777)]), []);
        // But files can be added to such a folder, if it is what is asked about.
        assert_eq!(told(&[seen("/tmp/", 0, 0, 0o1777)]), [("/tmp/".into(), Way::Writes)]);
    }

    #[test]
    fn an_owner_who_is_not_root_is_told_at_every_level() {
        let chain = [seen("/home/a/x", 1000, 1000, 0o500), seen("/home/a/", 1000, 1000, 0o500)];
        assert_eq!(told(&chain), [("/home/a/x".into(), Way::Owns), ("/home/a/".into(), Way::Owns)]);
    }

    #[test]
    fn an_access_list_counts_as_a_mode_does_within_its_mask() {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, number) in
            [(1_u16, 6_u16, u32::MAX), (2, 6, 1000), (4, 4, u32::MAX), (8, 6, 50), (16, 6, u32::MAX)]
        {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        let mut file = seen("/x", 0, 0, 0o660);
        file.list = List::parse(&bytes);
        assert_eq!(writers(&[file.clone()]).len(), 2);
        file.list.as_mut().unwrap().mask = 4;
        assert_eq!(writers(&[file.clone()]), []);
        assert_eq!(obstacle(&[file.clone()], Some(1000), &[]), None);
        assert!(obstacle(&[file], Some(1001), &[1001]).is_some());
        assert_eq!(List::parse(b"nonsense"), None);
    }

    #[test]
    fn reading_takes_entering_every_folder_and_members_of_a_group_have_no_more_than_it() {
        let file = seen("/etc/x", 0, 50, 0o604);
        let open = seen("/etc/", 0, 0, 0o755);
        let closed = seen("/closed/", 0, 0, 0o700);
        assert_eq!(obstacle(&[file.clone(), open.clone()], Some(1000), &[1000]), None);
        assert_eq!(obstacle(&[file.clone(), open.clone()], None, &[]), None);
        let own_group = obstacle(&[file.clone(), open], Some(1000), &[50]).unwrap();
        assert!(!own_group.on_the_way);
        let inside = obstacle(&[file.clone(), closed.clone()], Some(1000), &[1000]).unwrap();
        assert_eq!((inside.path.as_path(), inside.on_the_way), (closed.path.as_path(), true));
        assert_eq!(obstacle(&[file, closed], Some(0), &[]), None);
    }
}
