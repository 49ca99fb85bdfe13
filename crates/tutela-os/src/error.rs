//! What can go wrong between Tutela and the OS, in two kinds: it did not work, or this host cannot do it.

use crate::Os;
use std::borrow::Cow;
use std::io;

/// Something that this host cannot do. A value for the capability report and for warnings, so that a
/// difference between two hosts is printed and never silent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{capability} is not available on this {os} host: {reason}", os = Os::CURRENT.name())]
pub struct Unsupported {
    /// What is missing, in the words of the spec or the capability report: `memory limit`.
    pub capability: &'static str,
    /// Why, and where it can be helped, how.
    pub reason: Cow<'static, str>,
}

impl Unsupported {
    /// States that `capability` is missing because of `reason`.
    pub fn new(capability: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Unsupported { capability, reason: reason.into() }
    }
}

/// A failure of this crate, except that of a start, which is a [`crate::process::SpawnError`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host cannot do it, and trying again does not help.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The OS refused or failed.
    #[error("failed to {what}")]
    Io {
        /// What was tried, with names and paths, as the end of "failed to …".
        what: String,
        /// What the OS said.
        #[source]
        source: io::Error,
    },
    /// We refused, because going on would do harm.
    #[error("refused: {0}")]
    Refused(String),
}

impl Error {
    /// A failure to `what`, because of `source`.
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::Io { what: what.into(), source: source.into() }
    }

    /// The OS's kind of failure, where it was one of the OS.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(source.kind()),
            Error::Unsupported(_) | Error::Refused(_) => None,
        }
    }
}
