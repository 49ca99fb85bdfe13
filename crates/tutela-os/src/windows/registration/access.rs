//! Whether an account can read or write a file, as far as its access list tells without logging on as the account:
//! groups that an administrator made are not known here. So an answer becomes a note, never a refusal.

use crate::platform::files::for_the_os;
use crate::platform::security::descriptor::{self, Rule};
use crate::platform::security::sid::{ALL_SERVICES, AUTHENTICATED, EVERYONE, SERVICE, SYSTEM, USERS};
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
const OF_EVERY_SERVICE: &[&str] = &[EVERYONE, LOCAL, SERVICE, AUTHENTICATED, USERS];

/// Everybody who is at this computer itself.
const LOCAL: &str = "S-1-2-0";

/// Rights that mean others, by the kind of thing: all, running, writing, reading.
const GENERIC: [(u32, u32); 4] =
    [(0x1000_0000, 0x001f_01ff), (0x2000_0000, 0x0012_00a0), (0x4000_0000, 0x0012_0116), (0x8000_0000, 0x0012_0089)];

/// A note when the account `sid`, shown as `name`, seems not to get what is wanted; `None` also when that cannot be
/// known.
pub(super) fn missing(path: &Path, want: Want, sid: &str, name: &str) -> Option<String> {
    // The OS itself gets everything that matters here.
    if sid == SYSTEM {
        return None;
    }
    // No list at all lets everybody.
    let rules = descriptor::of_path(&for_the_os(path).ok()?).ok()?.rules?;
    let mut groups: Vec<&str> = OF_EVERY_SERVICE.to_vec();
    groups.push(sid);
    if sid.starts_with("S-1-5-80-") {
        groups.push(ALL_SERVICES);
    }
    if lets(&rules, &groups, want.mask()) {
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

fn lets(rules: &[Rule], whom: &[&str], mask: u32) -> bool {
    let mut open = mask;
    for rule in rules.iter().filter(|rule| whom.contains(&rule.sid.to_string().as_str())) {
        let meant = GENERIC.iter().filter(|(generic, _)| rule.rights & generic != 0);
        let rights = meant.fold(rule.rights, |rights, (_, meant)| rights | meant);
        if rule.denies && open & rights != 0 {
            return false;
        }
        if !rule.denies {
            open &= !rights;
        }
        if open == 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const OWN: &[&str] = &[EVERYONE, USERS, "S-1-5-80-7"];

    fn rule(sid: &str, denies: bool, rights: u32) -> Rule {
        Rule { sid: sid.parse().unwrap(), denies, rights }
    }

    #[test]
    fn a_rule_for_the_account_or_one_of_its_groups_lets_it_in() {
        let users = [rule(SYSTEM, false, 0x001f_01ff), rule(USERS, false, 0x0012_00a9)];
        assert!(lets(&users, OWN, Want::Run.mask()));
        let apart = [rule("S-1-5-80-7", false, 0x0012_0089), rule(EVERYONE, false, 0x2000_0000)];
        assert!(lets(&apart, OWN, Want::Run.mask()));
    }

    #[test]
    fn what_is_not_let_or_is_denied_first_is_missing() {
        assert!(!lets(&[rule("S-1-5-32-544", false, 0x001f_01ff)], OWN, Want::Read.mask()));
        let denied = [rule(USERS, true, 0x0012_0089), rule(EVERYONE, false, 0x001f_01ff)];
        assert!(!lets(&denied, OWN, Want::Read.mask()));
        assert!(!lets(&[], OWN, Want::Read.mask()));
    }
}
