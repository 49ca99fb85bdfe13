//! Who is compared, and how each is told to keep the same programs.
//!
//! Every subject is given its fastest documented setting for the measurement at hand, output of programs thrown away,
//! and a work folder in memory. A subject lays its files here, unmeasured; the stage starts it.

mod circus;
mod floor;
mod output;
mod pm2;
mod runit;
mod s6;
mod supervisord;
mod tutela;

use crate::options::Options;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use output::{Form, Manner, Output, ROTATE_BYTES, Speech};
pub use tutela::NAME as GUARD_NAME;

/// Something that keeps programs alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `floor.c`.
    Floor,
    /// `floor.c`, with a shell script between, as runit and s6 need one.
    FloorShell,
    /// Ours.
    Tutela,
    /// runsvdir and runsv.
    Runit,
    /// s6-svscan and s6-supervise.
    S6,
    /// runsvdir and runsv, with the logger of daemontools: in the tables of logs.
    Multilog,
    /// supervisord.
    Supervisord,
    /// circusd.
    Circus,
    /// pm2's daemon.
    Pm2,
}

impl Subject {
    /// All, in the order of the report.
    pub const ALL: [Subject; 9] = [
        Subject::Floor,
        Subject::FloorShell,
        Subject::Tutela,
        Subject::Runit,
        Subject::S6,
        Subject::Multilog,
        Subject::Supervisord,
        Subject::Circus,
        Subject::Pm2,
    ];

    /// Its word on the command line and in lines of JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Subject::Floor => "floor",
            Subject::FloorShell => "floor:sh",
            Subject::Tutela => "tutela",
            Subject::Runit => "runit",
            Subject::S6 => "s6",
            Subject::Multilog => "multilog",
            Subject::Supervisord => "supervisord",
            Subject::Circus => "circus",
            Subject::Pm2 => "pm2",
        }
    }

    /// Whether it is somebody else's supervisor.
    pub const fn is_peer(self) -> bool {
        !matches!(self, Subject::Floor | Subject::FloorShell | Subject::Tutela)
    }

    /// Writes the files that make it keep what `load` says.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn lay(self, load: &Load, options: &Options) -> Result<Layout> {
        match self {
            Subject::Floor => floor::lay(load, options, false),
            Subject::FloorShell => floor::lay(load, options, true),
            Subject::Tutela => tutela::lay(load, options),
            Subject::Runit => runit::lay(load, runit::Logger::Svlogd),
            Subject::Multilog => runit::lay(load, runit::Logger::Multilog),
            Subject::S6 => s6::lay(load),
            Subject::Supervisord => supervisord::lay(load, options),
            Subject::Circus => circus::lay(load, options),
            Subject::Pm2 => pm2::lay(load, options),
        }
    }
}

/// What is to be kept.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the subject's files go; in memory.
    pub folder: PathBuf,
    /// The program.
    pub child: PathBuf,
    /// Where it reports its birth to.
    pub births: PathBuf,
    /// How many services.
    pub count: u32,
    /// Whether the program exits at once, instead of waiting for ever.
    pub exits: bool,
    /// Whether the subject should look for deaths as often as it can (circus polls: each 10 ms instead of each 5 s).
    pub eager: bool,
    /// Where a web server listens that is to be probed once a second for each service.
    pub probed: Option<u16>,
    /// What is written and how it is kept; nothing is written otherwise.
    pub output: Option<Output>,
}

impl Load {
    /// The services: name, and the words of the program.
    pub fn services(&self) -> impl Iterator<Item = (String, Vec<String>)> + '_ {
        (0..self.count).map(|index| (format!("s{index:04}"), self.words(&index.to_string())))
    }

    /// The words of the program, its number given as text.
    pub fn words(&self, index: &str) -> Vec<String> {
        if let Some(output) = &self.output {
            return output.words(self, index);
        }
        let mut words = vec![text(&self.child), text(&self.births), index.to_owned()];
        if self.exits {
            words.push("exit".to_owned());
        }
        words
    }
}

/// A command line with its environment.
#[derive(Debug, Clone)]
pub struct Line {
    /// The program first.
    pub words: Vec<String>,
    /// What it gets besides `PATH` and `HOME`.
    pub env: Vec<(&'static str, String)>,
}

impl Line {
    fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Line { words: words.into_iter().map(Into::into).collect(), env: Vec::new() }
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }
}

/// How a subject that was laid is started and told to stop its programs.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Starts it.
    pub start: Line,
    /// Stops every program and comes back when they are gone. `@root` among its words: the process of `start`.
    pub stop: Line,
}

/// A path of the bench; these are plain ASCII, since the rig and `bench/run` choose them.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn write_script(path: &Path, content: &str) -> Result<()> {
    write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("chmod {}", path.display()))
}

/// Makes a folder look as if it had been filled a while ago, as it is on a machine that boots: runsvdir, which knows
/// times by the second, waits one out otherwise.
fn age(path: &Path) -> Result<()> {
    let while_ago = SystemTime::now() - Duration::from_secs(60);
    let folder = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    folder.set_modified(while_ago).with_context(|| format!("cannot age {}", path.display()))
}

fn folder(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path.to_path_buf())
}
