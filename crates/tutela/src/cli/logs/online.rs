//! Lines of several services of running guards, in the order of time, also while they are followed.
//!
//! Each service is one stream of the API, read by a task of its own into a lane of the [`Merge`]. Services that a reload
//! adds to a guard that is followed as a whole get a lane when they are seen. A guard that goes away is asked again until
//! it is back, from the last line that was shown; that is told once, however many of its services are followed.

use super::merge::{Lane, Merge, Next, Piece, QUEUE_LINES};
use super::print::Printer;
use super::{Ask, limits};
use crate::cli::command::encoded;
use crate::cli::report;
use crate::client::{Client, ClientError, Pieces};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::Instant;
use tutela_schema::api::{LOG_HOLD_HEADER, LogLine, LogNote, LogQuery, StatusReply};
use tutela_schema::wall::WallTime;

/// New services that wait to be followed. A reload is rare, and who looks for it can wait.
const LANES_WAITING_MAX: usize = 1;

/// How often a guard that went away is asked for.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How often a guard that is followed as a whole is asked for its services. A reload is a rare thing, done by hand.
const SERVICES_EVERY: Duration = Duration::from_secs(2);

/// One service of one guard.
pub struct Source {
    /// Its guard.
    pub client: Client,
    /// `api` or `api:0`.
    pub service: String,
}

/// Whom to ask.
#[derive(Default)]
pub struct Sources {
    /// For what.
    pub services: Vec<Source>,
    /// The guards that are wanted as a whole, with whatever services they get.
    pub guards: Vec<Client>,
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

/// Prints what the sources have, and goes on if they are followed.
pub async fn show(sources: Sources, ask: &Ask, printer: &mut Printer) -> End {
    let mut presences: HashMap<String, Arc<Presence>> = HashMap::new();
    let mut presence = |client: &Client| presences.entry(client.name().to_owned()).or_default().clone();
    let known: BTreeSet<_> =
        sources.services.iter().map(|source| (source.client.name().to_owned(), source.service.clone())).collect();
    let lanes: Vec<Lane> = sources
        .services
        .into_iter()
        .map(|source| {
            let presence = presence(&source.client);
            lane(source, ask.clone(), presence)
        })
        .collect();
    let more = (ask.follow && !sources.guards.is_empty()).then(|| {
        let (send, more) = channel(LANES_WAITING_MAX);
        for client in sources.guards {
            let presence = presence(&client);
            tokio::spawn(watch(client, ask.clone(), known.clone(), presence, send.clone()));
        }
        more
    });
    let mut merge = Merge::of(lanes, more);
    // Each gives its last lines; of all of them only the last are wanted.
    let last = if merge.len() > 1 { limits(&ask.query) } else { None };
    let mut backlog = VecDeque::new();
    loop {
        match merge.past().await {
            Next::Line(line) => match last {
                Some(last) => {
                    backlog.push_back(line);
                    if backlog.len() > last {
                        backlog.pop_front();
                    }
                }
                None if !printer.line(&line) => return End::Done,
                None => {}
            },
            Next::Failed(error) => return End::Refused(error),
            Next::Quiet | Next::End => break,
        }
    }
    if !backlog.iter().all(|line| printer.line(line)) || !printer.flush() {
        return End::Done;
    }
    if !ask.follow {
        return if merge.is_partial { End::Unreadable } else { End::Done };
    }
    loop {
        let is_read = match merge.next().await {
            Next::Line(line) => printer.line(&line),
            Next::Quiet => printer.flush(),
            Next::Failed(error) => return End::Refused(error),
            Next::End => false,
        };
        if !is_read {
            return End::Done;
        }
    }
}

/// Begins to read a source.
fn lane(source: Source, ask: Ask, presence: Arc<Presence>) -> Lane {
    let (send, pieces) = channel(QUEUE_LINES);
    tokio::spawn(read(source, ask, presence, send));
    Lane::of(pieces)
}

/// Makes lanes of the services that a guard gets while it is followed.
async fn watch(
    client: Client,
    mut ask: Ask,
    mut known: BTreeSet<(String, String)>,
    presence: Arc<Presence>,
    send: Sender<Lane>,
) {
    // What comes later has nothing to say from before.
    (ask.query.n, ask.query.since) = (None, Some(crate::conductor::wall_now().to_string()));
    loop {
        tokio::select! {
            () = send.closed() => return,
            () = tokio::time::sleep(SERVICES_EVERY) => {}
        }
        // One that is away is waited for by those who read its services.
        let Ok(status) = client.get::<StatusReply>("/v1/status").await else { continue };
        for service in status.guards.into_iter().flat_map(|guard| guard.services) {
            if known.insert((client.name().to_owned(), service.name.clone())) {
                let source = Source { client: client.clone(), service: service.name };
                if send.send(lane(source, ask.clone(), presence.clone())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether a guard is there, as all who read from it have found. What changes is told by the first of them.
#[derive(Debug, Default)]
struct Presence {
    is_away: AtomicBool,
}

impl Presence {
    /// Answers whether that is new.
    fn leaves(&self) -> bool {
        !self.is_away.swap(true, Ordering::Relaxed)
    }

    /// Answers whether that is new.
    fn comes(&self) -> bool {
        self.is_away.swap(false, Ordering::Relaxed)
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
async fn read(source: Source, ask: Ask, presence: Arc<Presence>, send: Sender<Piece>) {
    let began = crate::conductor::wall_now();
    let mut mark = Mark::default();
    let mut query = LogQuery { follow: ask.follow, ..ask.query };
    let mut is_first = true;
    let name = source.client.name();
    loop {
        let words = serde_urlencoded::to_string(&query).unwrap_or_default();
        let path = format!("/v1/logs/{}?{words}", encoded(&source.service));
        match source.client.open(&path).await {
            Ok(mut pieces) => {
                if presence.comes() {
                    report::tell(&format!("the guard {name} is back"));
                }
                if !pass_on(&mut pieces, name, &mut mark, &send).await || !ask.follow {
                    return;
                }
            }
            // Between two guards, or one that is just starting.
            Err(ClientError::NoGuard { .. } | ClientError::Failed { .. }) if ask.follow => {
                if presence.leaves() {
                    report::tell(&format!("the guard {name} is gone; it is waited for"));
                }
            }
            Err(ClientError::Refused(_)) if !is_first => {}
            Err(error) => {
                // Whoever does not listen any more need not know.
                let _ = send.send(Piece::Failed(error)).await;
                return;
            }
        }
        is_first = false;
        (query.n, query.since) = (None, Some(mark.at.unwrap_or(began).to_string()));
        tokio::select! {
            () = send.closed() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

/// Passes the lines of a stream on until it ends. Answers whether somebody still listens.
async fn pass_on(pieces: &mut Pieces, guard: &str, mark: &mut Mark, send: &Sender<Piece>) -> bool {
    let hold = Duration::from_millis(pieces.number(LOG_HOLD_HEADER).unwrap_or(0));
    if send.send(Piece::Hold(hold)).await.is_err() {
        return false;
    }
    // Those of the very moment where it was left come again.
    let (left_at, mut again) = (mark.at, std::mem::take(&mut mark.same));
    let mut rest = Vec::new();
    while let Some(piece) = pieces.next().await {
        let came = Instant::now();
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
                    Piece::Line(line, came)
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
