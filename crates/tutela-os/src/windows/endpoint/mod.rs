//! Control sockets: named pipes.
//!
//! The first instance of a pipe's name is made with a flag that refuses a name in use, and only the guard's own
//! account may make more, so nobody else can answer in its place. A client is known by its token, which says who
//! it is and which groups count for it.
//!
//! ```text
//! waiting --a client came--> meeting --known--> handed to the caller
//!    ^ another instance         \--says nothing for too long--> dropped
//! ```

mod instances;
mod stream;

pub(crate) use instances::{CLIENT_RIGHTS, Instances, WAITING, client_of};
pub(crate) use stream::Stream;

use super::paths::{PIPES, control_prefix};
use super::security::sid::{self, ADMINISTRATORS, SYSTEM};
use super::security::{Sid, Token};
use crate::Error;
use crate::accounts::AccountId;
use crate::endpoint::{BindError, Found, Peer};
use crate::paths::Paths;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::IntoRawHandle;
use std::path::Path;
use std::time::Duration;
use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_CANNOT_IMPERSONATE, ERROR_PIPE_BUSY};
use windows_sys::Win32::Security::SidTypeAlias;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};

/// The local group whose members may control every guard of the computer, if somebody made it.
const OPERATORS: &str = "Tutela Operators";

/// How much an answer can be ahead of its reader, in bytes.
const BUFFER_BYTES: u32 = 64 * 1024;

/// How long a client that can only be known by what it sends may wait with that.
const MEETING_LIMIT: Duration = Duration::from_secs(5);

/// How many of those may be waited for at a time. All of them are accounts that may control the guard.
const MEETING_MAX: usize = 64;

/// How much is read to learn who a client is.
const FIRST_BYTES: usize = 4096;

/// How long a client tries again when no instance is free. The guard makes another within one turn of its loop.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// How long it rests between two tries.
const BUSY_REST: Duration = Duration::from_millis(10);

/// What may be done to learn of a guard, in the list of guards: no more than to be let in.
const FILE_READ_ATTRIBUTES: u32 = 0x80;

/// A pipe whose name is ours.
#[derive(Debug)]
pub(crate) struct Listener {
    instances: Instances,
    known: Known,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: JoinSet<Step>,
    /// How many instances wait for a client.
    waiting: usize,
}

/// Whom a client is compared with.
#[derive(Debug, Clone)]
struct Known {
    own: Sid,
    trusted: Vec<Sid>,
}

/// What one of the tasks of a listener comes to.
#[derive(Debug)]
enum Step {
    /// An instance has a client, or could not wait for one.
    Came(io::Result<NamedPipeServer>),
    /// A client is known; `None`: it went, or said nothing.
    Met(Option<Box<(Stream, Peer)>>),
}

impl Listener {
    pub(crate) fn bind(path: &Path) -> Result<Listener, BindError> {
        let failed = |source: io::Error| Error::io(format!("open the control pipe {}", path.display()), source);
        let known = Known::discover().map_err(failed)?;
        let instances = Instances {
            name: path.to_path_buf(),
            sddl: access_list(&known),
            buffer_bytes: BUFFER_BYTES,
            messages: false,
        };
        // The flag for the first instance decides. It is asked before, too, because not every system that runs
        // programs for Windows knows the flag.
        if let Ok(pid) = who_serves(path) {
            return Err(BindError::InUse { path: path.to_path_buf(), pid });
        }
        let first = match instances.open(true) {
            Ok(first) => first,
            Err(error) => return Err(refusal(path, error)),
        };
        let mut state = State::default();
        state.wait_for_client(first);
        state.wait_for_clients(&instances).map_err(failed)?;
        Ok(Listener { instances, known, state: Mutex::new(state) })
    }

    pub(crate) async fn accept(&self) -> Result<(Stream, Peer), Error> {
        let failed = |source| Error::io(format!("accept a connection at {}", self.path().display()), source);
        let mut state = self.state.lock().await;
        loop {
            // First of all somebody for the next client, so that the name is never anybody else's.
            state.wait_for_clients(&self.instances).map_err(failed)?;
            match state.steps.join_next().await {
                Some(Ok(Step::Came(came))) => {
                    state.waiting -= 1;
                    if let Ok(server) = came
                        && state.steps.len() < WAITING + MEETING_MAX
                    {
                        let known = self.known.clone();
                        state.steps.spawn(async move { Step::Met(meet(server, &known).await.map(Box::new)) });
                    }
                }
                Some(Ok(Step::Met(Some(met)))) => return Ok(*met),
                // A task does not panic, and is stopped only with the listener.
                Some(Ok(Step::Met(None)) | Err(_)) | None => {}
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.instances.path()
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
        self.waiting += 1;
        self.steps.spawn(async move { Step::Came(Instances::client(server).await) });
    }
}

impl Known {
    fn discover() -> io::Result<Known> {
        let own = Token::own()?.user()?;
        let mut trusted: Vec<Sid> = [SYSTEM, ADMINISTRATORS].iter().filter_map(|text| text.parse().ok()).collect();
        // Of this computer, not one of that name in some domain; and without one there is nobody to be let in.
        let operators = sid::find(&format!(r"{}\{OPERATORS}", super::usage::account_domain()));
        trusted.extend(operators.ok().flatten().filter(|found| found.usage == SidTypeAlias).map(|found| found.sid));
        Ok(Known { own, trusted })
    }

    fn peer(&self, token: &Token, pid: Option<u32>) -> io::Result<Peer> {
        let user = token.user()?;
        let trusted = self.trusted.iter().any(|sid| user == *sid || token.is_member_of(sid).unwrap_or(false));
        Ok(Peer { own: user == self.own, account: AccountId::Sid(user.to_string()), pid, trusted })
    }
}

/// The guard's own account may do everything, the others what a client does.
fn access_list(known: &Known) -> String {
    let others: String = known.trusted.iter().map(|sid| format!("(A;;{CLIENT_RIGHTS:#x};;;{sid})")).collect();
    format!("D:P(A;;FA;;;{}){others}", known.own)
}

/// Why the first instance could not be made.
fn refusal(path: &Path, error: io::Error) -> BindError {
    let taken = [ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY].iter().any(|code| is(&error, *code));
    if taken {
        match who_serves(path) {
            Ok(pid) => return BindError::InUse { path: path.to_path_buf(), pid },
            // Not ours to ask who.
            Err(refused) if is(&refused, ERROR_ACCESS_DENIED) || is(&refused, ERROR_PIPE_BUSY) => {
                return BindError::InUse { path: path.to_path_buf(), pid: None };
            }
            Err(_) => {}
        }
    }
    BindError::Failed(Error::io(format!("open the control pipe {}", path.display()), error))
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// The process that answers at the pipe.
fn who_serves(path: &Path) -> io::Result<Option<u32>> {
    let pipe = OpenOptions::new()
        .access_mode(FILE_READ_ATTRIBUTES)
        .share_mode(0)
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(path)?;
    Ok(instances::server_of(&pipe))
}

/// Learns who a client is. Most let it be seen as they connect; some only with what they send.
async fn meet(server: NamedPipeServer, known: &Known) -> Option<(Stream, Peer)> {
    let pid = client_of(&server);
    let mut first = Vec::new();
    let token = match Token::of_client(&server) {
        Err(error) if is(&error, ERROR_CANNOT_IMPERSONATE) => {
            first = tokio::time::timeout(MEETING_LIMIT, first_bytes(&server)).await.ok()?.ok()?;
            Token::of_client(&server)
        }
        other => other,
    };
    // One that does not let itself be known is a stranger, who is told so.
    let stranger = || Peer { account: AccountId::Unknown, pid, own: false, trusted: false };
    let peer = token.and_then(|token| known.peer(&token, pid)).unwrap_or_else(|_| stranger());
    Some((Stream::server(server, first), peer))
}

async fn first_bytes(server: &NamedPipeServer) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FIRST_BYTES];
    loop {
        server.readable().await?;
        match server.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) async fn connect(path: &Path) -> Result<Stream, Error> {
    let failed = |source| Error::io(format!("connect to the control pipe {}", path.display()), source);
    let mut options = OpenOptions::new();
    options
        .access_mode(CLIENT_RIGHTS)
        .share_mode(0)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        // The guard may learn who we are, and not act in our name.
        .security_qos_flags(SECURITY_IDENTIFICATION);
    let until = tokio::time::Instant::now() + BUSY_LIMIT;
    let file = loop {
        match options.open(path) {
            Ok(file) => break file,
            Err(error) if is(&error, ERROR_PIPE_BUSY) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(BUSY_REST).await;
            }
            Err(error) => return Err(failed(error)),
        }
    };
    // SAFETY: the handle is an open one of a pipe, made for overlapped use, and nobody else has it.
    let client = unsafe { NamedPipeClient::from_raw_handle(file.into_raw_handle()) };
    client.map(Stream::client).map_err(failed)
}

pub(crate) fn holder(_path: &Path) -> Option<u32> {
    None
}

/// The pipes whose names are those of guards. One that this account may not enter is none of its guards.
pub(crate) fn list(paths: &Paths) -> Result<Vec<Found>, Error> {
    let prefix = control_prefix(paths);
    let names = match names_of_pipes(&prefix) {
        Ok(names) => names,
        // Not every system that runs programs for Windows can list pipes. A guard that ran has a state folder.
        Err(_) => names_of_states(paths)?,
    };
    let mut found = Vec::new();
    for name in names {
        let path = Path::new(PIPES).join(format!("{prefix}{name}"));
        let pid = match who_serves(&path) {
            Ok(pid) => pid,
            Err(error) if is(&error, ERROR_PIPE_BUSY) => None,
            Err(_) => continue,
        };
        found.push(Found { name, path, pid });
    }
    Ok(found)
}

fn names_of_pipes(prefix: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(PIPES)? {
        let file = entry?.file_name();
        // The space of names takes capitals and small letters for one.
        if let Some((head, name)) = file.to_string_lossy().split_at_checked(prefix.len())
            && head.eq_ignore_ascii_case(prefix)
            && !name.is_empty()
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn names_of_states(paths: &Paths) -> Result<Vec<String>, Error> {
    let Some(folder) = paths.states() else { return Ok(Vec::new()) };
    let failed = |source| Error::io(format!("list the guards by their folders in {}", folder.display()), source);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::platform::security::descriptor::of_pipe;

    /// What making instances takes; the same number as adding to a file.
    const MAKE_INSTANCES: u32 = 0x4;

    fn path() -> std::path::PathBuf {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Path::new(PIPES).join(format!("tutela@test{}-{next}", std::process::id()))
    }

    #[tokio::test]
    async fn only_the_guards_own_account_may_make_instances_and_no_stranger_may_enter() {
        let listener = Listener::bind(&path()).unwrap();
        let instance = listener.instances.open(false).unwrap();
        let rules = of_pipe(&instance).unwrap().rules.unwrap();
        assert!(!rules.is_empty());
        for rule in rules {
            let own = rule.sid == listener.known.own;
            assert!(own || listener.known.trusted.contains(&rule.sid), "{} may enter", rule.sid);
            assert!(own || rule.rights & MAKE_INSTANCES == 0, "{} may make instances", rule.sid);
        }
    }
}
