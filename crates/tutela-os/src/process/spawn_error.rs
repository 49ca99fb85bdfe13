//! Why a program did not start, in words that tell how to mend it; and where a program is.

use crate::platform;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A start that did not work. No process is left of it.
#[derive(Debug)]
pub struct SpawnError {
    /// At which step.
    pub step: SpawnStep,
    /// What the OS said.
    pub error: io::Error,
    /// The program, folder, name or limit that the step was about.
    pub subject: String,
    /// What it means and how to mend it; empty when there is nothing to add.
    pub advice: String,
}

/// The steps of a start, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnStep {
    /// Getting everything ready in the guard.
    Prepare,
    /// Making the container of the tree.
    Container,
    /// Making the process.
    Process,
    /// Giving it a session of its own.
    Session,
    /// Setting up its standard streams and sockets.
    Streams,
    /// Setting its limits.
    Limits,
    /// Setting its priority.
    Priority,
    /// Setting its standing when memory runs out.
    OomScore,
    /// Making paths read-only for it.
    ReadOnlyPaths,
    /// Taking capabilities away.
    Capabilities,
    /// Giving it its groups.
    Groups,
    /// Giving it its user.
    User,
    /// Entering its working folder.
    Folder,
    /// Giving up new privileges.
    NoNewPrivileges,
    /// Running the program.
    Program,
}

impl SpawnStep {
    /// What the step does, as the end of "failed to …".
    pub const fn words(self) -> &'static str {
        match self {
            SpawnStep::Prepare => "prepare the start of",
            SpawnStep::Container => "make the container for",
            SpawnStep::Process => "make a process for",
            SpawnStep::Session => "make a session for",
            SpawnStep::Streams => "connect the streams of",
            SpawnStep::Limits => "set the limits of",
            SpawnStep::Priority => "set the priority of",
            SpawnStep::OomScore => "set the out-of-memory score of",
            SpawnStep::ReadOnlyPaths => "make read-only",
            SpawnStep::Capabilities => "limit the capabilities of",
            SpawnStep::Groups => "set the groups of",
            SpawnStep::User => "become the user",
            SpawnStep::Folder => "enter the working folder",
            SpawnStep::NoNewPrivileges => "forbid new privileges to",
            SpawnStep::Program => "run",
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {} {}: {}", self.step.words(), self.subject, self.error)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// No source: what the OS said is part of the message.
impl std::error::Error for SpawnError {}

impl SpawnError {
    /// Whether the same start can work a little later without anybody mending anything: no memory, no
    /// process or file to be had at the moment, a program that is being written.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.error.kind(),
            io::ErrorKind::OutOfMemory
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::ExecutableFileBusy
                | io::ErrorKind::Interrupted
        ) || platform::process::is_passing(&self.error)
    }
}

/// A program that is not where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramNotFound {
    /// There is no such file.
    #[error("failed to find the program {name}: there is no file {path}", path = path.display())]
    Missing {
        /// The word in the spec.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// None of the folders of the program's `PATH` has it.
    #[error("failed to find the program {name} in any folder of the PATH that it will have: {searched}")]
    NotOnPath {
        /// The word in the spec.
        name: String,
        /// The folders.
        searched: String,
    },
    /// There is a file, but it is not executable.
    #[error("refused: {path} is not executable for this account; mend it with: chmod +x {path}", path = path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// There is something, but it is no file.
    #[error("refused: {path} is a folder, not a program", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
}

/// Finds the file of the program `name`. A name with a separator is relative to `cwd`; one without is
/// looked for in the folders of `path`, which is the `PATH` that the *program* will have (`None`: the OS's
/// standard folders). Touches the disk.
///
/// # Errors
/// There is none that can be run.
pub fn find_program(name: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, ProgramNotFound> {
    platform::process::find_program(name, path, cwd)
}
