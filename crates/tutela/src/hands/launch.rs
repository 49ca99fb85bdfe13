//! What a program is started with: the spec's words become a request to the OS.
//!
//! Runs on the spawner's thread, because looking for a program, and for an account, asks a disk or a
//! directory service.

use super::keeping::Keeping;
use super::spawner::chain;
use crate::conductor::InstanceRef;
use crate::survive::output::{KeptOutput, NewOutput};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::reload::watchdog_interval;
use tutela_core::spec::{Command, Launch, ServiceSpec};
use tutela_logs::pump::Source;
use tutela_logs::tap::Taps;
use tutela_logs::{Policy, Stream};
use tutela_os::handle::Handle;
use tutela_os::process::{Identity, SpawnRequest, Stdio, find_program, variable};
use tutela_os::secret::Secret;
use tutela_os::{accounts, pipe};

/// What is the same for every program of a guard.
#[derive(Debug)]
pub struct Surroundings {
    /// The guard's name.
    pub guard: String,
    /// What programs get as `NOTIFY_SOCKET`, where this host has such a thing.
    pub notify_address: Option<OsString>,
    /// How output is kept.
    pub keeping: Arc<Keeping>,
    /// Where the guard keeps its own state.
    pub state_dir: PathBuf,
    /// The spec's folder.
    pub folder: PathBuf,
}

/// Who ordered a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// An instance wants its program.
    Main {
        /// Which.
        key: InstanceKey,
        /// For which run.
        run: RunId,
    },
    /// An errand.
    Errand {
        /// Its number.
        id: u64,
    },
}

/// One start.
pub struct Job {
    /// Who ordered it.
    pub order: Order,
    /// Whose program it is, or on whose behalf it runs.
    pub instance: InstanceRef,
    /// The service.
    pub spec: Arc<ServiceSpec>,
    /// What is the same for all.
    pub surroundings: Arc<Surroundings>,
    /// What is run instead of the service's own command.
    pub command: Option<Command>,
    /// Variables beyond the spec's.
    pub extra_env: Vec<(&'static str, String)>,
    /// Where its output goes.
    pub output: Output,
    /// What it reads.
    pub stdin: Stdin,
}

/// What a program reads.
#[derive(Debug)]
pub enum Stdin {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(Vec<u8>),
}

/// Where a program's output goes.
pub enum Output {
    /// Into the instance's log.
    Logged(Taps),
    /// Nowhere.
    Dropped,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("order", &self.order).field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// A start, ready to be made.
pub struct Prepared {
    /// The request to the OS.
    pub request: SpawnRequest,
    /// What is read of it.
    pub output: Option<PreparedOutput>,
}

/// The read ends of a program's output.
pub struct PreparedOutput {
    /// Whose log.
    pub label: String,
    /// How it is kept.
    pub policy: Arc<Policy>,
    /// The streams.
    pub streams: Streams,
    /// Who else sees it.
    pub taps: Taps,
}

/// What is read of a program.
pub enum Streams {
    /// Its pipes, which end with the guard.
    Plain(Vec<(Stream, Source)>),
    /// Its pipes, which outlive the guard.
    Kept {
        /// For the pump.
        output: Box<KeptOutput>,
        /// For the safe.
        deposit: Vec<Handle>,
    },
}

impl Job {
    /// Looks everything up and makes the pipes. The refusal is told in words.
    ///
    /// `outlives`: the program of an instance is to outlive the guard.
    pub fn prepare(self, outlives: bool) -> (Order, Result<Prepared, String>) {
        let order = self.order;
        (order, self.prepare_inner(outlives))
    }

    fn prepare_inner(self, outlives: bool) -> Result<Prepared, String> {
        let launch = &self.spec.launch;
        let index = self.instance.index;
        let identity = identity_of(launch)?;
        let secrets = crate::secrets::of_program(launch, index)?;
        let is_main = matches!(self.order, Order::Main { .. });
        self.surroundings.keeping.learn(&self.spec.name, index, is_main, &secrets);
        let env = self.environment(launch, identity.as_ref(), &secrets);
        drop(secrets);
        let command = self.command.as_ref().unwrap_or(&launch.command);
        let words = command.render(index);
        let program = find(&words, &env, &launch.cwd)?;
        let tree = match self.order {
            Order::Main { .. } => self.instance.tree(),
            Order::Errand { id } => format!("{}.errand-{id}", self.instance.tree()),
        };
        let mut request = SpawnRequest::new(program, &launch.cwd, tree);
        request.args = words.into_iter().map(OsString::from).collect();
        request.env = env.into_iter().collect();
        request.stdin = match &self.stdin {
            Stdin::Nothing => Stdio::Null,
            Stdin::Bytes(bytes) => bytes_as_stdin(&self.surroundings.state_dir, bytes)
                .map_err(|error| format!("its standard input could not be made: {error}"))?,
        };
        request.identity = identity;
        request.umask = launch.umask;
        request.limits = self.spec.limits;
        request.security = launch.security.clone();
        let output = match self.output {
            Output::Dropped => None,
            Output::Logged(taps) => {
                let label = self.instance.label();
                let policy = Arc::new(self.surroundings.keeping.policy(&self.spec, index));
                let streams = if outlives && matches!(self.order, Order::Main { .. }) {
                    let NewOutput { output, writes: [out, err], deposit } = KeptOutput::create()?;
                    (request.stdout, request.stderr) = (Stdio::Handle(out), Stdio::Handle(err));
                    Streams::Kept { output: Box::new(output), deposit }
                } else {
                    let mut sources: Vec<(Stream, Source)> = Vec::with_capacity(2);
                    request.stdout = stream(Stream::Out, &mut sources)?;
                    request.stderr = stream(Stream::Err, &mut sources)?;
                    Streams::Plain(sources)
                };
                Some(PreparedOutput { label, policy, streams, taps })
            }
        };
        Ok(Prepared { request, output })
    }

    fn environment(
        &self,
        launch: &Launch,
        identity: Option<&Identity>,
        secrets: &[(Arc<str>, Secret)],
    ) -> BTreeMap<OsString, OsString> {
        let index = self.instance.index;
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        let mut set = |key: &str, value: OsString| {
            env.insert(OsString::from(key), value);
        };
        for (key, value) in launch.env.iter() {
            set(key, value.render(index).into());
        }
        for (key, value) in secrets {
            set(key, value.reveal().into());
        }
        if let Some(identity) = identity {
            // What the guard's own account has here would lead the program to files that are not its own.
            if let Some(home) = &identity.home {
                set("HOME", home.clone().into_os_string());
            }
            set("USER", identity.name.clone().into());
            set("LOGNAME", identity.name.clone().into());
        }
        set("TUTELA_GUARD", self.surroundings.guard.clone().into());
        set("TUTELA_SERVICE", self.spec.name.to_string().into());
        set("TUTELA_INSTANCE", index.to_string().into());
        if let Some(address) = &self.surroundings.notify_address {
            set("NOTIFY_SOCKET", address.clone());
        }
        if let (Order::Main { .. }, Some(interval)) = (self.order, watchdog_interval(&self.spec)) {
            set("WATCHDOG_USEC", interval.as_micros().to_string().into());
        }
        for (key, value) in &self.extra_env {
            set(key, value.clone().into());
        }
        env
    }
}

fn identity_of(launch: &Launch) -> Result<Option<Identity>, String> {
    accounts::for_program(launch.user.as_deref(), launch.group.as_deref()).map_err(|error| chain(&error))
}

fn find(words: &[String], env: &BTreeMap<OsString, OsString>, cwd: &Path) -> Result<PathBuf, String> {
    let first = words.first().map(String::as_str).unwrap_or_default();
    find_program(first.as_ref(), variable(env, "PATH"), cwd).map_err(|error| chain(&error))
}

/// A file without a name: it can be of any length, and its reader never waits for us.
fn bytes_as_stdin(dir: &Path, bytes: &[u8]) -> std::io::Result<Stdio> {
    let path = dir.join(format!(".stdin-{}-{:p}", std::process::id(), bytes.as_ptr()));
    std::fs::write(&path, bytes)?;
    let file = std::fs::File::open(&path);
    std::fs::remove_file(&path)?;
    Ok(Stdio::Handle(file?.into()))
}

fn stream(which: Stream, sources: &mut Vec<(Stream, Source)>) -> Result<Stdio, String> {
    let (read, write) = pipe::idle_output_pipe(None).map_err(|error| chain(&error))?;
    let open: Source = Box::new(move || match read.activate() {
        Ok(reader) => Ok(Box::pin(reader)),
        Err(error) => Err(std::io::Error::other(chain(&error))),
    });
    sources.push((which, open));
    Ok(Stdio::Handle(write))
}
