//! `/v1/logs/{service}`: output from the files, one JSON record a line. What cannot be read is a record, too: whoever
//! asks never takes an answer with a hole for a whole one.

use super::answer::{Answer, Pieces, stream};
use super::events::{KEEP_ALIVE, since_of};
use super::serve::{Context, ask, ended, query_of, target_of};
use crate::conductor::Request as Ask;
use crate::logs_view::{self, filter_of, places_of, record_of};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::TryRecvError};
use tutela_core::guard::Target;
use tutela_logs::read::{LogReader, Place, Query};
use tutela_logs::{Stream, Wall};
use tutela_os::blocking;
use tutela_schema::api::{ErrorCode, ErrorReply, LOG_HOLD_HEADER, LogLine, LogQuery, LogStream};
use tutela_schema::events::{EventKind, EventRecord};
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
    // First the ears, then the instances: so no reload falls between the two.
    let reloads = query.follow.then(|| Reloads(context.feed.follow()));
    let began = Wall::now();
    let places = places(context, &target).await?;
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
    let (pieces, mut answer) = stream("application/x-ndjson");
    let hold = places.iter().map(|place| context.pump.hold(&place.label)).max().unwrap_or_default();
    if !hold.is_zero() {
        let millis = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        answer.headers_mut().insert(LOG_HOLD_HEADER, millis.into());
    }
    // To open is to read until the beginning is found, on a disk that may not answer.
    let opened = blocking::files().start(move || logs_view::open(&places, wanted, filter)).await;
    let reader = opened
        .map_err(|_| ended())?
        .map_err(|error| ErrorReply::new(ErrorCode::Failed, format!("failed to read the logs: {error}"), None))?;
    let reading =
        Reading { reader, of: service.to_owned(), follow: query.follow, began, more: Vec::new(), failure: None };
    tokio::spawn(send(reading, pieces, reloads, context.clone(), target));
    Ok(answer)
}

/// Where the output of the target's instances lies.
async fn places(context: &Arc<Context>, target: &Target) -> Result<Vec<Place>, ErrorReply> {
    let of = target.clone();
    let answer = ask(context, |reply| Ask::Status { target: of, reply }).await?;
    let instances: Vec<String> =
        answer.status.services.into_iter().flat_map(|service| service.instances).map(|instance| instance.id).collect();
    let of = target.clone();
    let dir = ask(context, |reply| Ask::LogDir { target: of, reply }).await?;
    Ok(places_of(&dir, &instances))
}

/// Tells whether the spec was reloaded.
struct Reloads(broadcast::Receiver<Arc<EventRecord>>);

impl Reloads {
    /// Since this was asked last.
    fn has_happened(&mut self) -> bool {
        let mut has_happened = false;
        loop {
            match self.0.try_recv() {
                Ok(record) => has_happened |= record.kind == EventKind::Reloaded,
                // One may have been among them.
                Err(TryRecvError::Lagged(_)) => has_happened = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return has_happened,
            }
        }
    }
}

/// Sends what the reader has, and, to who follows, what comes. Reading files blocks, so each portion is read
/// on a thread for that; none is held while the client is slow or nothing comes, because a guard of a hundred
/// services may be followed in all of them and has fewer threads.
async fn send(
    mut reading: Reading,
    pieces: Pieces,
    mut reloads: Option<Reloads>,
    context: Arc<Context>,
    target: Target,
) {
    let mut told = tokio::time::Instant::now();
    let mut is_caught_up = false;
    loop {
        if reloads.as_mut().is_some_and(Reloads::has_happened) {
            // Of a service that is gone what it has written is shown on.
            reading.more = places(&context, &target).await.unwrap_or_default();
        }
        let Ok((back, portion)) = blocking::files()
            .start(move || {
                let portion = reading.portion();
                (reading, portion)
            })
            .await
        else {
            return;
        };
        reading = back;
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

/// The files on their way to one client.
struct Reading {
    reader: LogReader,
    /// What was asked for: `api` or `api:0`.
    of: String,
    follow: bool,
    /// When it was asked for: what comes into the spec later has nothing to say from before.
    began: Wall,
    /// Where the instances' output lies after a reload, as far as it is not read yet.
    more: Vec<Place>,
    /// Why they could not be read at the last look: told once, however often it is looked again.
    failure: Option<String>,
}

impl Reading {
    /// The next records, as far as they are there and fit.
    fn portion(&mut self) -> Portion {
        let mut lines = Vec::new();
        for place in std::mem::take(&mut self.more) {
            if let Err(error) = self.reader.follow_too(logs_view::DOORS, &place, self.began) {
                put(&mut lines, &logs_view::record_of_failure(&self.of, &error));
            }
        }
        let then = loop {
            let next = if self.follow { self.reader.next_now() } else { self.reader.next().transpose() };
            for passed in self.reader.passed_over() {
                put(&mut lines, &logs_view::record_of_passed_over(&passed));
            }
            match next {
                Ok(Some(entry)) => {
                    put(&mut lines, &record_of(&entry));
                    if lines.len() >= PIECE_BYTES {
                        break Then::More;
                    }
                }
                Ok(None) if self.follow => {
                    self.failure = None;
                    break Then::Wait;
                }
                Ok(None) => break Then::End,
                Err(error) => {
                    let text = Some(error.to_string());
                    if self.failure != text {
                        self.failure = text;
                        put(&mut lines, &logs_view::record_of_failure(&self.of, &error));
                    }
                    break if self.follow { Then::Wait } else { Then::End };
                }
            }
        };
        Portion { lines, then }
    }
}

fn put(lines: &mut Vec<u8>, record: &LogLine) {
    // Strings and numbers only: there is no value that JSON cannot hold.
    lines.extend_from_slice(&serde_json::to_vec(record).unwrap_or_default());
    lines.push(b'\n');
}

/// The same time in the words of the log files.
pub(crate) fn wall_of(time: WallTime) -> Wall {
    Wall::from(std::time::SystemTime::from(time.0))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::path::Path;
    use tutela_schema::api::LogNote;

    const LINE: &str = "2026-11-20T21:23:45.123456Z out there\n";

    fn reading(dir: &Path, follow: bool) -> Reading {
        let places = places_of(dir, &["my-api:0".to_owned()]);
        let reader = logs_view::open(&places, Query::default(), None).unwrap();
        Reading { reader, of: "my-api".to_owned(), follow, began: Wall::now(), more: Vec::new(), failure: None }
    }

    fn records(portion: &Portion) -> Vec<LogLine> {
        portion.lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_record_that_names_it_among_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let broken = "my-api-0.20200101T000000.000000Z.log.gz";
        std::fs::write(dir.path().join(broken), "garbage").unwrap();
        std::fs::write(dir.path().join("my-api-0.log"), LINE).unwrap();
        for follow in [false, true] {
            let mut reading = reading(dir.path(), follow);
            let found = records(&reading.portion());
            let [note, line] = &found[..] else { panic!("{found:?}") };
            assert_eq!((note.tutela, line.tutela, &*line.message), (Some(LogNote::PassedOver), None, "there"));
            assert_eq!((&*note.service_name, &*note.instance), ("my-api", "0"));
            assert!(note.message.contains(broken), "{}", note.message);
            assert!(records(&reading.portion()).is_empty(), "it is told once");
        }
    }

    #[test]
    fn files_that_cannot_be_read_on_are_told_once_and_a_follower_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("my-api-0.log"), LINE).unwrap();
        let mut reading = reading(dir.path(), true);
        assert_eq!(records(&reading.portion()).len(), 1);
        // A file in the place of the folder can be looked into by nobody.
        let aside = dir.path().with_extension("aside");
        std::fs::rename(dir.path(), &aside).unwrap();
        std::fs::write(dir.path(), "").unwrap();
        let portion = reading.portion();
        assert!(matches!(portion.then, Then::Wait));
        let found = records(&portion);
        assert_eq!(found.iter().map(|line| line.tutela).collect::<Vec<_>>(), [Some(LogNote::Failed)], "{found:?}");
        assert!(reading.portion().lines.is_empty());
        std::fs::remove_file(dir.path()).unwrap();
        std::fs::rename(&aside, dir.path()).unwrap();
        std::fs::write(dir.path().join("my-api-0.log"), [LINE, LINE].concat()).unwrap();
        assert_eq!(records(&reading.portion()).len(), 1);
    }
}
