//! Messages over a connection, each with its length before it.

use crate::hands::probes::Stage;
use crate::hands::sinks::connect::{Connected, Receiver, Stream, is_over};
use crate::hands::sinks::way::{Delivery, Undelivered, Way, by_then, told};
use std::collections::VecDeque;
use std::net::TcpStream as Plain;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tutela_core::spec::TlsSpec;
use tutela_logs::record::Record;
use tutela_logs::record::syslog::Writer;
use tutela_os::tcp;

/// The longest message: usual receivers close on a longer one, or take what follows it for something else.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How much is made into messages at once: enough for few calls, little enough for many sinks.
const PIECE_BYTES: usize = 128 * 1024;

/// How much of what was sent is kept to be sent again: what a receiver's kernel usually holds for its program, and
/// some more for the program itself.
const TAIL_BYTES_MAX: usize = 512 * 1024;

/// A receiver that closes has read what came longer ago than this.
const TAIL_TIME: Duration = Duration::from_secs(10);

/// The first wait for the receiver's kernel, and the longest: its answer takes a way there and back, and is held back
/// for 40 ms by some.
const CONFIRM_FIRST: Duration = Duration::from_micros(200);
const CONFIRM_MAX: Duration = Duration::from_millis(20);

/// How long a new connection is watched before its first batch counts as taken: a receiver that does not want us (a
/// certificate that it refuses, a load balancer with nobody behind it) takes the bytes first and then closes.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// How long a connection on which something came in is watched for its end, which may be right behind it.
const FAREWELL: Duration = Duration::from_millis(5);

pub(super) struct Tcp {
    receiver: Receiver,
    timeout: Duration,
    writer: Writer,
    link: Option<Link>,
    tail: Tail,
}

impl Tcp {
    pub(super) fn new(address: &str, tls: Option<&TlsSpec>, facility: u8, timeout: Duration) -> Result<Self, String> {
        let receiver = Receiver::new(address, tls)?;
        Ok(Tcp { receiver, timeout, writer: Writer::new(facility), link: None, tail: Tail::default() })
    }

    async fn send(&mut self, records: &[Record], by: Instant, stage: &Stage) -> Result<(), String> {
        // A link that is not put back, because something failed or the delivery was given up, is not used again.
        let mut link = match self.link.take() {
            None => self.connect(by, stage).await?,
            Some(link) => match link.over().await {
                None => link,
                Some(over) => {
                    self.tail.forget_before(over.at.checked_sub(TAIL_TIME));
                    self.connect(by, stage).await?
                }
            },
        };
        let pieces = match self.say(&mut link, records, stage).await {
            Ok(pieces) => pieces,
            Err(reason) => {
                self.tail.forget_before(Instant::now().checked_sub(TAIL_TIME));
                return Err(reason);
            }
        };
        self.tail.add(pieces);
        self.link = Some(link);
        Ok(())
    }

    /// The end of what was said, as far as it is worth keeping.
    async fn say(&mut self, link: &mut Link, records: &[Record], stage: &Stage) -> Result<VecDeque<Vec<u8>>, String> {
        stage.reach(Stage::SENDING);
        let (mut pieces, mut piece) = (VecDeque::new(), Vec::new());
        for (at, record) in records.iter().enumerate() {
            self.writer.write_counted(record, MESSAGE_BYTES_MAX, &mut piece);
            if piece.len() >= PIECE_BYTES || at + 1 == records.len() {
                link.write(&piece).await?;
                pieces.push_back(std::mem::take(&mut piece));
                if pieces.len() > TAIL_BYTES_MAX / PIECE_BYTES {
                    pieces.pop_front();
                }
            }
        }
        stage.reach(Stage::SETTLING);
        link.settle().await?;
        Ok(pieces)
    }

    /// A new connection, on which everything has been said again that the last one may have lost.
    async fn connect(&mut self, by: Instant, stage: &Stage) -> Result<Link, String> {
        let mut link = Link::over_a(self.receiver.connect(by, stage).await?);
        stage.reach(Stage::SENDING);
        for (at, piece) in &mut self.tail.pieces {
            link.write(piece).await?;
            *at = Instant::now();
        }
        Ok(link)
    }
}

impl Way for Tcp {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(async move {
            let (timeout, stage) = (self.timeout, Stage::default());
            let by = Instant::now() + timeout;
            let sent = by_then(by, timeout, &stage, self.send(records, by, &stage)).await;
            sent.map_err(|reason| Undelivered::later(told("failed to send to syslog at", &self.receiver, &reason)))
        })
    }
}

/// What was sent last, in whole messages, the oldest first.
#[derive(Debug, Default)]
struct Tail {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Tail {
    /// The receiver's kernel has these.
    fn add(&mut self, pieces: VecDeque<Vec<u8>>) {
        let at = Instant::now();
        for piece in pieces {
            self.bytes += piece.len();
            self.pieces.push_back((at, piece));
        }
        while self.bytes > TAIL_BYTES_MAX && self.pieces.len() > 1 {
            self.forget_first();
        }
    }

    /// What was sent before this moment has been read.
    fn forget_before(&mut self, moment: Option<Instant>) {
        while self.pieces.front().is_some_and(|(at, _)| moment.is_some_and(|moment| *at < moment)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, piece)) = self.pieces.pop_front() {
            self.bytes -= piece.len();
        }
    }
}

/// One connection. What comes in on it is read and forgotten, so that its end is noticed at once, and closing it
/// does not reset it.
struct Link {
    writer: WriteHalf<Box<dyn Stream>>,
    socket: Plain,
    over: watch::Receiver<Option<Over>>,
    watching: JoinHandle<()>,
    /// Whether nothing has counted as taken on it.
    is_new: bool,
}

/// The end of a connection.
#[derive(Debug, Clone)]
struct Over {
    at: Instant,
    why: String,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Link {
    fn over_a(Connected { stream, socket }: Connected) -> Link {
        let (reader, writer) = tokio::io::split(stream);
        let (tell, over) = watch::channel(None);
        let watching = tokio::spawn(async move {
            let why = last_words(reader).await;
            let _ = tell.send(Some(Over { at: Instant::now(), why }));
        });
        Link { writer, socket, over, watching, is_new: true }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let writing = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        writing.await.map_err(|error| error.to_string())
    }

    /// Its end, if it has come.
    async fn over(&self) -> Option<Over> {
        let told = || self.over.borrow().clone();
        if let Some(over) = told() {
            return Some(over);
        }
        match self.socket.peek(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Ok(count) if count > 0 => {
                let mut over = self.over.clone();
                let _ = tokio::time::timeout(FAREWELL, over.changed()).await;
                told()
            }
            Ok(_) => Some(Over { at: Instant::now(), why: CLOSED.to_owned() }),
            Err(error) => Some(Over { at: Instant::now(), why: error.to_string() }),
        }
    }

    /// Waits until the receiver's kernel has everything, where this one can tell.
    async fn settle(&mut self) -> Result<(), String> {
        let mut wait = CONFIRM_FIRST;
        while tcp::unconfirmed(&self.socket).is_some_and(|bytes| bytes > 0) && !is_over(&self.socket) {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(CONFIRM_MAX);
        }
        if std::mem::take(&mut self.is_new) {
            // Whether it ended is asked below.
            let _ = tokio::time::timeout(FIRST_LOOK, self.over.changed()).await;
        }
        match self.over().await {
            None => Ok(()),
            Some(over) => Err(over.why),
        }
    }
}

const CLOSED: &str = "the receiver closed the connection";

/// Reads until nothing more can come; why.
async fn last_words(mut reader: ReadHalf<Box<dyn Stream>>) -> String {
    let mut buffer = [0; 256];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return CLOSED.to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}
