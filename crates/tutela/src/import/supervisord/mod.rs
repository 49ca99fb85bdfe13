//! supervisord: its INI file, with what it includes.
//!
//! `program` translates one section; here is which sections there are, and what those that are no programs lose.

mod expand;
mod program;

use super::Work;
use super::ini::{self, Section};
use super::report::Entry;
use super::source::{ImportError, Source, decode};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The most files that are included: as many as there are services at most.
const INCLUDED_MAX: usize = 1000;

/// What `[supervisord]` says of every program.
#[derive(Default)]
struct Defaults {
    environment: Option<Entry>,
    umask: Option<Entry>,
    directory: Option<Entry>,
    open_files: Option<Entry>,
}

/// A section with the file that it came from.
struct Placed {
    section: Section,
    file: Arc<str>,
    here: String,
}

/// Reads every program of the file and of what it includes.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let sections = gather(work, ini::parse(text, &source.shown)?, source)?;
    let mut defaults = Defaults::default();
    for placed in sections.iter().filter(|it| it.section.name == "supervisord") {
        supervisord(work, placed, &mut defaults);
    }
    let mut priorities: Vec<(i64, String, Entry)> = Vec::new();
    let mut groups = Vec::new();
    for placed in &sections {
        let name = placed.section.name.as_str();
        match name.split_once(':') {
            Some(("program", wanted)) => {
                priorities.extend(program::translate(work, placed, wanted.trim(), &defaults, false)?);
            }
            Some(("fcgi-program", wanted)) => {
                priorities.extend(program::translate(work, placed, wanted.trim(), &defaults, true)?);
            }
            Some(("group", _)) => groups.push(placed),
            Some(("eventlistener", _)) => {
                let why = "events go to subscribers of the control API and to alerts: `tutela events -f --json`, or [alerts.NAME] \
                           with a command";
                whole(work, placed, why);
            }
            _ if name == "supervisord" || name == "include" => {}
            _ => match name.split(':').next() {
                Some("unix_http_server" | "inet_http_server") => {
                    whole(work, placed, "a guard has a control socket of its own; no password is copied");
                }
                Some("supervisorctl") => {
                    whole(work, placed, "`tutela status`, `start`, `stop` and `logs` take its place")
                }
                Some("rpcinterface") => whole(work, placed, "the control API takes its place: docs/reference/api.md"),
                Some("ctlplugin") => whole(work, placed, "the control API takes its place: docs/reference/api.md"),
                _ => whole(work, placed, "this section is not known to the importer; look up what it did"),
            },
        }
    }
    for placed in groups {
        for key in &placed.section.keys {
            let shown = format!("[{}] {}", placed.section.name, key.name);
            let entry = work.report.entry(&placed.file, key.line, "", &shown, &key.value);
            match key.name.as_str() {
                "programs" => work
                    .report
                    .lost(&entry, "services have no groups; each has its own name, and a guard of its own is a group"),
                "priority" => work.report.lost(&entry, "services have no groups; needs says who waits for whom"),
                _ => {}
            }
        }
    }
    order(work, &mut priorities);
    Ok(())
}

/// Every section of the file, followed by those of what it includes. What is included includes nothing, as in
/// supervisord, so there are no circles; a file that is named twice is read once.
fn gather(work: &mut Work<'_>, parsed: Vec<Section>, source: &Source) -> Result<Vec<Placed>, Box<ImportError>> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::from([plain(&source.path)]);
    let includes: Vec<Section> = parsed.iter().filter(|it| it.name == "include").cloned().collect();
    let place = |section, file: &Arc<str>| Placed { section, file: Arc::clone(file), here: source.here.clone() };
    out.extend(parsed.into_iter().map(|section| place(section, &source.shown)));
    for key in includes.iter().flat_map(|section| &section.keys) {
        let entry = work.report.entry(&source.shown, key.line, "", &format!("[include] {}", key.name), &key.value);
        if key.name != "files" {
            continue;
        }
        let folder = source.path.parent().unwrap_or(Path::new(""));
        for pattern in key.value.split_whitespace() {
            let found = matching(work, folder, &pattern.replace("%(here)s", "."), &source.here);
            match found.is_empty() {
                true => work.report.lost(
                    &entry,
                    format!("{pattern}: no file of this name can be read from here; import those files too"),
                ),
                false => work.report.kept(&entry, ""),
            }
            for path in found {
                if !seen.insert(plain(&path)) {
                    continue;
                }
                let file: Arc<str> = Arc::from(path.to_string_lossy().replace('\\', "/"));
                let bad = |message: String| ImportError::at(&source.shown, key.line, 1, message);
                if seen.len() > INCLUDED_MAX {
                    return Err(bad(format!("more than {INCLUDED_MAX} files are included")));
                }
                let bytes = work.surroundings.read(&path);
                let bytes = bytes.map_err(|error| bad(format!("the included file {file} cannot be read: {error}")))?;
                work.report.begin(&file, super::Format::Supervisord);
                for section in ini::parse(&decode(&bytes, &file)?, &file)? {
                    if section.name == "include" {
                        for key in &section.keys {
                            let shown = format!("[include] {}", key.name);
                            let entry = work.report.entry(&file, key.line, "", &shown, &key.value);
                            work.report.lost(&entry, "supervisord does not read what an included file includes either");
                        }
                        continue;
                    }
                    out.push(place(section, &file));
                }
            }
        }
    }
    Ok(out)
}

/// The path without steps back, so that one file has one path.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// The files that a pattern stands for. Only the last part of it may have signs, as everybody writes it.
fn matching(work: &Work<'_>, folder: &Path, pattern: &str, here: &str) -> Vec<PathBuf> {
    let (dir, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    // An absolute folder within that of the source is looked for there, so that a copied tree can be imported.
    let inner = dir.strip_prefix(here).map(|rest| rest.trim_start_matches('/'));
    let dir = folder.join(inner.unwrap_or(dir).trim_start_matches("./"));
    let names = work.surroundings.list(&dir).unwrap_or_default();
    names.into_iter().filter(|it| fits(name, it)).map(|it| dir.join(it)).collect()
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut pos) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while pos < name.len() {
        match pattern.get(at) {
            Some('*') => {
                back = Some((at, pos));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[pos] => {
                at += 1;
                pos += 1;
            }
            _ => match back {
                Some((star, begun)) => {
                    at = star + 1;
                    pos = begun + 1;
                    back = Some((star, begun + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|c| *c == '*')
}

/// A section that is lost as a whole; each of its keys is named.
fn whole(work: &mut Work<'_>, placed: &Placed, why: &str) {
    let section = &placed.section;
    if section.keys.is_empty() {
        let entry = work.report.entry(&placed.file, section.line, "", &format!("[{}]", section.name), "");
        work.report.lost(&entry, why);
    }
    for key in &section.keys {
        let shown = format!("[{}] {}", section.name, key.name);
        let entry = work.report.entry(&placed.file, key.line, "", &shown, "");
        work.report.lost(&entry, why);
    }
}

/// `[supervisord]` itself: some of it holds for every program.
fn supervisord(work: &mut Work<'_>, placed: &Placed, defaults: &mut Defaults) {
    for key in &placed.section.keys {
        let shown = format!("[supervisord] {}", key.name);
        let entry = work.report.entry(&placed.file, key.line, "", &shown, &key.value);
        match key.name.as_str() {
            "environment" => defaults.environment = Some(entry),
            "umask" => defaults.umask = Some(entry),
            "directory" => defaults.directory = Some(entry),
            "minfds" => defaults.open_files = Some(entry),
            "user" => {
                work.report.lost(&entry, "the guard's account is chosen when it is installed: account under [install]")
            }
            "nodaemon" | "silent" => {
                work.report.lost(&entry, "`tutela run` is in the foreground, `tutela install` makes a service")
            }
            "logfile" | "logfile_maxbytes" | "logfile_backups" | "loglevel" | "childlogdir" | "nocleanup"
            | "strip_ansi" => {
                work.report.lost(
                    &entry,
                    "the guard's own words are its events; logs of programs are where [services.X.logs] says",
                );
            }
            "pidfile" => work.report.lost(&entry, "no file has the process id; `tutela status --json` tells it"),
            "identifier" => work.report.lost(&entry, "the guard has the name at the top of the spec"),
            "minprocs" => work.report.lost(&entry, "limits.processes limits the processes of one service"),
            _ => {}
        }
    }
    for (entry, to) in [(&defaults.environment, "env"), (&defaults.umask, "umask"), (&defaults.directory, "cwd")] {
        if let Some(entry) = entry {
            work.report.changed(entry, "", format!("it is written into each service, as {to}"));
        }
    }
    if let Some(entry) = &defaults.open_files {
        work.report.changed(entry, "", "it is written into each service, as limits.open_files");
    }
}

/// Priorities are an order without waiting; needs are more than that, so they are named and not made.
fn order(work: &mut Work<'_>, priorities: &mut [(i64, String, Entry)]) {
    priorities.sort_by_key(|(priority, _, _)| *priority);
    for (at, (priority, _, entry)) in priorities.iter().enumerate() {
        let before: Vec<&str> = priorities[..at]
            .iter()
            .filter(|(other, _, _)| other < priority)
            .map(|(_, name, _)| name.as_str())
            .collect();
        let alone = !priorities.iter().any(|(other, _, _)| other != priority);
        if alone {
            work.report.kept(entry, "");
            continue;
        }
        let why = match before.as_slice() {
            [] => {
                "priorities order starts without waiting; the services that need this one say so with needs".to_owned()
            }
            before => {
                let names: Vec<String> = before.iter().map(|name| format!("\"{name}\"")).collect();
                format!(
                    "priorities order starts without waiting; where this one needs those that started before it, write \
                     needs = [{}]",
                    names.join(", ")
                )
            }
        };
        work.report.lost(entry, why);
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_of_includes_fit_names() {
        assert!(fits("*.conf", "a.conf") && fits("a?c*", "abcd") && fits("*", "") && fits("a*b*c", "axxbyyc"));
        assert!(!fits("*.conf", "a.ini") && !fits("a", "ab") && !fits("?", ""));
    }
}
