//! The chamber: lasting memory behind a pipe, with a word that says how far a fill has come.
//!
//! Windows moves nothing between two pipes in one step, but it shows what is in a pipe without taking it:
//!
//! ```text
//! empty ──> look: what is in the pipe is copied to `seen`, and its opposite, bit for bit, to `taken`
//! taking n ──> one read takes n bytes from the pipe to `taken`
//! holding n ──> drained from `seen`
//! ```
//!
//! A guard that dies amid `taking` leaves the question whether the read was made. No call of the system into which a
//! thread has gone is left half done when its process is ended: the read has taken the bytes and written them to `taken`,
//! or neither. And where it is not a kernel that reads (Wine), bytes may have been taken and not written; so what
//! does not stand at the front of the pipe any more was taken. Nobody else reads there.

use crate::Error;
use crate::platform::handle::Handle;
use crate::platform::lasting::Lasting;
use crate::platform::watch::event;
use crate::platform::wide::done;
use std::io;
use std::ops::Range;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

/// What a chamber begins with.
const MAGIC: [u8; 8] = *b"chamber1";

/// Where the word stands.
const WORD_AT: usize = 8;

/// What is before the bytes: a page.
pub(super) const HEAD_BYTES: usize = 4096;

/// The most that a fill moves: what a pump takes in one turn.
pub(super) const ROOM_BYTES: usize = 64 * 1024;

const SEEN: Range<usize> = HEAD_BYTES..HEAD_BYTES + ROOM_BYTES;
const TAKEN: Range<usize> = SEEN.end..SEEN.end + ROOM_BYTES;
pub(super) const CHAMBER_BYTES: usize = TAKEN.end;

/// How far a fill has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Empty,
    /// The read of so many bytes is about to be made, or was.
    Taking {
        length: usize,
    },
    /// They are in the chamber, the first `drained` no more.
    Holding {
        length: usize,
        drained: usize,
    },
}

impl Word {
    const TAKING: u64 = 1;
    const HOLDING: u64 = 2;

    pub(super) fn number(self) -> u64 {
        match self {
            Word::Empty => 0,
            Word::Taking { length } => Self::TAKING | (length as u64) << 2,
            Word::Holding { length, drained } => Self::HOLDING | (length as u64) << 2 | (drained as u64) << 32,
        }
    }

    /// What no chamber says is read as empty.
    pub(super) fn of(number: u64) -> Word {
        let length = usize::try_from((number >> 2) & 0x3fff_ffff).unwrap_or(usize::MAX);
        let drained = usize::try_from(number >> 32).unwrap_or(usize::MAX);
        match number & 3 {
            Self::TAKING if length <= ROOM_BYTES => Word::Taking { length },
            Self::HOLDING if length <= ROOM_BYTES && drained < length => Word::Holding { length, drained },
            _ => Word::Empty,
        }
    }
}

#[derive(Debug)]
pub(super) struct Chamber {
    pub(super) memory: Lasting,
    /// What the word in the memory says.
    known: Word,
}

impl Chamber {
    pub(super) fn new() -> Result<Chamber, Error> {
        let mut memory = Lasting::create(CHAMBER_BYTES)?;
        memory.bytes()[..MAGIC.len()].copy_from_slice(&MAGIC);
        Ok(Chamber { memory, known: Word::Empty })
    }

    pub(super) fn open(handle: Handle) -> Result<Chamber, Error> {
        let mut memory = Lasting::open(handle)?;
        let bytes = memory.bytes();
        if bytes.len() != CHAMBER_BYTES || !bytes.starts_with(&MAGIC) {
            return Err(Error::Refused("what was kept behind a program's pipe is no chamber".to_owned()));
        }
        let mut chamber = Chamber { memory, known: Word::Empty };
        chamber.known = Word::of(chamber.place().load(Ordering::SeqCst));
        Ok(chamber)
    }

    fn place(&mut self) -> &AtomicU64 {
        let word = self.memory.bytes()[WORD_AT..].as_mut_ptr().cast::<u64>();
        // SAFETY: the memory begins with a page, so the place is aligned and there; it is borrowed as a whole meanwhile.
        unsafe { AtomicU64::from_ptr(word) }
    }

    pub(super) fn word(&self) -> Word {
        self.known
    }

    /// In one store, behind all stores before it: a process that dies leaves its stores in the order of its program.
    fn say(&mut self, word: Word) {
        compiler_fence(Ordering::SeqCst);
        self.place().store(word.number(), Ordering::SeqCst);
        compiler_fence(Ordering::SeqCst);
        self.known = word;
    }

    /// Moves what is in the pipe here. Zero: there is nothing in it now.
    pub(super) fn fill(&mut self, pipe: &OwnedHandle, most: usize) -> io::Result<usize> {
        if self.known != Word::Empty {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = most.min(ROOM_BYTES);
        let length = look(pipe, &mut self.memory.bytes()[SEEN][..most])?;
        if length == 0 {
            return Ok(0);
        }
        let (seen, taken) = self.memory.bytes()[HEAD_BYTES..].split_at_mut(ROOM_BYTES);
        for (seen, taken) in seen.iter().zip(&mut taken[..length]) {
            *taken = !seen;
        }
        self.say(Word::Taking { length });
        moment();
        let read = take(pipe, &mut self.memory.bytes()[TAKEN][..length]);
        moment();
        match read {
            // It was seen, and nobody else reads.
            Ok(read) if read == length => {}
            Ok(read) => {
                self.say(Word::Empty);
                return Err(io::Error::other(format!("a pipe gave {read} of the {length} bytes in it")));
            }
            Err(error) => {
                self.say(Word::Empty);
                return Err(error);
            }
        }
        self.say(Word::Holding { length, drained: 0 });
        self.memory.bytes()[TAKEN][..length].fill(0);
        Ok(length)
    }

    pub(super) fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Word::Holding { length, drained } = self.known else { return Err(io::ErrorKind::WouldBlock.into()) };
        let count = into.len().min(length - drained);
        let from = SEEN.start + drained;
        into[..count].copy_from_slice(&self.memory.bytes()[from..from + count]);
        if drained + count == length {
            self.say(Word::Empty);
            // What may have to be masked is in no place that does not need it.
            self.memory.bytes()[SEEN][..length].fill(0);
        } else {
            self.say(Word::Holding { length, drained: drained + count });
        }
        Ok(count)
    }

    /// Brings to its end what a dead guard had under way.
    pub(super) fn decide(&mut self, pipe: &OwnedHandle) {
        if let Word::Taking { length } = self.known {
            let (seen, taken) = self.memory.bytes()[HEAD_BYTES..].split_at(ROOM_BYTES);
            let was_taken = seen[..length] == taken[..length] || !is_at_the_front(pipe, &seen[..length]);
            self.say(if was_taken { Word::Holding { length, drained: 0 } } else { Word::Empty });
        }
        // The dead one may not have come to it.
        self.memory.bytes()[TAKEN].fill(0);
        if self.known == Word::Empty {
            self.memory.bytes()[SEEN].fill(0);
        }
    }
}

/// Whether these bytes are what a reader would get next.
fn is_at_the_front(pipe: &OwnedHandle, bytes: &[u8]) -> bool {
    let mut front = vec![0; bytes.len()];
    look(pipe, &mut front).is_ok_and(|length| length == bytes.len()) && front == bytes
}

/// What is in the pipe, which stays there.
fn look(pipe: &OwnedHandle, into: &mut [u8]) -> io::Result<usize> {
    let room = u32::try_from(into.len()).unwrap_or(u32::MAX);
    let (mut seen, none) = (0_u32, std::ptr::null_mut());
    // SAFETY: the pipe is open for the call; the place is ours and as long as the length says, and so is the number.
    let told = unsafe {
        PeekNamedPipe(pipe.as_raw_handle(), into.as_mut_ptr().cast(), room, &raw mut seen, none, std::ptr::null_mut())
    };
    done(told)?;
    Ok(usize::try_from(seen).unwrap_or(0))
}

/// Takes from the pipe what is known to be in it.
pub(super) fn take(pipe: &OwnedHandle, into: &mut [u8]) -> io::Result<usize> {
    let event = event()?;
    let mut overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
    let room = u32::try_from(into.len()).unwrap_or(u32::MAX);
    let (pipe, mut read) = (pipe.as_raw_handle(), 0_u32);
    // SAFETY: the pipe is open; the place is ours and as long as the length says. It and the structure stay where they are
    // until the read has ended, which is waited for below.
    let told =
        done(unsafe { ReadFile(pipe, into.as_mut_ptr().cast(), room, std::ptr::null_mut(), &raw mut overlapped) });
    match told {
        Err(error) if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // SAFETY: the structure is that of the read, and the number is ours.
    done(unsafe { GetOverlappedResult(pipe, &raw const overlapped, &raw mut read, 1) })?;
    Ok(usize::try_from(read).unwrap_or(0))
}

/// A moment at which a guard may die, for the tests.
#[cfg(not(test))]
const fn moment() {}

#[cfg(test)]
use super::tests::moment;
