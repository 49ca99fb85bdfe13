//! How guard and safe say things to each other: over a pipe that keeps messages whole.
//!
//! A handle is a number, and means something in its own process alone. It is the safe that copies: it takes handles out
//! of the guard's process, and puts copies there, and says their numbers. So a guard that dies amid it leaves nothing half
//! done: what it had got ends with it.

use crate::handle::Handle;
use crate::platform::handle::Handle as Held;
use crate::platform::wide::done;
use crate::safe::message::{HEAD_BYTES, Message, Parts, damaged};
use crate::safe::{DEPOSIT_HANDLES_MAX, DEPOSIT_NAME_BYTES_MAX, DEPOSIT_NOTE_BYTES_MAX};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::sync::Arc;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// A file, pipe, piece of memory.
const ONE: u8 = b'1';
/// A program: its first process and its job.
const PROGRAM: u8 = b'P';

/// The kind of a handle, and its two numbers.
const HANDLE_BYTES: usize = 17;

/// The longest message: its head, how many handles, them, name and note.
pub(super) const MESSAGE_BYTES_MAX: usize =
    HEAD_BYTES + 1 + DEPOSIT_HANDLES_MAX * HANDLE_BYTES + DEPOSIT_NAME_BYTES_MAX + DEPOSIT_NOTE_BYTES_MAX;

/// A message as it is sent, with the numbers that its handles have in this process.
pub(super) fn bytes(message: &Message) -> io::Result<Vec<u8>> {
    bytes_with(message, |handle| Ok(handle.as_raw_handle()))
}

/// A message as it is sent, with the numbers that `number` gives its handles.
pub(super) fn bytes_with(
    message: &Message,
    mut number: impl FnMut(&OwnedHandle) -> io::Result<RawHandle>,
) -> io::Result<Vec<u8>> {
    let Parts { head, name, note, handles } = message.parts()?;
    let mut bytes = head.to_vec();
    bytes.push(u8::try_from(handles.len()).unwrap_or(u8::MAX));
    for handle in handles {
        let (kind, numbers) = match &handle.0 {
            Held::File(file) => (ONE, [number(file)?, std::ptr::null_mut()]),
            Held::Program { process, job } => (PROGRAM, [number(process)?, number(job)?]),
            Held::Socket(_) => return Err(damaged()),
        };
        bytes.push(kind);
        numbers.iter().for_each(|number| bytes.extend_from_slice(&(number.addr() as u64).to_le_bytes()));
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(note.as_bytes());
    Ok(bytes)
}

/// The message of these bytes; `owned` makes handles of numbers.
pub(super) fn read(bytes: &[u8], mut owned: impl FnMut(RawHandle) -> io::Result<OwnedHandle>) -> io::Result<Message> {
    let (head, numbers, text) = split(bytes).ok_or_else(damaged)?;
    let mut handles = Vec::with_capacity(numbers.len());
    for (kind, [first, second]) in numbers {
        let first = Arc::new(owned(first)?);
        handles.push(Handle(match kind {
            ONE => Held::File(first),
            PROGRAM => Held::Program { process: first, job: Arc::new(owned(second)?) },
            _ => return Err(damaged()),
        }));
    }
    Message::of(head, text, handles)
}

/// Handles as they are said: their kinds, and two numbers each.
type Numbers = Vec<(u8, [RawHandle; 2])>;

fn split(bytes: &[u8]) -> Option<([u8; HEAD_BYTES], Numbers, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    let (count, mut rest) = rest.split_first()?;
    let mut numbers = Numbers::new();
    for _ in 0..*count {
        let (handle, more) = rest.split_first_chunk::<HANDLE_BYTES>()?;
        let number = |at: usize| {
            let number = u64::from_le_bytes(*handle.get(at..)?.first_chunk::<8>()?);
            Some(std::ptr::without_provenance_mut(usize::try_from(number).ok()?))
        };
        numbers.push((handle[0], [number(1)?, number(9)?]));
        rest = more;
    }
    Some((*head, numbers, rest))
}

/// A handle that the other side has put into this process.
pub(super) fn given(number: RawHandle) -> io::Result<OwnedHandle> {
    if number.is_null() {
        return Err(damaged());
    }
    // SAFETY: the safe, which is of this account, has made it in this process for whoever is told of it, which is this
    // function's caller, once.
    Ok(unsafe { OwnedHandle::from_raw_handle(number) })
}

/// A copy for this process of what has this number in the other one.
pub(super) fn copied_from(process: &OwnedHandle, number: RawHandle) -> io::Result<OwnedHandle> {
    let mut copy: RawHandle = std::ptr::null_mut();
    // SAFETY: takes no memory and answers a constant that stands for this process.
    let this = unsafe { GetCurrentProcess() };
    let process = process.as_raw_handle();
    // SAFETY: the pointer is to a live handle of ours, which is all that is written; a number that is no open handle there
    // is answered with an error.
    done(unsafe { DuplicateHandle(process, number, this, &raw mut copy, 0, 0, DUPLICATE_SAME_ACCESS) })?;
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedHandle::from_raw_handle(copy) })
}

/// The number that a copy of the handle has got in the other process.
pub(super) fn copied_to(process: &OwnedHandle, handle: &OwnedHandle) -> io::Result<RawHandle> {
    let mut copy: RawHandle = std::ptr::null_mut();
    // SAFETY: as above.
    let this = unsafe { GetCurrentProcess() };
    let (handle, process) = (handle.as_raw_handle(), process.as_raw_handle());
    // SAFETY: both handles are open for the call, which writes one number that is ours.
    done(unsafe { DuplicateHandle(this, handle, process, &raw mut copy, 0, 0, DUPLICATE_SAME_ACCESS) })?;
    Ok(copy)
}
