//! Access lists as text: read entry by entry, and compared.
//!
//! What the OS has to do with them is in [`crate::platform::security::Descriptor`].

use crate::platform::security::Descriptor;
use crate::platform::security::whole::identifier;

/// One entry of an access list in its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// `A` lets, `D` denies.
    kind: String,
    /// What it hands down.
    flags: String,
    /// The rights, as letters or a number.
    rights: String,
    /// Whom; two letters or `S-1-…`.
    whom: String,
}

/// Whether two access lists say the same, in whatever letters.
pub(super) fn same(a: &str, b: &str) -> bool {
    let read = |list: &str| {
        // The OS writes rights by letters where it has them, so both go through it.
        let list = Descriptor::from_sddl(list).and_then(|descriptor| descriptor.access_list());
        let (mut entries, protected) = entries(&list.unwrap_or_default());
        for entry in &mut entries {
            entry.whom = identifier(&entry.whom).map_or_else(|_| entry.whom.clone(), |sid| sid.to_string());
        }
        entries.sort();
        (entries, protected)
    };
    read(a) == read(b)
}

/// The entries of `D:…(…)(…)`, and whether the list takes nothing from above.
fn entries(access_list: &str) -> (Vec<Entry>, bool) {
    let head = access_list.split('(').next().unwrap_or_default();
    let protected = head.trim_start_matches("D:").contains('P');
    let entries = access_list.split('(').skip(1).filter_map(|entry| {
        let mut parts = entry.trim_end_matches(')').split(';').map(str::to_owned);
        let (kind, flags, rights) = (parts.next()?, parts.next()?, parts.next()?);
        let whom = parts.nth(2)?;
        Some(Entry { kind, flags, rights, whom })
    });
    (entries.collect(), protected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_list_is_read_entry_by_entry() {
        let (entries, protected) = entries("D:PAI(A;OICI;FA;;;SY)(D;;0x1301bf;;;S-1-5-80-1)");
        assert!(protected);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].whom, "S-1-5-80-1");
        assert_eq!(entries[1].kind, "D");
    }

    #[test]
    fn lists_are_the_same_by_what_they_say_and_not_by_their_letters() {
        assert!(same(
            "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
            "D:P(A;OICI;0x1f01ff;;;S-1-5-32-544)(A;OICI;FA;;;S-1-5-18)"
        ));
        assert!(!same("D:P(A;OICI;FA;;;SY)", "D:(A;OICI;FA;;;SY)"), "one takes over from above");
        assert!(!same("D:P(A;OICI;FA;;;SY)", "D:P(A;OICI;0x1200a9;;;SY)"));
    }
}
