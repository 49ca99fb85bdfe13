//! `tutela logs`: through guards that run, which know where each service's files are, or from the files.

mod merge;
mod offline;
mod online;
mod print;

use super::command::Target;
use super::words::{LogWords, StreamWord};
use super::{Code, DONE, FAILED, WRONG, block_on, report};
use crate::client::{Client, ClientError, Reach};
use crate::conductor::wall_now;
use crate::logs_view::filter_of;
use online::{End, Source, Sources};
use print::{Form, Printer};
use std::time::Duration;
use tutela_schema::api::{LogQuery, LogStream, StatusReply};
use tutela_schema::wall::WallTime;

/// Lines that are shown when nobody says how many.
const LINES_DEFAULT: u64 = 100;

/// How often followed files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is asked, of whatever answers.
#[derive(Debug, Clone)]
struct Ask {
    query: LogQuery,
    follow: bool,
}

pub fn logs(words: &LogWords, reach: &Reach) -> Code {
    let mut targets = Vec::new();
    for text in &words.targets {
        match Target::parse(text) {
            Ok(target) => targets.push(target),
            Err(code) => return code,
        }
    }
    for when in [&words.since, &words.until].into_iter().flatten() {
        if let Err(error) = WallTime::parse_when(when, wall_now()) {
            report::error(&error.to_string(), None);
            return WRONG;
        }
    }
    let ask = Ask {
        query: LogQuery {
            n: words.lines,
            since: words.since.clone(),
            until: words.until.clone(),
            follow: false,
            stream: words.stream.map(|stream| match stream {
                StreamWord::Stdout => LogStream::Stdout,
                StreamWord::Stderr => LogStream::Stderr,
            }),
            level: words.level.clone(),
            grep: words.grep.clone(),
            ignore_case: words.ignore_case,
            invert: words.invert_match,
        },
        follow: words.follow,
    };
    if let Err(error) = filter_of(&ask.query) {
        report::error(&error, None);
        return WRONG;
    }
    let mut printer = Printer::new(form(words, &targets));
    match block_on(sources(&targets, reach)) {
        Ok(Ok(sources)) => match block_on(online::show(sources, &ask, &mut printer)) {
            Ok(End::Done) => DONE,
            Ok(End::Unreadable) => FAILED,
            Ok(End::Refused(error)) => report::client_error(&error),
            Err(code) => code,
        },
        // With one guard away and another one there, files and guards cannot be mixed in order: files have it all.
        Ok(Err(error @ ClientError::NoGuard { .. })) => {
            offline::show(&targets, &ask, &reach.paths, &mut printer, &error.to_string())
        }
        Ok(Err(error)) => report::client_error(&error).max(FAILED),
        Err(code) => code,
    }
}

/// Whom to ask for what: each service of each target once.
async fn sources(targets: &[Target], reach: &Reach) -> Result<Sources, ClientError> {
    let Sources { services: mut sources, mut guards } = Sources::default();
    for target in targets {
        let client = reach.client(&target.guard);
        let services = match &target.service {
            Some(service) => {
                // Whether the guard is there is known before anything is shown.
                client.get::<serde_json::Value>("/livez").await?;
                vec![service.clone()]
            }
            None => {
                let status: StatusReply = client.get("/v1/status").await?;
                if !guards.iter().any(|known: &Client| known.name() == target.guard) {
                    guards.push(client.clone());
                }
                status.guards.into_iter().flat_map(|guard| guard.services).map(|service| service.name).collect()
            }
        };
        for service in services {
            let is_there = |known: &Source| known.client.name() == target.guard && known.service == service;
            if !sources.iter().any(is_there) {
                sources.push(Source { client: client.clone(), service });
            }
        }
    }
    Ok(Sources { services: sources, guards })
}

/// How many lines are wanted; `None`: all.
fn limits(query: &LogQuery) -> Option<usize> {
    let n = query.n.or(query.since.is_none().then_some(LINES_DEFAULT))?;
    Some(usize::try_from(n).unwrap_or(usize::MAX))
}

fn form(words: &LogWords, targets: &[Target]) -> Form {
    if words.json {
        return Form::Json;
    }
    if words.no_prefix {
        return Form::Text;
    }
    let one_instance = |target: &Target| target.service.as_ref().is_some_and(|service| service.contains(':'));
    Form::People {
        guards: targets.iter().any(|target| target.guard != targets[0].guard),
        names: !(targets.len() == 1 && one_instance(&targets[0])),
    }
}
