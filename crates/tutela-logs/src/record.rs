//! Records: what a sink sends and the JSON form writes. One line of output, or several that belong together.
//!
//! Made from lines as they come (the JSON form) or from files (the sinks); both say the same of the same line.

use crate::policy::Stream;
use crate::stamp::Wall;
use std::net::IpAddr;
use std::sync::Arc;
use tutela_core::level::Level;

/// Whose output it is, as a record says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The guard.
    pub guard: Arc<str>,
    /// The service.
    pub service: Arc<str>,
    /// The instance's index.
    pub instance: u16,
    /// This computer's name.
    pub host: Arc<str>,
    /// The address by which this computer reaches others; `None`: it has none.
    pub host_ip: Option<IpAddr>,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Whose.
    pub owner: Arc<Owner>,
    /// The same for the same lines, whenever and however often they are read: by it a receiver knows a repetition.
    pub id: RecordId,
    /// When its first line was read from the program.
    pub at: Wall,
    /// Which stream; `None`: the file does not tell.
    pub stream: Option<Stream>,
    /// How much it matters; `None`: it does not say.
    pub level: Option<Level>,
    /// The text: for a line of JSON its message, else the line. Without the last newline; invalid UTF-8 is kept as bytes.
    pub message: Box<[u8]>,
    /// The program's own fields, for a line of JSON: names, and values as JSON text, in the program's order. Time, level
    /// and message are not among them once they were understood.
    pub fields: Vec<(String, String)>,
}

/// Where a record's first line stands: in which file, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// The moment at which the file was begun, in microseconds: it stays when the file is rotated.
    pub file: u64,
    /// The offset in the file as it was before compression.
    pub offset: u64,
}
