//! Lines of several services of running guards, in the order of time, also while they are followed.
//!
//! Each service is one stream of the API, already in order, read by a task of its own into a short queue; the queue's
//! bound is what makes a fast one wait for a slow reader. They are merged by the time of their first lines. While
//! following, a stream that has nothing is waited for no longer than [`HOLD`]. A guard that goes away is asked again
//! until it is back, from the last line that was shown.

use super::print::Printer;
use super::{Ask, limits};
use crate::cli::command::encoded;
use crate::cli::report;
use crate::client::{Client, ClientError, Pieces};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TryRecvError};
use tokio::time::Instant;
use tutela_schema::api::{LogLine, LogNote, LogQuery};
use tutela_schema::wall::WallTime;

/// Lines of one service that wait to be merged.
const QUEUE_LINES: usize = 256;

/// How long a followed line waits for earlier ones of other services: a guard looks at its files every 200 ms.
const HOLD: Duration = Duration::from_millis(250);

/// How often a guard that went away is asked for.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// One service of one guard.
pub struct Source {
    /// Its guard.
    pub client: Client,
    /// `api` or `api:0`.
    pub service: String,
}

/// How it ended.
pub enum End {
    /// All is shown, or nobody reads any more.
    Done,
    /// A guard could not read its files to their end, which it said: what is shown is not all.
    Unreadable,
    /// A guard said no.
    Refused(ClientError),
}

/// What a stream gives.
enum Piece {
    Line(LogLine),
    /// What was written before the question was asked has been given.
    CaughtUp,
    /// The files could not be read on; that was told.
    Unreadable,
    Failed(ClientError),
}

/// A stream as the merge sees it.
struct Lane {
    pieces: Receiver<Piece>,
    head: Option<LogLine>,
    caught_up: bool,
    ended: bool,
    /// Not all of it could be read.
    unreadable: bool,
}

/// Prints what the sources have, and goes on if they are followed.
pub async fn show(sources: Vec<Source>, ask: &Ask, printer: &mut Printer) -> End {
    let mut lanes = Vec::new();
    for source in sources {
        let (send, pieces) = channel(QUEUE_LINES);
        tokio::spawn(read(source, ask.clone(), send));
        lanes.push(Lane { pieces, head: None, caught_up: false, ended: false, unreadable: false });
    }
    // Each gives its last lines; of all of them only the last are wanted.
    let last = if lanes.len() > 1 { limits(&ask.query) } else { None };
    let mut backlog = VecDeque::new();
    while let Some(step) = first(&mut lanes).await {
        match step {
            Ok(line) => match last {
                Some(last) => {
                    backlog.push_back(line);
                    if backlog.len() > last {
                        backlog.pop_front();
                    }
                }
                None if !printer.line(&line) => return End::Done,
                None => {}
            },
            Err(error) => return End::Refused(error),
        }
    }
    if !backlog.iter().all(|line| printer.line(line)) || !printer.flush() {
        return End::Done;
    }
    if !ask.follow {
        return if lanes.iter().any(|lane| lane.unreadable) { End::Unreadable } else { End::Done };
    }
    follow(&mut lanes, printer).await
}

/// The earliest line of what is there already; `None`: all of it was given.
async fn first(lanes: &mut [Lane]) -> Option<Result<LogLine, ClientError>> {
    for lane in lanes.iter_mut() {
        while lane.head.is_none() && !lane.caught_up && !lane.ended {
            match lane.pieces.recv().await {
                Some(Piece::Line(line)) => lane.head = Some(line),
                Some(Piece::CaughtUp) => lane.caught_up = true,
                Some(Piece::Unreadable) => lane.unreadable = true,
                Some(Piece::Failed(error)) => return Some(Err(error)),
                None => lane.ended = true,
            }
        }
    }
    take(lanes).map(Ok)
}

/// The earliest of the heads. Of equal times the first lane's.
fn take(lanes: &mut [Lane]) -> Option<LogLine> {
    let earliest = lanes
        .iter_mut()
        .filter(|lane| lane.head.is_some())
        .min_by_key(|lane| lane.head.as_ref().and_then(|line| line.timestamp))?;
    earliest.head.take()
}

async fn follow(lanes: &mut [Lane], printer: &mut Printer) -> End {
    loop {
        let mut due: Option<Instant> = None;
        loop {
            for lane in lanes.iter_mut() {
                while lane.head.is_none() && !lane.ended {
                    match lane.pieces.try_recv() {
                        Ok(Piece::Line(line)) => lane.head = Some(line),
                        Ok(Piece::CaughtUp | Piece::Unreadable) => {}
                        Ok(Piece::Failed(error)) => return End::Refused(error),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => lane.ended = true,
                    }
                }
            }
            let (any, all) = (
                lanes.iter().any(|lane| lane.head.is_some()),
                lanes.iter().all(|lane| lane.head.is_some() || lane.ended),
            );
            if all && !any {
                return End::Done;
            }
            if any && due.is_none() {
                due = Some(Instant::now() + HOLD);
            }
            if all || due.is_some_and(|due| Instant::now() >= due) {
                break;
            }
            // Polled in a beat much shorter than what is held back: select over a changing number of queues costs more.
            tokio::time::sleep(HOLD / 25).await;
        }
        while let Some(line) = take(lanes) {
            if !printer.line(&line) {
                return End::Done;
            }
            // What is behind a line of this lane may be earlier than the heads of others.
            for lane in lanes.iter_mut().filter(|lane| lane.head.is_none()) {
                if let Ok(Piece::Line(next)) = lane.pieces.try_recv() {
                    lane.head = Some(next);
                }
            }
        }
        if !printer.flush() {
            return End::Done;
        }
    }
}

/// How far a stream was read, so that it can be gone on with.
#[derive(Default)]
struct Mark {
    /// The time of the last line.
    at: Option<WallTime>,
    /// Lines of exactly that time.
    same: usize,
}

impl Mark {
    fn note(&mut self, line: &LogLine) {
        if self.at == line.timestamp {
            self.same += 1;
        } else {
            (self.at, self.same) = (line.timestamp, 1);
        }
    }
}

/// Reads one service into the queue.
async fn read(source: Source, ask: Ask, send: Sender<Piece>) {
    let began = crate::conductor::wall_now();
    let mut mark = Mark::default();
    let mut query = LogQuery { follow: ask.follow, ..ask.query };
    let mut is_away = false;
    let name = source.client.name();
    loop {
        let words = serde_urlencoded::to_string(&query).unwrap_or_default();
        let path = format!("/v1/logs/{}?{words}", encoded(&source.service));
        match source.client.open(&path).await {
            Ok(mut pieces) => {
                if std::mem::take(&mut is_away) {
                    report::tell(&format!("the guard {name} is back"));
                }
                if !pass_on(&mut pieces, name, &mut mark, &send).await || !ask.follow {
                    return;
                }
            }
            // Between two guards, or one that is just starting.
            Err(ClientError::NoGuard { .. } | ClientError::Failed { .. }) if ask.follow => {}
            Err(ClientError::Refused(_)) if is_away => {}
            Err(error) => {
                // Whoever does not listen any more need not know.
                let _ = send.send(Piece::Failed(error)).await;
                return;
            }
        }
        if !std::mem::replace(&mut is_away, true) {
            report::tell(&format!("the guard {name} is gone; it is waited for"));
        }
        (query.n, query.since) = (None, Some(mark.at.unwrap_or(began).to_string()));
        tokio::select! {
            () = send.closed() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

/// Passes the lines of a stream on until it ends. Answers whether somebody still listens.
async fn pass_on(pieces: &mut Pieces, guard: &str, mark: &mut Mark, send: &Sender<Piece>) -> bool {
    // Those of the very moment where it was left come again.
    let (left_at, mut again) = (mark.at, std::mem::take(&mut mark.same));
    let mut rest = Vec::new();
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece);
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &rest[from..]) {
            let line = &rest[from..from + length];
            from += length + 1;
            let piece = match serde_json::from_slice::<LogLine>(line) {
                // What is missing is no output; whoever reads the output is told beside it.
                Ok(LogLine { tutela: Some(LogNote::PassedOver), message, .. }) => {
                    report::tell(&message);
                    continue;
                }
                Ok(LogLine { tutela: Some(LogNote::Failed), message, .. }) => {
                    report::error(&message, None);
                    Piece::Unreadable
                }
                Ok(mut line) => {
                    mark.note(&line);
                    if again > 0 && line.timestamp == left_at {
                        again -= 1;
                        continue;
                    }
                    line.guard = Some(guard.to_owned());
                    Piece::Line(line)
                }
                Err(_) => Piece::CaughtUp,
            };
            if send.send(piece).await.is_err() {
                return false;
            }
        }
        rest.drain(..from);
    }
    true
}
