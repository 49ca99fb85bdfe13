//! Whether an account can read or write a file, as far as its access list tells without logging on as the account:
//! groups that an administrator made are not known here. So an answer becomes a note, never a refusal.

use super::security::{self, Descriptor, Entry, Sid, sid_text};
use std::path::Path;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// To read it.
    Read,
    /// To read and run it.
    Run,
    /// To make files in it.
    Write,
}

impl Want {
    fn mask(self) -> u32 {
        match self {
            // FILE_READ_DATA, and with FILE_EXECUTE, and FILE_ADD_FILE.
            Want::Read => 0x1,
            Want::Run => 0x21,
            Want::Write => 0x2,
        }
    }

    /// As `icacls` grants it.
    fn grant(self) -> &'static str {
        match self {
            Want::Read => "(R)",
            Want::Run => "(RX)",
            Want::Write => "(OI)(CI)(M)",
        }
    }
}

/// The groups that every account which logs on as a service is in.
const OF_EVERY_SERVICE: &[&str] = &["S-1-1-0", "S-1-2-0", "S-1-5-6", "S-1-5-11", "S-1-5-32-545"];

/// The group of all accounts of services.
const ALL_SERVICES: &str = "S-1-5-80-0";

/// A note when the account `sid`, shown as `name`, seems not to get what is wanted; `None` also when that cannot be
/// known.
pub(super) fn missing(path: &Path, want: Want, sid: &str, name: &str) -> Option<String> {
    // The OS itself gets everything that matters here.
    if sid == security::SYSTEM {
        return None;
    }
    let list = Descriptor::of_file(path).ok()?.access_list().ok()?;
    let mut groups: Vec<&str> = OF_EVERY_SERVICE.to_vec();
    groups.push(sid);
    if sid.starts_with("S-1-5-80-") {
        groups.push(ALL_SERVICES);
    }
    if lets(&list, &groups, want.mask()) {
        return None;
    }
    let verb = match want {
        Want::Read => "read",
        Want::Run => "run",
        Want::Write => "write to",
    };
    let path = path.display();
    let grant = want.grant();
    Some(format!(
        "by its access list {name} cannot {verb} {path}, unless one of its groups can; let it with: \
         icacls \"{path}\" /grant \"*{sid}:{grant}\""
    ))
}

fn lets(access_list: &str, whom: &[&str], mask: u32) -> bool {
    // No list at all lets everybody.
    if access_list.contains("NO_ACCESS_CONTROL") {
        return true;
    }
    let mut open = mask;
    for entry in security::entries(access_list).0 {
        // Entries that only hand down say nothing of the thing itself.
        if entry.flags.contains("IO") || !whom.contains(&identifier(&entry).as_str()) {
            continue;
        }
        let rights = rights(&entry.rights);
        match entry.kind.as_str() {
            "A" => open &= !rights,
            "D" if open & rights != 0 => return false,
            _ => {}
        }
        if open == 0 {
            return true;
        }
    }
    false
}

/// The `S-1-…` of an entry that has two letters.
fn identifier(entry: &Entry) -> String {
    if entry.whom.starts_with("S-1-") {
        return entry.whom.clone();
    }
    // SAFETY: just made by the OS.
    let text = Sid::parse(&entry.whom).and_then(|sid| unsafe { sid_text(sid.as_ptr()) });
    text.unwrap_or_else(|_| entry.whom.clone())
}

/// The rights of an entry as the mask that files have: a number, or pairs of letters.
fn rights(text: &str) -> u32 {
    if let Some(number) = text.strip_prefix("0x") {
        return u32::from_str_radix(number, 16).unwrap_or_default();
    }
    let pair = |pair: &[u8]| match pair {
        b"GA" | b"FA" => 0x001f_01ff,
        b"GR" | b"FR" => 0x0012_0089,
        b"GW" | b"FW" => 0x0012_0116,
        b"GX" | b"FX" => 0x0012_00a0,
        b"CC" => 0x1,
        b"DC" => 0x2,
        b"LC" => 0x4,
        b"SW" => 0x8,
        b"RP" => 0x10,
        b"WP" => 0x20,
        b"DT" => 0x40,
        b"LO" => 0x80,
        b"CR" => 0x100,
        _ => 0,
    };
    text.as_bytes().chunks(2).map(pair).fold(0, |mask, right| mask | right)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[&str] = &["S-1-1-0", "S-1-5-32-545", "S-1-5-80-7"];

    #[test]
    fn an_entry_for_the_account_or_one_of_its_groups_lets_it_in() {
        assert!(lets("D:(A;;FA;;;SY)(A;;0x1200a9;;;S-1-5-32-545)", OWN, Want::Run.mask()));
        assert!(lets("D:(A;;FR;;;S-1-5-80-7)(A;;FX;;;S-1-1-0)", OWN, Want::Run.mask()));
        assert!(lets("D:NO_ACCESS_CONTROL", OWN, Want::Write.mask()));
    }

    #[test]
    fn what_is_not_let_or_is_denied_first_is_missing() {
        assert!(!lets("D:(A;;FA;;;S-1-5-32-544)", OWN, Want::Read.mask()));
        assert!(!lets("D:(D;;FR;;;S-1-5-32-545)(A;;FA;;;S-1-1-0)", OWN, Want::Read.mask()));
        assert!(!lets("D:(A;OICIIO;FA;;;S-1-1-0)", OWN, Want::Read.mask()));
        assert!(!lets("D:", OWN, Want::Read.mask()));
    }
}
