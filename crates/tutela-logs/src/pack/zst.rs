//! zstd: frames of their own, and behind them the table of the seekable format in a frame that others skip.
//!
//! ```text
//! frame frame …  5E 2A 4D 18  size  (packed, unpacked) …  count  0  B1 EA 92 8F
//! ```

use super::{FRAME_BYTES, FRAMES_MAX, Frame, PACKED_BYTES_MAX, bad, in_order};
use crate::writer::read_up_to;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// zstd's own choice between speed and size.
const LEVEL: i32 = 3;

const SKIPPED_MAGIC: u32 = 0x184D_2A5E;
const TABLE_MAGIC: u32 = 0x8F92_EAB1;
const HEAD_BYTES: usize = 8;
const ENTRY_BYTES: usize = 8;
const FOOT_BYTES: usize = 9;

pub(super) struct Packer {
    inner: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
    table: Vec<u8>,
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let mut inner = zstd::bulk::Compressor::new(LEVEL)?;
        inner.include_checksum(true)?;
        Ok(Packer { inner, packed: vec![0; PACKED_BYTES_MAX], table: Vec::new() })
    }

    pub(super) fn frame(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        let count = self.inner.compress_to_buffer(bytes, &mut self.packed[..])?;
        to.write_all(&self.packed[..count])?;
        // Both are at most `PACKED_BYTES_MAX`.
        self.table.extend_from_slice(&(count as u32).to_le_bytes());
        self.table.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn end(self, to: &mut impl Write) -> io::Result<()> {
        let count = self.table.len() / ENTRY_BYTES;
        if count > FRAMES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let size = (self.table.len() + FOOT_BYTES) as u32;
        to.write_all(&SKIPPED_MAGIC.to_le_bytes())?;
        to.write_all(&size.to_le_bytes())?;
        to.write_all(&self.table)?;
        to.write_all(&(count as u32).to_le_bytes())?;
        to.write_all(&[0])?;
        to.write_all(&TABLE_MAGIC.to_le_bytes())
    }
}

fn word(bytes: &[u8], from: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[from..from + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn frames(file: &mut File) -> io::Result<Vec<Frame>> {
    let length = file.metadata()?.len();
    let Some(foot_at) = length.checked_sub(FOOT_BYTES as u64) else { return Err(bad("it is too short")) };
    let mut foot = [0; FOOT_BYTES];
    file.seek(SeekFrom::Start(foot_at))?;
    read_up_to(file, &mut foot)?;
    let count = word(&foot, 0) as usize;
    if word(&foot, 5) != TABLE_MAGIC || foot[4] != 0 || count > FRAMES_MAX {
        return Err(bad("it has no table of its frames"));
    }
    let table_bytes = HEAD_BYTES + count * ENTRY_BYTES;
    let Some(table_at) = foot_at.checked_sub(table_bytes as u64) else { return Err(bad("its table is torn")) };
    let mut table = vec![0; table_bytes];
    file.seek(SeekFrom::Start(table_at))?;
    if read_up_to(file, &mut table)? < table_bytes
        || word(&table, 0) != SKIPPED_MAGIC
        || word(&table, 4) as usize != count * ENTRY_BYTES + FOOT_BYTES
    {
        return Err(bad("its table is torn"));
    }
    let frames = in_order(table[HEAD_BYTES..].chunks_exact(ENTRY_BYTES).map(|entry| (word(entry, 0), word(entry, 4))))?;
    let end = frames.last().map_or(0, |frame| frame.packed_at + u64::from(frame.packed));
    if end == table_at { Ok(frames) } else { Err(bad("its table is of another file")) }
}

pub(super) fn unpack(packed: &[u8], into: &mut [u8]) -> io::Result<usize> {
    const { assert!(FRAME_BYTES <= 1 << 27, "a frame's window is one that every zstd reads") };
    zstd::bulk::decompress_to_buffer(packed, into).map_err(|error| bad(&error.to_string()))
}
