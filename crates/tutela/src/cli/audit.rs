//! `tutela audit` and `tutela audit verify`: from the files, whether the guard runs or not.

use super::command::Target;
use super::words::{AuditCommand, AuditWords, VerifyWords};
use super::{Code, DONE, FAILED, NOT_ALLOWED, UNKNOWN, WRONG, report};
use crate::audit::chain::Link;
use crate::audit::shelf;
use crate::audit::verify::Report;
use crate::conductor::wall_now;
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use tutela_os::paths::Paths;
use tutela_schema::audit::AuditEntry;
use tutela_schema::wall::WallTime;

/// Entries that are shown when nobody says how many.
const ENTRIES_DEFAULT: u64 = 100;

/// Faults that are shown to people; programs get all that are known.
const SHOWN_MAX: usize = 50;

pub fn audit(words: &AuditWords, paths: &Paths) -> Code {
    match &words.command {
        Some(AuditCommand::Verify(words)) => verify(words, paths),
        None => list(words, paths),
    }
}

/// Which entries are shown.
struct Filter {
    since: Option<WallTime>,
    until: Option<WallTime>,
    /// `shop/api` and its instances.
    target: Option<String>,
}

impl Filter {
    fn admits(&self, entry: &AuditEntry) -> bool {
        let of_target = |target: &String| {
            entry.target.strip_prefix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at <= until)
            && self.target.as_ref().is_none_or(of_target)
    }
}

fn list(words: &AuditWords, paths: &Paths) -> Code {
    let target = match Target::parse(words.target.as_deref().unwrap_or_default()) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let when = |text: &Option<String>| text.as_deref().map(|text| WallTime::parse_when(text, wall_now())).transpose();
    let (since, until) = match (when(&words.since), when(&words.until)) {
        (Ok(since), Ok(until)) => (since, until),
        (Err(error), _) | (_, Err(error)) => {
            report::error(&error.to_string(), None);
            return WRONG;
        }
    };
    let full = target.service.as_ref().map(|service| format!("{}/{service}", target.guard));
    let filter = Filter { since, until, target: full };
    let most = words.lines.or(since.is_none().then_some(ENTRIES_DEFAULT));
    let most = most.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let state_dir = paths.state_dir(&target.guard);
    let (shown, strange) = match read(&state_dir, &filter, most, words.json) {
        Ok(Some(read)) => read,
        Ok(None) => return nothing(&target.guard, &state_dir),
        Err(error) => return unreadable(&target.guard, &state_dir, &error),
    };
    for line in shown {
        if !report::print(&format!("{line}\n")) {
            return DONE;
        }
    }
    if strange > 0 {
        let lines = if strange == 1 { "line is no entry" } else { "lines are no entries" };
        report::tell(&format!("{strange} {lines}: `tutela audit verify {}` says more", target.guard));
    }
    DONE
}

/// The last lines that are admitted, and how many are none; `None`: there is no record.
fn read(state_dir: &Path, filter: &Filter, most: usize, json: bool) -> io::Result<Option<(VecDeque<String>, u64)>> {
    let volumes = shelf::volumes(state_dir)?;
    if volumes.is_empty() {
        return Ok(None);
    }
    let (mut shown, mut strange) = (VecDeque::new(), 0);
    for volume in volumes {
        let read = shelf::each_line(&volume.path, |line| {
            match serde_json::from_slice::<AuditEntry>(line.text) {
                Ok(entry) if filter.admits(&entry) => {
                    shown.push_back(if json { String::from_utf8_lossy(line.text).into_owned() } else { told(&entry) });
                    if shown.len() > most {
                        shown.pop_front();
                    }
                }
                Ok(_) => {}
                Err(_) => strange += 1,
            }
            true
        });
        match read {
            // Retention has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(Some((shown, strange)))
}

/// An entry for people, on one line.
fn told(entry: &AuditEntry) -> String {
    let by = entry.peer.as_ref().map(|peer| format!(" by {peer}")).unwrap_or_default();
    let of = entry.of.map(|of| format!(" of {of}")).unwrap_or_default();
    let mut line = format!(
        "{} {} {} {}{by} through {}: {}{of}",
        entry.at, entry.seq, entry.command, entry.target, entry.surface, entry.result
    );
    for text in entry.message.iter().map(|text| format!(", {text}")) {
        line.push_str(&text);
    }
    if let Some(reason) = &entry.reason {
        line.push_str(&format!(" (reason: {reason})"));
    }
    if entry.lost > 0 {
        line.push_str(&format!(" [{} entries before it were lost]", entry.lost));
    }
    if entry.omitted > 0 {
        line.push_str(&format!(" [{} refusals before it have no entry]", entry.omitted));
    }
    line
}

fn verify(words: &VerifyWords, paths: &Paths) -> Code {
    let guard = match Target::parse(&words.name) {
        Ok(Target { guard, service: None }) => guard,
        Ok(Target { service: Some(_), .. }) => {
            report::error("refused: the record is the guard's, and is whole or not", Some("leave the service out"));
            return WRONG;
        }
        Err(code) => return code,
    };
    let mut anchors = Vec::new();
    for text in &words.expect {
        match Link::parse(text) {
            Some(link) => anchors.push(link),
            None => {
                let help = "write SEQ:HASH, as an earlier `tutela audit verify` printed it";
                report::error(&format!("refused: {text:?} is no link of a record"), Some(help));
                return WRONG;
            }
        }
    }
    let state_dir = paths.state_dir(&guard);
    let found = match shelf::verify(&state_dir, &anchors) {
        Ok(found) => found,
        Err(error) => return unreadable(&guard, &state_dir, &error),
    };
    if found.files == 0 && found.is_whole() {
        return nothing(&guard, &state_dir);
    }
    let code = if found.is_whole() { DONE } else { FAILED };
    if words.json {
        return if report::print(&format!("{}\n", as_json(&guard, &found))) { code } else { FAILED };
    }
    tell(&guard, &found);
    code
}

fn as_json(guard: &str, found: &Report) -> serde_json::Value {
    json!({
        "guard": guard,
        "whole": found.is_whole(),
        "entries": found.entries,
        "files": found.files,
        "first": found.first,
        "last": found.last.map(|link| json!({ "seq": link.seq, "hash": link.hash.to_string() })),
        "faults": found.faults,
        "more_faults": found.more_faults,
        "notes": found.notes,
    })
}

fn tell(guard: &str, found: &Report) {
    for fault in found.faults.iter().take(SHOWN_MAX) {
        let place = match (&fault.file, fault.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        report::tell(&format!("{place}{}: {}", fault.kind, fault.message));
    }
    let more = found.faults.len().saturating_sub(SHOWN_MAX) as u64 + found.more_faults;
    if more > 0 {
        report::tell(&format!("… and {more} more"));
    }
    for note in &found.notes {
        report::tell(&format!("note: {note}"));
    }
    let range = match (found.first, found.last) {
        (Some(first), Some(last)) => format!(" ({first} to {})", last.seq),
        _ => String::new(),
    };
    let entries = if found.entries == 1 { "entry" } else { "entries" };
    let files = if found.files == 1 { "file" } else { "files" };
    let state = if found.is_whole() { "the record is whole" } else { "the record is broken" };
    report::tell(&format!("{guard}: {state}: {} {entries}{range} in {} {files}", found.entries, found.files));
    if let Some(last) = found.last.filter(|_| found.is_whole()) {
        report::tell(&format!("  to compare it later, keep this elsewhere: --expect {last}"));
    }
}

fn nothing(guard: &str, state_dir: &Path) -> Code {
    report::error(
        &format!("refused: there is no audit record of a guard {guard} in {}", state_dir.display()),
        Some("a guard keeps one from its first start on; the record of another account's guard is in another folder"),
    );
    UNKNOWN
}

fn unreadable(guard: &str, state_dir: &Path, error: &io::Error) -> Code {
    let message = format!("failed to read the audit record of {guard} in {}: {error}", state_dir.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        report::error(&message, Some("run this as the account of the guard, or as an administrator"));
        return NOT_ALLOWED;
    }
    report::error(&message, None);
    FAILED
}

#[cfg(test)]
mod tests {
    use super::*;
    use tutela_schema::audit::{AuditPeer, AuditResult, Surface};

    #[test]
    fn an_entry_is_told_on_one_line_with_who_what_and_why() {
        let at = WallTime::from_unix_millis(0);
        let mut entry = AuditEntry::new(at, Surface::Socket, "stop", "shop/api", AuditResult::Refused).saying("no");
        entry.peer = Some(AuditPeer { user: Some("ann".into()), uid: Some(7), pid: Some(9), ..AuditPeer::default() });
        entry.reason = Some("lunch".into());
        entry.lost = 2;
        assert_eq!(
            told(&entry),
            "1970-01-01T00:00:00.000Z 0 stop shop/api by ann (uid 7, pid 9) through socket: refused, no (reason: lunch) \
             [2 entries before it were lost]"
        );
    }

    #[test]
    fn the_entries_of_a_service_are_those_of_its_instances_too() {
        let filter = Filter { since: None, until: None, target: Some("shop/api".into()) };
        let of =
            |target| AuditEntry::new(WallTime::from_unix_millis(0), Surface::Socket, "stop", target, AuditResult::Done);
        let admitted = ["shop/api", "shop/api:1", "shop/apis", "shop"].map(|target| filter.admits(&of(target)));
        assert_eq!(admitted, [true, true, false, false]);
    }
}
