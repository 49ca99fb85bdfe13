//! The safe with its own loop on a thread.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::safe::link::tests::{deposit, names};
use std::fs::File;

/// Where the safe of the tests in this folder is.
pub(crate) fn place(dir: &Path) -> PathBuf {
    PathBuf::from(format!(r"\\.\pipe\tutela@{}.safe", dir.file_name().unwrap().display()))
}

pub(crate) fn begun(pipe: &Path) -> std::thread::JoinHandle<io::Result<()>> {
    let name = pipe.to_owned();
    let thread = std::thread::spawn(move || keeper::keep(&name));
    while !is_left(pipe) {
        std::thread::yield_now();
    }
    thread
}

pub(crate) fn file_of(handle: &Handle) -> File {
    let Handle::File(file) = handle else { panic!("no file") };
    File::from(file.try_clone().unwrap())
}

#[test]
fn a_damaged_message_costs_the_connection_and_not_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = place(dir.path());
    let thread = begun(&pipe);
    for damaged in [&b"D"[..], b"D\xff\x00\x00abc", b"Q\0\0\0", b"D\x02\x00\x00\xff\xfe", b"D\0\0\x01P123"] {
        let first = dial(&pipe).unwrap();
        first.line.tell(&Message::Deposit(deposit("a", Vec::new()))).unwrap();
        first.line.send(damaged, MESSAGE_WAIT).unwrap();
        assert!(first.line.receive(Some(TELL_WAIT)).unwrap().is_none(), "{damaged:?}");
    }
    // A number that is no handle of the guard's.
    let first = dial(&pipe).unwrap();
    let nobody = Message::Deposit(deposit("x", vec![tempfile::tempfile().unwrap().into()]));
    let bytes = message::bytes_with(&nobody, |_| Ok(std::ptr::without_provenance_mut(0xfff_fff0))).unwrap();
    first.line.send(&bytes, MESSAGE_WAIT).unwrap();
    assert!(first.line.receive(Some(TELL_WAIT)).unwrap().is_none());
    drop(first);
    let next = dial(&pipe).unwrap();
    assert_eq!(names(&next.ask_for_all().unwrap()), ["a"]);
    next.line.tell(&Message::End).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_second_safe_of_the_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = place(dir.path());
    let thread = begun(&pipe);
    assert!(keeper::keep(&pipe).is_err());
    dial(&pipe).unwrap().line.tell(&Message::End).unwrap();
    thread.join().unwrap().unwrap();
}
