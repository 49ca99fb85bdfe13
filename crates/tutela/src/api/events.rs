//! `/v1/events`: what happened, and what happens.

use super::answer::{Answer, json, stream};
use super::serve::{Context, ended, query_of, target_of};
use crate::conductor::wall_now;
use crate::hands::ledger::EventFilter;
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tutela_core::guard::Target;
use tutela_schema::api::{ErrorCode, ErrorReply, EventQuery, EventsReply};
use tutela_schema::events::EventRecord;
use tutela_schema::wall::WallTime;

/// How often a quiet stream says that it lives, so that proxies and clients do not give it up.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events of the past that a follower has in memory: what one that does not read costs, and few enough that others, who
/// wait for the ledger too, do not notice.
const PAGE: usize = 256;

pub(super) async fn events(context: &Arc<Context>, query: &str, headers: &HeaderMap) -> Result<Answer, ErrorReply> {
    let query: EventQuery = query_of(query)?;
    let mut filter = filter_of(&query)?;
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    if let Some(last_id) = last_id {
        filter.after = Some(last_id);
    }
    // First the ears, then the past: so nothing falls between the two.
    let live = query.follow.then(|| context.feed.follow());
    filter.page = query.follow.then_some(PAGE);
    let read = context.ledger.read(filter.clone()).await.map_err(|_| ended())?;
    let mut past = read.map_err(|error| ErrorReply::new(ErrorCode::Failed, error, None))?;
    let Some(mut live) = live else {
        return Ok(json(StatusCode::OK, &EventsReply { events: past }));
    };
    let (pieces, answer) = stream("text/event-stream");
    let ledger = context.ledger.clone();
    tokio::spawn(async move {
        let mut newest = 0;
        let mut is_all = false;
        loop {
            for record in &past {
                newest = record.seq;
                if pieces.send(frame(record)).await.is_err() {
                    return;
                }
            }
            if is_all {
                break;
            }
            is_all = past.len() < PAGE;
            if newest == 0 {
                // None of the past was wanted, or there is none.
                break;
            }
            if is_all {
                // Whoever read slowly so far has missed nothing for that: the ledger has what was said meanwhile.
                live = live.resubscribe();
            }
            (filter.last, filter.after) = (None, Some(newest));
            past = match ledger.read(filter.clone()).await {
                Ok(Ok(more)) => more,
                Ok(Err(_)) => break,
                Err(_) => return,
            };
            // What came between the two last pages may be more than one.
            is_all &= past.len() < PAGE;
        }
        drop(past);
        (filter.last, filter.after, filter.page) = (None, last_id, None);
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(KEEP_ALIVE, live.recv()) => next,
                () = pieces.closed() => return,
            };
            let sent = match next {
                Err(_) => pieces.send(": still here\n\n").await,
                Ok(Ok(record)) if record.seq > newest && filter.admits(&record) => {
                    newest = record.seq;
                    pieces.send(frame(&record)).await
                }
                Ok(Ok(_)) => Ok(()),
                Ok(Err(RecvError::Lagged(missed))) => {
                    pieces.send(format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")).await
                }
                Ok(Err(RecvError::Closed)) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(answer)
}

fn filter_of(query: &EventQuery) -> Result<EventFilter, ErrorReply> {
    let mut filter = EventFilter { last: query.n, since: since_of(query.since.as_deref())?, ..EventFilter::default() };
    match target_of(query.service.as_deref())? {
        Target::All => {}
        Target::Service(name) => filter.service = Some(name.to_string()),
        Target::Instance(id) => {
            filter.service = Some(id.service.to_string());
            filter.instance = Some(id.index);
        }
    }
    Ok(filter)
}

pub(super) fn since_of(text: Option<&str>) -> Result<Option<WallTime>, ErrorReply> {
    text.map(|text| WallTime::parse_when(text, wall_now()))
        .transpose()
        .map_err(|error| ErrorReply::new(ErrorCode::BadRequest, error.to_string(), None))
}

fn frame(record: &EventRecord) -> String {
    // Strings and numbers only: there is no value that JSON cannot hold, and JSON in one line.
    let data = serde_json::to_string(record).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", record.seq, record.kind)
}
