//! The safe with its own loop on a thread.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::platform::handle::Handle;
use crate::safe::link::tests::{deposit, names};
use std::fs::File;
use std::path::PathBuf;

/// Where the safe of the tests in this folder is.
pub(crate) fn place(dir: &Path) -> PathBuf {
    dir.join("shop.safe")
}

pub(crate) fn begun(socket: &Path) -> std::thread::JoinHandle<io::Result<()>> {
    let listener = listen_at(socket).unwrap();
    std::thread::spawn(move || keeper::keep(listener))
}

pub(crate) fn file_of(handle: &Handle) -> File {
    File::from(handle.0.try_clone().unwrap())
}

#[test]
fn the_next_guard_takes_the_place_of_one_that_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let socket = place(dir.path());
    let thread = begun(&socket);
    let (first, found) = take_over(&socket).unwrap();
    assert_eq!(names(&found), [""; 0]);
    first.send(&Message::Deposit(deposit("a", Vec::new()))).unwrap();
    let (next, found) = take_over(&socket).unwrap();
    assert_eq!(names(&found), ["a"]);
    assert!(message::receive(first.as_fd()).unwrap().is_none());
    next.send(&Message::End).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_damaged_message_costs_the_connection_and_not_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let socket = place(dir.path());
    let thread = begun(&socket);
    let first = dial(&socket).unwrap();
    message::send(first.as_fd(), &Message::Deposit(deposit("a", Vec::new()))).unwrap();
    rustix::net::send(&first, b"nonsense", rustix::net::SendFlags::empty()).unwrap();
    let (connection, found) = take_over(&socket).unwrap();
    assert_eq!(names(&found), ["a"]);
    message::send(connection.as_fd(), &Message::End).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_socket_that_nobody_listens_on_is_nobodys_safe() {
    let dir = tempfile::tempdir().unwrap();
    let socket = place(dir.path());
    assert!(take_over(&socket).is_none());
    drop(listen_at(&socket).unwrap());
    assert!(take_over(&socket).is_none());
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "a file").unwrap();
    assert!(take_over(&socket).is_none());
}

#[test]
fn what_a_guard_said_last_is_heard_before_the_next_one_asks() {
    let dir = tempfile::tempdir().unwrap();
    let socket = place(dir.path());
    let listener = listen_at(&socket).unwrap();
    // Both have spoken before the safe looks for the first time.
    let dead = dial(&socket).unwrap();
    for name in ["a", "b", "c"] {
        message::send(dead.as_fd(), &Message::Deposit(deposit(name, Vec::new()))).unwrap();
    }
    drop(dead);
    let next = dial(&socket).unwrap();
    message::send(next.as_fd(), &Message::Tell).unwrap();
    let thread = std::thread::spawn(move || keeper::keep(listener));
    let mut told = Vec::new();
    while let Some(Message::Deposit(deposit)) = message::receive(next.as_fd()).unwrap() {
        told.push(deposit.name);
    }
    assert_eq!(told, ["a", "b", "c"]);
    message::send(next.as_fd(), &Message::End).unwrap();
    thread.join().unwrap().unwrap();
}
