//! `tutela events`: through the guard, or from its files when none runs.

use super::command::Target;
use super::words::EventWords;
use super::{Code, DONE, UNKNOWN, WRONG, block_on, report};
use crate::client::{Client, ClientError, Reach};
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
