//! What guard and safe say to each other.
//!
//! How a message gets to the other side, and its handles with it, is the business of the folder of the OS.

use super::{DEPOSIT_HANDLES_MAX, DEPOSIT_NAME_BYTES_MAX, DEPOSIT_NOTE_BYTES_MAX, Deposit};
use crate::handle::Handle;
use std::io;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// To the safe: keep this, in place of what has its name. From the safe: here it is.
    Deposit(Deposit),
    /// Close what has this name.
    Release(String),
    /// Tell everything there is.
    Tell,
    /// That was everything.
    Told,
    /// End.
    End,
    /// The safe has acted on what it was told. Said where messages are answered.
    Done,
}

const DEPOSIT: u8 = b'D';
const RELEASE: u8 = b'R';
const TELL: u8 = b'T';
const TOLD: u8 = b'.';
const END: u8 = b'E';
const DONE: u8 = b'K';

/// The kind, and the length of the name.
pub(crate) const HEAD_BYTES: usize = 3;

/// What is sent of a message.
pub(crate) struct Parts<'a> {
    pub(crate) head: [u8; HEAD_BYTES],
    pub(crate) name: &'a str,
    pub(crate) note: &'a str,
    pub(crate) handles: &'a [Handle],
}

impl Message {
    pub(crate) fn parts(&self) -> io::Result<Parts<'_>> {
        let none: &[Handle] = &[];
        let (kind, name, note, handles) = match self {
            Message::Deposit(deposit) => {
                look_at(deposit)?;
                (DEPOSIT, deposit.name.as_str(), deposit.note.as_str(), deposit.handles.as_slice())
            }
            Message::Release(name) => (RELEASE, name.as_str(), "", none),
            Message::Tell => (TELL, "", "", none),
            Message::Told => (TOLD, "", "", none),
            Message::End => (END, "", "", none),
            Message::Done => (DONE, "", "", none),
        };
        let [low, high] = u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes();
        Ok(Parts { head: [kind, low, high], name, note, handles })
    }

    /// The message of these parts; `text` is name and note.
    pub(crate) fn of(head: [u8; HEAD_BYTES], text: &[u8], handles: Vec<Handle>) -> io::Result<Message> {
        let [kind, low, high] = head;
        let (name, note) = text.split_at_checked(usize::from(u16::from_le_bytes([low, high]))).ok_or_else(damaged)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| damaged());
        Ok(match kind {
            DEPOSIT => Message::Deposit(Deposit { name: text(name)?, note: text(note)?, handles }),
            RELEASE => Message::Release(text(name)?),
            TELL => Message::Tell,
            TOLD => Message::Told,
            END => Message::End,
            DONE => Message::Done,
            _ => return Err(damaged()),
        })
    }
}

/// Refuses a deposit that is too large for a message.
pub(crate) fn look_at(deposit: &Deposit) -> io::Result<()> {
    let Deposit { name, note, handles } = deposit;
    if name.len() > DEPOSIT_NAME_BYTES_MAX || note.len() > DEPOSIT_NOTE_BYTES_MAX || handles.len() > DEPOSIT_HANDLES_MAX
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a deposit is larger than a safe takes"));
    }
    Ok(())
}

/// The error of a message that makes no sense.
pub(crate) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message between guard and safe is damaged")
}
