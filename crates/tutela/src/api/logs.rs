//! `/v1/logs/{service}`: output from the files, one JSON record a line.

use super::answer::{Answer, Pieces, stream};
use super::events::{KEEP_ALIVE, since_of};
use super::serve::{Context, ask, ended, query_of, target_of};
use crate::conductor::Request as Ask;
use crate::logs_view::{self, filter_of, places_of, record_of};
use std::sync::Arc;
use std::time::Duration;
use tutela_logs::read::{LogReader, Query};
use tutela_logs::{Stream, Wall};
use tutela_schema::api::{ErrorCode, ErrorReply, LogQuery, LogStream};
use tutela_schema::wall::WallTime;

/// Lines that are told when nobody says how many.
const LINES_DEFAULT: usize = 100;

/// How often a followed file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Records are sent in pieces of about this size.
const PIECE_BYTES: usize = 32 * 1024;

pub(super) async fn logs(context: &Arc<Context>, service: &str, query: &str) -> Result<Answer, ErrorReply> {
    let query: LogQuery = query_of(query)?;
    let (since, until) = (since_of(query.since.as_deref())?, since_of(query.until.as_deref())?);
    let filter = filter_of(&query).map_err(|why| ErrorReply::new(ErrorCode::BadRequest, why, None))?;
    let target = target_of(Some(service))?;
    let of = target.clone();
    let answer = ask(context, |reply| Ask::Status { target: of, reply }).await?;
    let instances: Vec<String> =
        answer.status.services.into_iter().flat_map(|service| service.instances).map(|instance| instance.id).collect();
    let dir = ask(context, |reply| Ask::LogDir { target, reply }).await?;
    let last = match (query.n, since) {
        (Some(n), _) => Some(usize::try_from(n).unwrap_or(usize::MAX)),
        (None, Some(_)) => None,
        (None, None) => Some(LINES_DEFAULT),
    };
    let wanted = Query {
        since: since.map(wall_of),
        until: until.map(wall_of),
        stream: query.stream.map(|stream| match stream {
            LogStream::Stdout => Stream::Out,
            LogStream::Stderr => Stream::Err,
        }),
        last,
    };
    let (pieces, answer) = stream("application/x-ndjson");
    let (follow, places) = (query.follow, places_of(&dir, &instances));
    // To open is to read until the beginning is found, on a disk that may not answer.
    let opened = tokio::task::spawn_blocking(move || logs_view::open(&places, wanted, filter)).await;
    let reader = opened
        .map_err(|_| ended())?
        .map_err(|error| ErrorReply::new(ErrorCode::Failed, format!("failed to read the logs: {error}"), None))?;
    tokio::spawn(send(reader, pieces, follow));
    Ok(answer)
}

/// Sends what the reader has, and, to who follows, what comes. Reading files blocks, so each portion is read
/// on a thread for that; none is held while the client is slow or nothing comes, because a guard of a hundred
/// services may be followed in all of them and has fewer threads.
async fn send(mut reader: LogReader, pieces: Pieces, follow: bool) {
    let mut told = tokio::time::Instant::now();
    let mut is_caught_up = false;
    loop {
        let Ok((back, portion)) = tokio::task::spawn_blocking(move || {
            let portion = read(&mut reader, follow);
            (reader, portion)
        })
        .await
        else {
            return;
        };
        reader = back;
        if !portion.lines.is_empty() {
            told = tokio::time::Instant::now();
            if pieces.send(portion.lines).await.is_err() {
                return;
            }
        }
        match portion.then {
            Then::More => {}
            Then::End => return,
            Then::Wait => {
                // An empty line is no record; it shows that the stream lives, and the first one that all that was
                // there has been sent.
                if told.elapsed() >= KEEP_ALIVE || !is_caught_up {
                    is_caught_up = true;
                    told = tokio::time::Instant::now();
                    if pieces.send("\n").await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = pieces.closed() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        }
    }
}

/// What was read at once.
struct Portion {
    lines: Vec<u8>,
    then: Then,
}

/// What is to be done once a portion is sent.
enum Then {
    More,
    Wait,
    End,
}

fn read(reader: &mut LogReader, follow: bool) -> Portion {
    let mut lines = Vec::new();
    let then = loop {
        let next = if follow { reader.next_now() } else { reader.next().transpose() };
        match next {
            Ok(Some(entry)) => {
                // Strings and numbers only: there is no value that JSON cannot hold.
                lines.extend_from_slice(&serde_json::to_vec(&record_of(&entry)).unwrap_or_default());
                lines.push(b'\n');
                if lines.len() >= PIECE_BYTES {
                    break Then::More;
                }
            }
            Ok(None) if follow => break Then::Wait,
            Ok(None) | Err(_) => break Then::End,
        }
    };
    Portion { lines, then }
}

/// The same time in the words of the log files.
pub(crate) fn wall_of(time: WallTime) -> Wall {
    Wall::from(std::time::SystemTime::from(time.0))
}
