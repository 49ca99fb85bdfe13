//! Compressed log files: written once, read at any place.
//!
//! A packed file is the log file in frames of [`FRAME_BYTES`] that know nothing of each other, and a way to find them:
//! for zstd the table of the seekable format at the end, for gzip a field in the head of each member. `zstd -d` and
//! `gzip -d` read both. Whatever the bytes are, reading them takes bounded memory: a frame that says it is larger than
//! ours is an error.
//!
//! Called by the keeper ([`pack`]) and by the readers ([`Unpacked`]). Deliberately absent: packed files that somebody
//! else made without such a table; to find a line in them they would have to be read from the beginning.

mod gzip;
#[cfg(test)]
mod tests;
mod zst;

use crate::policy::Compression;
use crate::writer::read_up_to;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// How much of a log file is in a frame. Large enough that packing each on its own costs little, small enough that
/// reading one line costs milliseconds.
pub(crate) const FRAME_BYTES: usize = 1024 * 1024;

/// The most that a packed frame can have: what cannot be packed grows by less than this.
const PACKED_BYTES_MAX: usize = FRAME_BYTES + FRAME_BYTES / 16;

/// The most frames of a file that is read: a terabyte of log, whose table takes 24 MB.
const FRAMES_MAX: usize = 1 << 20;

/// Where a frame is, in both forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    packed_at: u64,
    packed: u32,
    at: u64,
    length: u32,
}

/// Packs what `from` has. `rest` is called between two frames; what it answers ends the packing.
pub(crate) fn pack(
    compression: Compression,
    from: &mut impl Read,
    to: &mut impl Write,
    mut rest: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let mut packer = Packer::new(compression)?;
    let mut frame = vec![0; FRAME_BYTES];
    loop {
        let filled = read_up_to(from, &mut frame)?;
        if filled > 0 {
            packer.frame(&frame[..filled], to)?;
        }
        if filled < frame.len() {
            return packer.end(to);
        }
        rest()?;
    }
}

enum Packer {
    Zstd(Box<zst::Packer>),
    Gzip(Box<gzip::Packer>),
}

impl Packer {
    fn new(compression: Compression) -> io::Result<Self> {
        match compression {
            Compression::Zstd => Ok(Packer::Zstd(Box::new(zst::Packer::new()?))),
            Compression::Gzip => Ok(Packer::Gzip(Box::new(gzip::Packer::new()))),
            Compression::None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn frame(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        match self {
            Packer::Zstd(packer) => packer.frame(bytes, to),
            Packer::Gzip(packer) => packer.frame(bytes, to),
        }
    }

    fn end(self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Packer::Zstd(packer) => packer.end(to),
            // The last member is the end.
            Packer::Gzip(_) => Ok(()),
        }
    }
}

/// A packed file, read as what it was. It holds one frame.
pub(crate) struct Unpacked {
    file: File,
    compression: Compression,
    frames: Vec<Frame>,
    /// The frame that is in `frame`.
    which: Option<usize>,
    frame: Vec<u8>,
    at: u64,
}

impl std::fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked").field("frames", &self.frames.len()).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Unpacked {
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is not as [`pack`] made it.
    pub(crate) fn over(mut file: File, compression: Compression) -> io::Result<Self> {
        let frames = match compression {
            Compression::Zstd => zst::frames(&mut file)?,
            Compression::Gzip => gzip::frames(&mut file)?,
            Compression::None => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Unpacked { file, compression, frames, which: None, frame: Vec::new(), at: 0 })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// How many bytes it was.
    pub(crate) fn length(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.at + u64::from(frame.length))
    }

    /// Makes the frame of this offset the one that is held. `false`: it is behind the end.
    fn hold(&mut self, offset: u64) -> io::Result<bool> {
        let number = self.frames.partition_point(|frame| frame.at + u64::from(frame.length) <= offset);
        if self.which == Some(number) {
            return Ok(true);
        }
        let Some(frame) = self.frames.get(number).copied() else { return Ok(false) };
        self.which = None;
        self.file.seek(SeekFrom::Start(frame.packed_at))?;
        let mut packed = vec![0; frame.packed as usize];
        if read_up_to(&mut self.file, &mut packed)? < packed.len() {
            return Err(bad("it ends in the middle of a frame"));
        }
        self.frame.resize(frame.length as usize, 0);
        let length = match self.compression {
            Compression::Zstd => zst::unpack(&packed, &mut self.frame)?,
            _ => gzip::unpack(&packed, &mut self.frame)?,
        };
        if length != self.frame.len() {
            return Err(bad("a frame has not the length that is told of it"));
        }
        self.which = Some(number);
        Ok(true)
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.hold(self.at)? {
            return Ok(0);
        }
        let begins = self.which.map_or(0, |number| self.frames[number].at);
        let from = usize::try_from(self.at - begins).unwrap_or(usize::MAX);
        let part = &self.frame[from..];
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Unpacked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("failed to unpack: {why}"))
}

/// The frames of these lengths (packed, unpacked), one behind the other.
fn in_order(lengths: impl Iterator<Item = (u32, u32)>) -> io::Result<Vec<Frame>> {
    let (mut frames, mut packed_at, mut at) = (Vec::new(), 0, 0);
    for (packed, length) in lengths {
        if packed as usize > PACKED_BYTES_MAX || length as usize > FRAME_BYTES || length == 0 {
            return Err(bad("it has frames of another size than ours"));
        }
        if frames.len() == FRAMES_MAX {
            return Err(bad("it has more frames than are read"));
        }
        frames.push(Frame { packed_at, packed, at, length });
        packed_at += u64::from(packed);
        at += u64::from(length);
    }
    Ok(frames)
}
