//! gzip: members of their own, each with both of its lengths in a field of its head.
//!
//! ```text
//! 1F 8B 08 04  0 0 0 0  0 FF  0C 00  'T' 'u' 08 00  packed unpacked   deflate …   crc length
//! ```

use super::{FRAMES_MAX, Frame, PACKED_BYTES_MAX, bad, in_order};
use crate::writer::read_up_to;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// What `gzip` does where nobody says anything.
const LEVEL: u32 = 6;

/// A deflated stream with a field; no time, so that the same text packs to the same bytes.
const HEAD: [u8; 16] = [0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 0xFF, 12, 0, b'T', b'u', 8, 0];
const HEAD_BYTES: usize = HEAD.len() + 8;
const FOOT_BYTES: usize = 8;

pub(super) struct Packer {
    inner: Compress,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new() -> Self {
        Packer { inner: Compress::new(Compression::new(LEVEL), false), packed: vec![0; PACKED_BYTES_MAX] }
    }

    pub(super) fn frame(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        self.inner.reset();
        let room = HEAD_BYTES + FOOT_BYTES;
        let status = self.inner.compress(bytes, &mut self.packed[room..], FlushCompress::Finish)?;
        if status != Status::StreamEnd {
            return Err(io::Error::other("failed to pack: a frame grew more than it can"));
        }
        let count = usize::try_from(self.inner.total_out()).unwrap_or(usize::MAX);
        let mut crc = Crc::new();
        crc.update(bytes);
        // Both are at most `PACKED_BYTES_MAX`.
        let (packed, length) = ((count + room) as u32, bytes.len() as u32);
        to.write_all(&HEAD)?;
        to.write_all(&packed.to_le_bytes())?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(&self.packed[room..room + count])?;
        to.write_all(&crc.sum().to_le_bytes())?;
        to.write_all(&length.to_le_bytes())
    }
}

fn word(bytes: &[u8], from: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[from..from + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn frames(file: &mut File) -> io::Result<Vec<Frame>> {
    let end = file.metadata()?.len();
    let (mut lengths, mut at) = (Vec::new(), 0);
    while at < end {
        let mut head = [0; HEAD_BYTES];
        file.seek(SeekFrom::Start(at))?;
        let filled = read_up_to(file, &mut head)?;
        let packed = word(&head, HEAD.len());
        if filled < HEAD_BYTES || !head.starts_with(&HEAD) || (packed as usize) < HEAD_BYTES + FOOT_BYTES {
            return Err(bad("it has members without the lengths that ours have"));
        }
        if lengths.len() == FRAMES_MAX {
            return Err(bad("it has more frames than are read"));
        }
        lengths.push((packed, word(&head, HEAD.len() + 4)));
        at += u64::from(packed);
    }
    if at == end { in_order(lengths.into_iter()) } else { Err(bad("it ends in the middle of a member")) }
}

pub(super) fn unpack(packed: &[u8], into: &mut [u8]) -> io::Result<usize> {
    let body = packed.get(HEAD_BYTES..packed.len() - FOOT_BYTES).unwrap_or_default();
    let mut inner = Decompress::new(false);
    let status = inner.decompress(body, into, FlushDecompress::Finish).map_err(|error| bad(&error.to_string()))?;
    let mut crc = Crc::new();
    crc.update(into);
    if status != Status::StreamEnd || crc.sum() != word(packed, packed.len() - FOOT_BYTES) {
        return Err(bad("a frame's text is not the one that was packed"));
    }
    Ok(usize::try_from(inner.total_out()).unwrap_or(usize::MAX))
}
