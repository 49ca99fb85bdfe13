//! `tutela logs` and `tutela events`: through the guard, or from its files when none runs.

use super::command::{Target, encoded};
use super::words::{EventWords, LogWords, StreamWord};
use super::{Code, DONE, UNKNOWN, WRONG, block_on, report};
use crate::api::logs_wall;
use crate::client::{Client, ClientError};
use crate::conductor::wall_now;
use crate::hands::ledger::{self, EventFilter};
use crate::logs_view::{DOORS, id_of, record_of};
use tutela_core::names::InstanceId;
use tutela_logs::Stream;
use tutela_logs::read::{LogReader, Place, Query};
use tutela_os::paths::Paths;
use tutela_schema::api::{EventsReply, LogLine, LogStream, StatusReply};
use tutela_schema::events::EventRecord;
use tutela_schema::wall::WallTime;

/// Lines that are shown when nobody says how many.
const LINES_DEFAULT: u64 = 100;

pub fn logs(words: &LogWords, paths: &Paths) -> Code {
    let target = match Target::parse(&words.target) {
        Ok(target) => target,
        Err(code) => return code,
    };
    for when in [&words.since, &words.until].into_iter().flatten() {
        if let Err(error) = WallTime::parse_when(when, wall_now()) {
            report::error(&error.to_string(), None);
            return WRONG;
        }
    }
    let client = Client::new(paths, &target.guard);
    match block_on(online(&client, &target, words)) {
        Ok(Ok(())) => DONE,
        Ok(Err(error @ ClientError::NoGuard { .. })) => offline(&target, words, paths, &error),
        Ok(Err(error)) => report::client_error(&error),
        Err(code) => code,
    }
}

/// Asks the guard, which knows where each service's files are.
async fn online(client: &Client, target: &Target, words: &LogWords) -> Result<(), ClientError> {
    let services = match &target.service {
        Some(service) => vec![service.clone()],
        None => {
            let status: StatusReply = client.get("/v1/status").await?;
            status.guards.into_iter().flat_map(|guard| guard.services).map(|service| service.name).collect()
        }
    };
    let prefix = needs_prefix(target);
    let mut query = vec![("follow", words.follow.to_string())];
    query.extend(words.lines.map(|n| ("n", n.to_string())));
    query.extend(words.since.clone().map(|since| ("since", since)));
    query.extend(words.until.clone().map(|until| ("until", until)));
    query.extend(words.stream.map(|stream| ("stream", stream_word(stream).to_owned())));
    let query = serde_urlencoded::to_string(query).unwrap_or_default();
    if let [service] = services.as_slice() {
        let path = format!("/v1/logs/{}?{query}", encoded(service));
        let mut lines = Lines { rest: Vec::new(), json: words.json, prefix };
        return client.stream(&path, |piece| lines.take(piece)).await;
    }
    // Of several services, followed ones come as they come; what lies in files comes in the order of time.
    let mut together = Vec::new();
    for service in &services {
        let path = format!("/v1/logs/{}?{}", encoded(service), query.replace("follow=true", "follow=false"));
        let mut rest = Vec::new();
        client
            .stream(&path, |piece| {
                rest.extend_from_slice(piece);
                true
            })
            .await?;
        together
            .extend(rest.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<LogLine>(line).ok()));
    }
    together.sort_by_key(|line| line.at);
    let wanted = words.lines.or(words.since.is_none().then_some(LINES_DEFAULT));
    let skip = wanted.map_or(0, |n| together.len().saturating_sub(usize::try_from(n).unwrap_or(usize::MAX)));
    for line in together.iter().skip(skip) {
        if !print_line(line, words.json, true) {
            return Ok(());
        }
    }
    if words.follow {
        let mut tasks = tokio::task::JoinSet::new();
        for service in services {
            let (client, json) = (client.clone(), words.json);
            let path = format!("/v1/logs/{}?follow=true&n=0", encoded(&service));
            tasks.spawn(async move {
                let mut lines = Lines { rest: Vec::new(), json, prefix: true };
                client.stream(&path, |piece| lines.take(piece)).await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Ok(result) = ended {
                result?;
            }
        }
    }
    Ok(())
}

/// Reads the files of a guard that does not run, where they are unless its spec says otherwise.
fn offline(target: &Target, words: &LogWords, paths: &Paths, error: &ClientError) -> Code {
    let dir = paths.log_dir(&target.guard);
    let mut labels = labels_in(&dir);
    if let Some(service) = &target.service {
        labels.retain(|label| id_of(label) == *service || id_of(label).split(':').next() == Some(service));
    }
    if labels.is_empty() {
        report::error(
            &format!("{error}, and {} has no files of it", dir.display()),
            Some("where a spec names another folder for logs, read the files there"),
        );
        return UNKNOWN;
    }
    let places: Vec<Place> = labels.into_iter().map(|label| Place { dir: dir.clone(), label }).collect();
    let when = |text: &Option<String>| {
        text.as_deref().and_then(|text| WallTime::parse_when(text, wall_now()).ok()).map(logs_wall)
    };
    let last = words.lines.or(words.since.is_none().then_some(LINES_DEFAULT));
    let prefix = needs_prefix(target);
    let query = Query {
        since: when(&words.since),
        until: when(&words.until),
        stream: words.stream.map(|stream| match stream {
            StreamWord::Stdout => Stream::Out,
            StreamWord::Stderr => Stream::Err,
        }),
        last: last.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
    };
    match LogReader::open(DOORS, &places, query) {
        Ok(reader) => {
            for entry in reader {
                match entry {
                    Ok(entry) if !print_line(&record_of(&entry), words.json, prefix) => return DONE,
                    Ok(_) => {}
                    Err(error) => report::error(&format!("failed to read a log file: {error}"), None),
                }
            }
            if words.follow {
                report::tell("the guard does not run, so nothing follows");
            }
            DONE
        }
        Err(error) => {
            report::error(&format!("failed to read the logs in {}: {error}", dir.display()), None);
            super::FAILED
        }
    }
}

/// The labels of the files in a folder: `api-0` of `api-0.log` and `api-0.20261120T….log`.
fn labels_in(dir: &std::path::Path) -> Vec<String> {
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

/// Cuts a stream of records into lines and prints them.
struct Lines {
    rest: Vec<u8>,
    json: bool,
    prefix: bool,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> bool {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Ok(record) = serde_json::from_slice::<LogLine>(&line)
                && !print_line(&record, self.json, self.prefix)
            {
                return false;
            }
        }
        true
    }
}

/// Whether lines may be of more than one instance.
fn needs_prefix(target: &Target) -> bool {
    target.service.as_ref().is_none_or(|service| !service.contains(':'))
}

fn print_line(record: &LogLine, json: bool, prefix: bool) -> bool {
    if json {
        return report::print(&format!("{}\n", serde_json::to_string(record).unwrap_or_default()));
    }
    let at = record.at.map(|at| format!("{at} ")).unwrap_or_default();
    let id = if prefix { format!("{} ", record.id) } else { String::new() };
    let stream = match record.stream {
        Some(LogStream::Stderr) => "! ",
        Some(LogStream::Stdout) | None => "",
    };
    report::print(&format!("{at}{id}{stream}{}\n", record.line))
}

const fn stream_word(stream: StreamWord) -> &'static str {
    match stream {
        StreamWord::Stdout => "stdout",
        StreamWord::Stderr => "stderr",
    }
}

pub fn events(words: &EventWords, paths: &Paths) -> Code {
    let target = match Target::parse(&words.target) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let since = match words.since.as_deref().map(|text| WallTime::parse_when(text, wall_now())).transpose() {
        Ok(since) => since,
        Err(error) => {
            report::error(&error.to_string(), None);
            return WRONG;
        }
    };
    let client = Client::new(paths, &target.guard);
    match block_on(events_online(&client, &target, words)) {
        Ok(Ok(())) => DONE,
        Ok(Err(error @ ClientError::NoGuard { .. })) => {
            let mut filter = EventFilter { last: words.lines, since, ..EventFilter::default() };
            if let Some(service) = &target.service {
                let instance = InstanceId::parse(service);
                filter.instance = instance.as_ref().map(|id| id.index);
                filter.service = Some(instance.map_or_else(|| service.clone(), |id| id.service.to_string()));
            }
            match ledger::read_offline(&paths.state_dir(&target.guard), &filter) {
                Ok(records) => {
                    for record in records {
                        if !print_event(&record, words.json) {
                            break;
                        }
                    }
                    DONE
                }
                Err(reason) => {
                    report::error(&format!("{error}, and {reason}"), None);
                    UNKNOWN
                }
            }
        }
        Ok(Err(error)) => report::client_error(&error),
        Err(code) => code,
    }
}

async fn events_online(client: &Client, target: &Target, words: &EventWords) -> Result<(), ClientError> {
    let mut query = vec![("follow", words.follow.to_string())];
    query.extend(words.lines.map(|n| ("n", n.to_string())));
    query.extend(words.since.clone().map(|since| ("since", since)));
    query.extend(target.service.clone().map(|service| ("service", service)));
    let path = format!("/v1/events?{}", serde_urlencoded::to_string(query).unwrap_or_default());
    if !words.follow {
        let reply: EventsReply = client.get(&path).await?;
        for record in &reply.events {
            if !print_event(record, words.json) {
                break;
            }
        }
        return Ok(());
    }
    let mut rest = Vec::new();
    client
        .stream(&path, |piece| {
            rest.extend_from_slice(piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data: ") else { continue };
                if let Ok(record) = serde_json::from_slice::<EventRecord>(data)
                    && !print_event(&record, words.json)
                {
                    return false;
                }
            }
            true
        })
        .await
}

fn print_event(record: &EventRecord, json: bool) -> bool {
    if json {
        return report::print(&format!("{}\n", serde_json::to_string(record).unwrap_or_default()));
    }
    let who = match (&record.service, record.instance) {
        (Some(service), Some(index)) => format!("{service}:{index} "),
        (Some(service), None) => format!("{service} "),
        (None, _) => String::new(),
    };
    report::print(&format!("{} {who}{}\n", record.at, record.message))
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
