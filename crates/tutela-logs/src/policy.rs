//! How the output of one label is kept. Plain data, and all of it can change while the program runs.

use crate::record::Author;
use crate::record::join::Multiline;
use crate::record::redact::Redactor;
use std::path::PathBuf;
use std::sync::Arc;
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

/// What a file consists of. A file never mixes forms, and its first bytes tell its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The program's bytes, verbatim.
    Raw,
    /// A moment, a stream and a text per line.
    Stamped,
    /// A record in JSON per line.
    Json,
}

/// How the output of one label is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The folder of its files. It is made, with its parents, when the first byte comes.
    pub dir: PathBuf,
    /// What the files consist of.
    pub form: Form,
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
    /// What is masked before anything is written or shown.
    pub mask: Arc<Redactor>,
    /// Whose name is in the records; for [`Form::Json`].
    pub author: Author,
    /// Which lines belong together; for [`Form::Json`], as the other forms keep lines. `None`: each is a record.
    pub multiline: Option<Arc<Multiline>>,
}

impl Policy {
    /// Files of this form in `dir`, never rotated but where somebody asks, and then none of them kept; nothing is masked,
    /// and each line is a record of nobody's.
    pub fn new(dir: PathBuf, form: Form) -> Self {
        Policy {
            dir,
            form,
            rotate_size: None,
            rotate_every: None,
            keep: 0,
            keep_for: None,
            compress: Compression::None,
            access: Access::default(),
            mask: Arc::default(),
            author: Author::default(),
            multiline: None,
        }
    }
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
