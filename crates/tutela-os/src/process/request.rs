//! What a start needs to know: everything is decided, nothing is looked up.

pub use crate::accounts::Identity;
use crate::handle::Handle;
use crate::platform;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use tutela_core::spec::{Limits, Security};

/// A wanted start.
#[derive(Debug, Clone)]
pub struct SpawnRequest {
    /// The program's file, as [`super::find_program`] found it; absolute, or relative to `cwd`.
    pub program: PathBuf,
    /// Its arguments, the first of which is the name that it sees itself under.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing of the guard's is added except the mark of a walked tree and, with
    /// `listen`, `LISTEN_FDS` and `LISTEN_PID`; on Windows `SystemRoot` where it is missing, without which no
    /// socket can be made there, and for another account what leads to its folders (`TEMP`, `APPDATA` and the like) in
    /// place of values that are the guard's own. Strip [`crate::notify::HOST_VARIABLES`] from what is let through from
    /// the guard's own.
    pub env: Vec<(OsString, OsString)>,
    /// Its working folder.
    pub cwd: PathBuf,
    /// Its standard input.
    pub stdin: Stdio,
    /// Its standard output.
    pub stdout: Stdio,
    /// Its standard error.
    pub stderr: Stdio,
    /// Listening sockets that it gets as the handles 3, 4, … On Windows they have numbers of their own, which are
    /// in `LISTEN_HANDLES`, with colons between them.
    pub listen: Vec<Handle>,
    /// Whom it runs as; `None`: as the guard.
    pub identity: Option<Identity>,
    /// File mode bits that its new files do not get; `None`: the guard's.
    pub umask: Option<u32>,
    /// What it may use.
    pub limits: Limits,
    /// What it may not do.
    pub security: Security,
    /// How readily the OS ends it when memory runs out, from -1000 to 1000; `None`: as the guard.
    pub oom_score_adjust: Option<i16>,
    /// The name of its tree, such as `api.0`: one per instance, the same at every start of it. Letters,
    /// digits, `.`, `_` and `-`.
    pub tree: String,
}

impl SpawnRequest {
    /// A start of `program` in `cwd` as the tree `tree`: no arguments but its own name, an empty
    /// environment, all streams to nowhere, and the guard's own identity.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>, tree: impl Into<String>) -> Self {
        let program = program.into();
        SpawnRequest {
            args: vec![program.clone().into_os_string()],
            program,
            env: Vec::new(),
            cwd: cwd.into(),
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            listen: Vec::new(),
            identity: None,
            umask: None,
            limits: Limits::default(),
            security: Security::default(),
            oom_score_adjust: None,
            tree: tree.into(),
        }
    }
}

/// Values of its environment may be secrets.
impl Drop for SpawnRequest {
    fn drop(&mut self) {
        self.env.drain(..).for_each(|(_, value)| crate::secret::wipe(value));
    }
}

/// What one of a program's standard streams is.
#[derive(Debug, Clone, Default)]
pub enum Stdio {
    /// Reads nothing, writes nowhere.
    #[default]
    Null,
    /// The guard's own.
    Inherit,
    /// An open file, pipe or socket. The request keeps its copy open: drop the request after the start,
    /// or a pipe's reader never sees the end.
    Handle(Handle),
}

impl From<Handle> for Stdio {
    fn from(handle: Handle) -> Self {
        Stdio::Handle(handle)
    }
}

/// The value of the variable `name` among those that a program is given: what it will find under that name itself. On
/// Windows case makes no difference, and the search path mostly is `Path`.
pub fn variable<'a>(
    variables: impl IntoIterator<Item = (&'a OsString, &'a OsString)>,
    name: &str,
) -> Option<&'a OsStr> {
    variables.into_iter().find(|(given, _)| same_variable(given, name)).map(|(_, value)| value.as_os_str())
}

/// Whether a program that looks for the variable `name` finds the one that was given to it as `given`.
pub fn same_variable(given: &OsStr, name: &str) -> bool {
    platform::process::same_variable(given, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_as_the_program_itself_will_find_it() {
        let given: Vec<(OsString, OsString)> = vec![("OTHER".into(), "1".into()), ("PATH".into(), "/bin".into())];
        let given = || given.iter().map(|(name, value)| (name, value));
        assert_eq!(variable(given(), "PATH"), Some(OsStr::new("/bin")));
        assert_eq!(variable(given(), "MISSING"), None);
        let in_any_case = (crate::Os::CURRENT == crate::Os::Windows).then_some(OsStr::new("1"));
        assert_eq!(variable(given(), "Other"), in_any_case);
    }
}
