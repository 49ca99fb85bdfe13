//! How the output of one label is kept. Plain data, and all of it can change while the program runs.

use std::path::PathBuf;
use std::time::Duration;
pub use tutela_core::spec::Compression;

/// Which of a program's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// The word in the files: three letters, so that texts stand below each other.
    pub const fn word(self) -> &'static str {
        match self {
            Stream::Out => "out",
            Stream::Err => "err",
        }
    }
}

/// How the output of one label is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The folder of its files. It is made, with its parents, when the first byte comes.
    pub dir: PathBuf,
    /// Whether each line gets a timestamp and the name of its stream.
    pub timestamps: bool,
    /// A file is rotated at the first end of line at or behind this many bytes, so it may be larger by
    /// less than one line. `None`: never by size.
    pub rotate_size: Option<u64>,
    /// A file is rotated at the first line that comes when it is older than this. A silent program's file
    /// stays as it is. `None`: never by age.
    pub rotate_every: Option<Duration>,
    /// How many rotated files are kept beside the one being written; the oldest go first.
    pub keep: u32,
    /// How long a rotated file is kept, from its rotation. `None`: for ever. Held by the keeper.
    pub keep_for: Option<Duration>,
    /// How rotated files are compressed, by the keeper.
    pub compress: Compression,
    /// Who may read the files.
    pub access: Access,
}

/// Who may do what with a file, where the operating system has such modes and owners. Given to a file while it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// The mode, such as `0o640`; `None`: what the process makes files with.
    pub mode: Option<u32>,
    /// The number of the account; `None`: the process's own.
    pub owner: Option<u32>,
    /// The number of the group; `None`: the process's own, or the folder's.
    pub group: Option<u32>,
}
