//! `/v1/logs/{service}`: output from the files, one JSON record a line.

use super::answer::{Answer, stream};
use super::events::since_of;
use super::serve::{Context, ask, query_of, target_of};
use crate::conductor::Request as Ask;
use crate::logs_view::{places_of, record_of};
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
    let mut reader = LogReader::open(&places, wanted)
        .map_err(|error| ErrorReply::new(ErrorCode::Failed, format!("failed to read the logs: {error}"), None))?;
    // Reading files blocks, so it has a thread; it ends with the client or the last line.
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            let next = if follow { reader.next_now() } else { reader.next().transpose() };
            match next {
                Ok(Some(entry)) => {
                    // Strings and numbers only: there is no value that JSON cannot hold.
                    piece.extend_from_slice(&serde_json::to_vec(&record_of(&entry)).unwrap_or_default());
                    piece.push(b'\n');
                    if piece.len() >= PIECE_BYTES && pieces.send_blocking(std::mem::take(&mut piece)).is_err() {
                        return;
                    }
                }
                Ok(None) if follow => {
                    // An empty line is no record; it finds out whether the client is still there.
                    if piece.is_empty() {
                        piece.push(b'\n');
                    }
                    if pieces.send_blocking(std::mem::take(&mut piece)).is_err() {
                        return;
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Ok(None) | Err(_) => {
                    let _ = pieces.send_blocking(piece);
                    return;
                }
            }
        }
    });
    Ok(answer)
}

/// The same time in the words of the log files.
pub(crate) fn wall_of(time: WallTime) -> Wall {
    Wall::from(std::time::SystemTime::from(time.0))
}
