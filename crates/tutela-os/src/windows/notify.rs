//! The guard's ear: a pipe for messages, whose senders the OS vouches for.
//!
//! A program opens the pipe that `NOTIFY_SOCKET` names, writes a message at once, and closes it; or keeps it
//! open and writes another. One that wants to know that it was heard writes `BARRIER=1` and reads: the read
//! ends when the message was acted on, by the guard closing the pipe.
//!
//! Many connections are read side by side, so that one that says nothing holds nobody up. What a program says over
//! one connection is heard in order, and so is what it says over one after the other. Completions do not tell the
//! order of connections; it is that in which the instances were made, because a client gets the oldest one that is
//! free, and none is used twice. So the first message of a connection waits for those of the older connections of
//! its process, though not for long.

use super::endpoint::{CLIENT_RIGHTS, Instances, WAITING, client_of};
use super::handle::Handle;
use super::security::Token;
use super::security::sid::EVERYONE;
use crate::Error;
use crate::notify::{MESSAGE_BYTES_MAX, Message, Notice, parse};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::windows::named_pipe::NamedPipeServer;
use tokio::sync::{Mutex, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// How many connections are read at a time. Above it the one that was silent longest is cut off; a program
/// writes as soon as it has connected, so that is nobody with something to say.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may be silent. Programs that speak once a minute open the pipe each time.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection is kept for a barrier whose message is still being acted on.
const BARRIER_LIMIT: Duration = Duration::from_secs(60);

/// How long the first message of a connection waits for an older connection of its process. What was written before
/// is there already and only has to be noticed; a connection that is held open in silence delays its own process.
const PATIENCE: Duration = Duration::from_millis(100);

/// Answers a barrier by being dropped with its message.
pub(crate) type Attached = oneshot::Sender<()>;

/// A pipe on which programs speak.
#[derive(Debug)]
pub(crate) struct Inbox {
    instances: Instances,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: JoinSet<Step>,
    /// The number of the next instance.
    next: u64,
    /// How many instances wait for a client.
    waiting: usize,
    /// The instances that have said nothing yet, with the process at the other end once it is known.
    fresh: BTreeMap<u64, Option<u32>>,
    /// First messages that wait for an older one; their instances are still among the fresh.
    held: BTreeMap<u64, Said>,
    /// The connections that are read, the one that was silent longest first.
    readers: VecDeque<(u64, AbortHandle)>,
}

/// What one of the tasks comes to, with the instance that it is about.
#[derive(Debug)]
enum Step {
    /// It has a client, or could not wait for one.
    Came(u64, io::Result<NamedPipeServer>),
    /// Its client said something.
    Said(u64, Said),
    /// The connection is over.
    Gone(u64),
    /// Its first message has waited long enough.
    Waited(u64),
}

/// What a client said, and the connection that it may say more over.
#[derive(Debug)]
struct Said {
    server: NamedPipeServer,
    pid: u32,
    text: Vec<u8>,
}

/// An instance of a pipe is bound to the event loop of its guard for good. The next guard opens the pipe anew, under the
/// same name.
fn ends_with_guard() -> Error {
    let reason =
        "the pipe is the guard's alone; a program that speaks while no guard is there is told that there is no pipe";
    Error::Unsupported(crate::Unsupported::new("messages that wait for the next guard", reason))
}

impl Inbox {
    pub(crate) fn from_shared(_handle: &Handle, _path: &Path) -> Result<Inbox, Error> {
        Err(ends_with_guard())
    }

    pub(crate) fn share(&self) -> Result<Handle, Error> {
        Err(ends_with_guard())
    }

    pub(crate) fn bind(path: &Path) -> Result<Inbox, Error> {
        let failed = |source: io::Error| Error::io(format!("open the notify pipe {}", path.display()), source);
        let own = Token::own().and_then(|token| token.user()).map_err(failed)?;
        let instances = Instances {
            name: path.to_path_buf(),
            sddl: format!("D:P(A;;FA;;;{own})(A;;{CLIENT_RIGHTS:#x};;;{EVERYONE})"),
            buffer_bytes: u32::try_from(MESSAGE_BYTES_MAX).unwrap_or(u32::MAX),
            messages: true,
        };
        let mut state = State::default();
        state.wait_for_client(instances.open(true).map_err(failed)?);
        state.wait_for_clients(&instances).map_err(failed)?;
        Ok(Inbox { instances, state: Mutex::new(state) })
    }

    pub(crate) fn address(&self) -> OsString {
        self.instances.path().as_os_str().to_owned()
    }

    pub(crate) async fn recv(&self) -> Result<Message, Error> {
        let failed = |source| Error::io(format!("receive at {}", self.instances.path().display()), source);
        let mut state = self.state.lock().await;
        loop {
            match state.wait_for_clients(&self.instances) {
                // Without anybody who waits, programs would not be heard any more.
                Err(error) if state.waiting == 0 => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
            if let Some((number, said)) = state.turn_of_held() {
                return Ok(state.heard(number, said));
            }
            match state.steps.join_next().await {
                Some(Ok(Step::Came(number, came))) => {
                    state.waiting -= 1;
                    match came.ok().and_then(|server| client_of(&server).map(|pid| (server, pid))) {
                        Some((server, pid)) => {
                            state.fresh.insert(number, Some(pid));
                            state.read(number, server, pid);
                        }
                        None => drop(state.fresh.remove(&number)),
                    }
                }
                Some(Ok(Step::Said(number, said))) if state.is_early(number, said.pid) => {
                    state.held.insert(number, said);
                    state.steps.spawn(async move {
                        tokio::time::sleep(PATIENCE).await;
                        Step::Waited(number)
                    });
                }
                Some(Ok(Step::Said(number, said))) => return Ok(state.heard(number, said)),
                Some(Ok(Step::Waited(number))) => {
                    if let Some(said) = state.held.remove(&number) {
                        return Ok(state.heard(number, said));
                    }
                }
                Some(Ok(Step::Gone(number))) => drop(state.fresh.remove(&number)),
                // One that was cut off ends with an error, and is forgotten already.
                Some(Err(_)) | None => {}
            }
        }
    }
}

impl State {
    fn wait_for_clients(&mut self, instances: &Instances) -> io::Result<()> {
        while self.waiting < WAITING {
            self.wait_for_client(instances.open(false)?);
        }
        Ok(())
    }

    fn wait_for_client(&mut self, server: NamedPipeServer) {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        self.fresh.insert(number, None);
        self.steps.spawn(async move { Step::Came(number, Instances::client(server).await) });
    }

    fn read(&mut self, number: u64, server: NamedPipeServer, pid: u32) {
        self.readers.retain(|(_, reader)| !reader.is_finished());
        if self.readers.len() >= CONNECTIONS_MAX
            && let Some((silent, reader)) = self.readers.pop_front()
        {
            reader.abort();
            self.fresh.remove(&silent);
        }
        let reader = self.steps.spawn(async move {
            match tokio::time::timeout(SILENCE_LIMIT, message(&server)).await {
                Ok(Ok(text)) => Step::Said(number, Said { server, pid, text }),
                Ok(Err(_)) | Err(_) => Step::Gone(number),
            }
        });
        self.readers.push_back((number, reader));
    }

    /// Whether what process `pid` says first over an instance may come before what it said over an older one. Of
    /// an older instance whose client is not known yet nobody knows whose it is.
    fn is_early(&self, number: u64, pid: u32) -> bool {
        self.fresh.contains_key(&number)
            && self.fresh.range(..number).any(|(_, other)| other.is_none_or(|other| other == pid))
    }

    /// The oldest message that does not have to wait any more.
    fn turn_of_held(&mut self) -> Option<(u64, Said)> {
        let ready = self.held.iter().find(|(number, said)| !self.is_early(**number, said.pid));
        let number = ready.map(|(number, _)| *number)?;
        self.held.remove_entry(&number)
    }

    /// Makes a message of it, and goes on with the connection where there may be more.
    fn heard(&mut self, number: u64, said: Said) -> Message {
        let Said { server, pid, text } = said;
        self.fresh.remove(&number);
        // A longer one comes in pieces, of which only the first is known to be one.
        let truncated = text.len() >= MESSAGE_BYTES_MAX;
        let mut attached = Vec::new();
        if !truncated && parse(&text).contains(&Notice::Barrier) {
            let (answer, answered) = oneshot::channel::<()>();
            attached.push(answer);
            self.steps.spawn(async move {
                // The answer is that it is dropped.
                let _ = tokio::time::timeout(BARRIER_LIMIT, answered).await;
                drop(server);
                Step::Gone(number)
            });
        } else if !truncated {
            self.read(number, server, pid);
        }
        Message { pid, text, truncated, _attached: attached }
    }
}

/// The next message, or what the OS gives of it at once; an error when the connection is over.
async fn message(server: &NamedPipeServer) -> io::Result<Vec<u8>> {
    let mut text = vec![0; MESSAGE_BYTES_MAX];
    loop {
        server.readable().await?;
        match server.try_read(&mut text) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                text.truncate(length);
                return Ok(text);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
