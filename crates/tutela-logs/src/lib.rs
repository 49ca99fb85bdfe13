//! Remembers. What programs write becomes files, and files become lines again.
//!
//! It knows bytes, lines, labels and files; it knows no service, no guard and no operating system. The
//! guard gives it readers ([`tokio::io::AsyncRead`]) and a label, opens its files for it, and names the policy.
//!
//! In reading order:
//! - [`Wall`], [`Stream`], [`Policy`]: the words;
//! - [`Doors`]: how files are opened;
//! - [`lines`]: bytes to lines, in bounded memory;
//! - [`writer`]: one label's file, its rotation, and what happens when the disk refuses;
//! - [`count`]: how many of something are under way;
//! - [`pump`]: one thread that reads every pipe and feeds the writers;
//! - [`tray`]: what a pump has in hand, where a kill of the guard does not reach it;
//! - [`level`]: how bad a line says it is;
//! - [`tap`]: who else may see the lines: a console, a pattern;
//! - [`record`]: lines as sinks send them and as the JSON form has them: masked, joined, taken apart;
//! - [`keeper`]: what becomes of rotated files: compressed, and removed by age and budget;
//! - [`read`]: files back to lines, across rotation, with filters, and followed as they grow;
//! - [`read::trail`]: the same for sinks: one label, by a cursor that can be saved.
//!
//! # The files
//!
//! `LABEL.log` is written to; a rotated one is called `LABEL.20261120T212345.123456Z.log` after the moment
//! of its rotation, so that names in order are files in order and the one being written is last. A compressed one ends
//! in `.zst` or `.gz` besides. `FILE.log.index` beside each is a shortcut to moments and places in it: removing it costs
//! time, no line.
//!
//! A file without timestamps has the program's bytes, verbatim, both streams in the order of arrival.
//! A file with timestamps has one entry a line:
//!
//! ```text
//! 2026-11-20T21:23:45.123456Z out listening on 8081
//! 2026-11-20T21:23:45.123460Z err warning: no config
//! 2026-11-20T21:23:46.000001Z out+ the first 16 KiB of a long line …
//! 2026-11-20T21:23:46.000001Z out … and its end
//! 2026-11-20T21:24:00.000000Z gap 8192 bytes in 41 lines were not stored: no space left on device
//! ```
//!
//! What lies under the name of the current file and is no plain file (a link, a pipe, a folder) is renamed to
//! `LABEL.log.aside-20261120T212345.123456Z`, told, and replaced by a file. Among the rotated files it is passed over.
//!
//! The text is the program's bytes, unchanged: invalid UTF-8, tabs, a CR before the LF. A `+` says that the
//! program wrote no newline behind this text: the line goes on in the next entry of the same stream, or
//! the stream ended there. So the bytes of a stream can be put together again exactly. `gap` is a note of
//! ours. A file never mixes forms: when the policy changes, the file is rotated.
//!
//! A file in JSON has a record a line: [`record`] says how.
//!
//! Deliberately absent: `fsync` of what is being written (a power cut may cost the last seconds; a guard that is killed
//! costs what its programs wrote and it had not written, unless they outlive it: then [`tray`] keeps it).
#![forbid(unsafe_code)]

pub mod count;
pub mod keeper;
pub mod level;
pub mod lines;
pub mod pump;
pub mod read;
pub mod record;
pub mod tap;
pub mod tray;
pub mod writer;

mod doors;
mod files;
mod index;
mod pack;
mod policy;
mod stamp;

pub use doors::{Doors, Found};
pub use files::is_label;
pub use policy::{Access, Compression, Form, Policy, Stream};
pub use pump::{CaptureCounters, CaptureEnd, CaptureHandle, CaptureStatus, PumpHandle, Pumps, Stall};
pub use stamp::Wall;
pub use tray::{Memory, Sluice, TRAY_BYTES, Tray, TrayRefusal};
