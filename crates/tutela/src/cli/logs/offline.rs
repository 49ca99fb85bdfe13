//! Log files of a guard that does not run, where it wrote down that they are.

use super::print::Printer;
use super::{Ask, limits};
use crate::cli::command::Target;
use crate::cli::{Code, DONE, FAILED, UNKNOWN, WRONG, report};
use crate::conductor::wall_now;
use crate::log_folders;
use crate::logs_view::{self, filter_of, id_of, record_of};
use std::path::Path;
use tutela_logs::Stream;
use tutela_logs::read::{Place, Query};
use tutela_os::paths::Paths;
use tutela_schema::api::LogStream;
use tutela_schema::wall::WallTime;

/// Prints what the files of these targets have, and follows them if that was asked for: a guard that is started
/// again goes on writing into the same ones. `why`: no guard answered.
pub fn show(targets: &[Target], ask: &Ask, paths: &Paths, printer: &mut Printer, why: &str) -> Code {
    let mut places = Vec::new();
    for target in targets {
        let own = paths.log_dir(&target.guard);
        let elsewhere = log_folders::read(&paths.state_dir(&target.guard));
        let before = places.len();
        let mut dirs = vec![own.clone()];
        dirs.extend(elsewhere.values().cloned());
        dirs.sort();
        dirs.dedup();
        for dir in dirs {
            for label in labels_in(&dir) {
                let id = id_of(&label);
                let name = id.rsplit_once(':').map_or(&*id, |(name, _)| name);
                // A folder that a service names may have files of others in it, which are no service of this guard.
                let is_its = elsewhere.get(name).map_or(dir == own, |its| *its == dir);
                let is_wanted = target.service.as_ref().is_none_or(|service| id == *service || name == service);
                let place = Place { dir: dir.clone(), label };
                if is_its && is_wanted && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        if places.len() == before {
            report::error(&format!("{why}, and {} has no files of it", own.display()), None);
            return UNKNOWN;
        }
    }
    let when = |text: &Option<String>| {
        text.as_deref().and_then(|text| WallTime::parse_when(text, wall_now()).ok()).map(crate::api::logs_wall)
    };
    let query = Query {
        since: when(&ask.query.since),
        until: when(&ask.query.until),
        stream: ask.query.stream.map(|stream| match stream {
            LogStream::Stdout => Stream::Out,
            LogStream::Stderr => Stream::Err,
        }),
        last: limits(&ask.query),
    };
    let filter = match filter_of(&ask.query) {
        Ok(filter) => filter,
        Err(error) => {
            report::error(&error, None);
            return WRONG;
        }
    };
    let several = targets.iter().any(|target| target.guard != targets[0].guard);
    let guards: Vec<_> = targets.iter().map(|target| (paths.log_dir(&target.guard), target.guard.clone())).collect();
    let opened = logs_view::open(&places, query, filter);
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            report::error(&format!("failed to read the logs: {error}"), None);
            return FAILED;
        }
    };
    if ask.follow {
        report::tell(&format!("{why}; its files are followed"));
    }
    loop {
        let next = if ask.follow { reader.next_now() } else { reader.next().transpose() };
        reader.passed_over().iter().for_each(|note| report::tell(&logs_view::passed_over(note)));
        match next {
            Ok(Some(entry)) => {
                let mut record = record_of(&entry);
                // Of several guards the files tell none; of one it is known.
                if !several {
                    record.guard = guards.first().map(|(_, guard)| guard.clone());
                }
                if !printer.line(&record) {
                    return DONE;
                }
            }
            Ok(None) if ask.follow => {
                if !printer.flush() {
                    return DONE;
                }
                std::thread::sleep(super::LOOK_EVERY);
            }
            Ok(None) => {
                // A closed output has nobody left to be told.
                printer.flush();
                return DONE;
            }
            Err(error) => {
                report::error(&logs_view::failure(&error), None);
                return FAILED;
            }
        }
    }
}

/// The labels of the files in a folder: `api-0` of `api-0.log` and `api-0.20261120T….log`.
fn labels_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut labels: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .map(|stem| match stem.rsplit_once('.') {
            Some((label, stamp)) if stamp.len() == 23 && stamp.ends_with('Z') => label.to_owned(),
            _ => match stem.rsplit_once('.') {
                // The stamp has a dot of its own before its microseconds.
                Some((front, micros)) if micros.ends_with('Z') => {
                    front.rsplit_once('.').map_or(front.to_owned(), |(label, _)| label.to_owned())
                }
                _ => stem,
            },
        })
        .collect();
    labels.sort();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_labels_of_a_folder_are_found_by_its_file_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["api-0.log", "api-0.20261120T212345.123456Z.log", "a.b-1.20261120T212345.123456Z.log", "x.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(labels_in(dir.path()), ["a.b-1", "api-0"]);
    }
}
