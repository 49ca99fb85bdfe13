//! `tutela events`: through the guard, or from its files when none runs.

use super::command::Target;
use super::words::EventWords;
use super::{Code, DONE, UNKNOWN, WRONG, block_on, report};
use crate::client::{Client, ClientError, Pieces, Reach};
use crate::conductor::wall_now;
use crate::hands::ledger::{self, EventFilter};
use tutela_core::names::InstanceId;
use tutela_schema::api::EventsReply;
use tutela_schema::events::EventRecord;
use tutela_schema::wall::WallTime;

pub fn events(words: &EventWords, reach: &Reach) -> Code {
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
    let client = reach.client(&target.guard);
    match block_on(events_online(&client, &target, words)) {
        Ok(Ok(())) => DONE,
        Ok(Err(error @ ClientError::NoGuard { .. })) => {
            let mut filter = EventFilter { last: words.lines, since, ..EventFilter::default() };
            if let Some(service) = &target.service {
                let instance = InstanceId::parse(service);
                filter.instance = instance.as_ref().map(|id| id.index);
                filter.service = Some(instance.map_or_else(|| service.clone(), |id| id.service.to_string()));
            }
            match ledger::read_offline(&reach.paths.state_dir(&target.guard), &filter) {
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
    let path = format!("/v1/events?{}", serde_urlencoded::to_string(&query).unwrap_or_default());
    if !words.follow {
        let reply: EventsReply = client.get(&path).await?;
        for record in &reply.events {
            if !print_event(record, words.json) {
                break;
            }
        }
        return Ok(());
    }
    let mut followed = client.open(&path).await?;
    // From there on, should nothing be shown before the next guard comes.
    let began = words.since.clone().unwrap_or_else(|| wall_now().to_string());
    query.retain(|(name, _)| !matches!(*name, "n" | "since"));
    query.push(("since", began));
    let path = format!("/v1/events?{}", serde_urlencoded::to_string(query).unwrap_or_default());
    let mut last = None;
    loop {
        if !show(&mut followed, &mut last, words.json).await {
            return Ok(());
        }
        followed = match client.open_after(&path, last).await {
            Ok(followed) => followed,
            // It has ended, and none takes its place.
            Err(ClientError::NoGuard { .. } | ClientError::Failed { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
}

/// Shows a stream of events until it ends. Answers whether somebody still reads; `last` is the number of the last event.
async fn show(pieces: &mut Pieces, last: &mut Option<u64>, json: bool) -> bool {
    let mut rest = Vec::new();
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let Ok(record) = serde_json::from_slice::<EventRecord>(data) else { continue };
            *last = Some(record.seq);
            if !print_event(&record, json) {
                return false;
            }
        }
    }
    true
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
