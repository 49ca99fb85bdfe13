//! The forward protocol of Fluentd and Fluent Bit, version 1: packed forward mode, each chunk acknowledged.
//!
//! A chunk is through when the receiver has said its name back, so nothing is lost that it said yes to; a chunk whose
//! acknowledgement got lost arrives twice, and the `id` of its records tells. With a shared key both sides prove that
//! they have it before anything is sent.
//!
//! Deliberately absent: users and passwords, which a receiver may want beside the key, and the mode without
//! acknowledgements.

mod handshake;
mod pack;
#[cfg(test)]
mod tests;
mod unpack;

use super::connect::{Connected, Receiver, is_over};
use super::progress::Progress;
use super::way::{Delivery, Undelivered, Way, by_then, told};
use crate::hands::probes::Stage;
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tutela_core::spec::TlsSpec;
use tutela_logs::record::Record;
use unpack::{Unpacked, Value};

/// How much of a batch goes under one acknowledgement: receivers keep a chunk in memory.
const CHUNK_BYTES: usize = 512 * 1024;

/// The longest thing that a receiver may say: the greeting has a few keys and a few dozen bytes each.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// The way to the receiver at `host:port`; without `tls` in the clear, without `shared_key` with no handshake.
/// `timeout`: how long one delivery may take.
///
/// # Errors
/// The address, or the name for its certificate, cannot be one.
pub fn open(
    address: &str,
    tag: &str,
    shared_key: Option<&str>,
    tls: Option<&TlsSpec>,
    timeout: Duration,
) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Fluent {
        receiver: Receiver::new(address, tls)?,
        tag: tag.to_owned(),
        shared_key: shared_key.map(str::to_owned),
        timeout,
        line: None,
        progress: Progress::default(),
    }))
}

struct Fluent {
    receiver: Receiver,
    tag: String,
    shared_key: Option<String>,
    timeout: Duration,
    line: Option<Line>,
    progress: Progress,
}

impl Fluent {
    async fn send(&mut self, records: &[Record], by: Instant, stage: &Stage) -> Result<(), String> {
        let mut done = self.progress.count(records);
        // A line that is not put back, because something failed or the delivery was given up, is not used again.
        let mut line = match self.line.take().filter(|line| !is_over(&line.connected.socket)) {
            Some(line) => line,
            None => {
                let mut line = Line { connected: self.receiver.connect(by, stage).await?, heard: Vec::new() };
                if let Some(key) = &self.shared_key {
                    stage.reach(Stage::WAITING);
                    let host = records.first().map_or("", |record| &*record.owner.host);
                    let key = crate::secrets::reveal(key).await;
                    let key = key.map_err(|why| format!("the secret of the shared key cannot be read: {why}"))?;
                    handshake::shake(&mut line, key.text(), host).await?;
                }
                line
            }
        };
        while done < records.len() {
            let (entries, count) = pack::entries(&records[done..], CHUNK_BYTES);
            let chunk = chunk_name()?;
            stage.reach(Stage::SENDING);
            line.say(&pack::head(&self.tag, &entries)).await?;
            line.say(&entries).await?;
            line.say(&pack::options(&chunk, count)).await?;
            stage.reach(Stage::WAITING);
            let reply = line.hear().await?;
            match reply.get("ack") {
                Some(Value::Text(name)) if *name == chunk.as_bytes() => {}
                _ if handshake::is_greeting(&reply) => {
                    return Err("the receiver wants a shared key, and the spec has none".to_owned());
                }
                _ => return Err("the receiver says something else than which chunk it took".to_owned()),
            }
            done += count;
            self.progress.reach(records, done);
        }
        self.line = Some(line);
        Ok(())
    }
}

impl Way for Fluent {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(async move {
            let (timeout, stage) = (self.timeout, Stage::default());
            let by = Instant::now() + timeout;
            let sent = by_then(by, timeout, &stage, self.send(records, by, &stage)).await;
            sent.map_err(|reason| Undelivered::later(told("failed to forward to", &self.receiver, &reason)))
        })
    }
}

/// A name that no other chunk has: 128 random bits in hexadecimal.
fn chunk_name() -> Result<String, String> {
    Ok(hexadecimal(&random()?))
}

fn random() -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "this computer has no random numbers".to_owned())?;
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A connection, and what came in on it that has not been looked at.
struct Line {
    connected: Connected,
    heard: Vec<u8>,
}

impl Line {
    async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = &mut self.connected.stream;
        let saying = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        saying.await.map_err(|error| error.to_string())
    }

    /// The next thing that the receiver says, at most [`REPLY_BYTES_MAX`] long.
    async fn hear(&mut self) -> Result<Value, String> {
        loop {
            match unpack::first(&self.heard) {
                Unpacked::Value(value, length) => {
                    self.heard.drain(..length);
                    return Ok(value);
                }
                Unpacked::Garbage => return Err("the receiver does not speak the forward protocol".to_owned()),
                Unpacked::Incomplete if self.heard.len() >= REPLY_BYTES_MAX => {
                    return Err(format!("the receiver says more than {REPLY_BYTES_MAX} bytes at once"));
                }
                Unpacked::Incomplete => {}
            }
            let mut buffer = [0; 1024];
            match self.connected.stream.read(&mut buffer).await {
                Ok(0) => return Err("the receiver closed the connection without an answer".to_owned()),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
