//! The safe with its own loop on a thread.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::handle::Handle;
use std::io::{Read, Write};

fn begun(socket: &Path) -> std::thread::JoinHandle<io::Result<()>> {
    let listener = listen_at(socket).unwrap();
    std::thread::spawn(move || keeper::keep(listener))
}

fn names(deposits: &[Deposit]) -> Vec<&str> {
    deposits.iter().map(|deposit| deposit.name.as_str()).collect()
}

fn deposit(name: &str, handles: Vec<Handle>) -> Deposit {
    Deposit { name: name.to_owned(), note: format!("note of {name}"), handles }
}

#[test]
fn what_one_guard_deposited_the_next_one_gets() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("shop.safe");
    let thread = begun(&socket);
    let open = || Safe::open(&socket, "shop", Box::new(|text| panic!("{text}"))).unwrap();
    let (safe, found) = open();
    assert_eq!(names(&found), [""; 0]);
    let (read, write) = std::io::pipe().unwrap();
    safe.keep(deposit("a", vec![Handle(crate::platform::handle::Handle(Arc::new(read.into())))])).unwrap();
    safe.keep(deposit("b", Vec::new())).unwrap();
    safe.keep(deposit("b", Vec::new())).unwrap();
    safe.keep_soon(deposit("c", Vec::new()));
    safe.release("b");
    safe.release("never there");
    let large = Deposit { note: "n".repeat(crate::safe::DEPOSIT_NOTE_BYTES_MAX + 1), ..deposit("large", Vec::new()) };
    assert!(safe.keep(large).is_err());
    // What goes by the thread has arrived when something behind it has.
    while !lock(&safe.0.content).stale.is_empty() {
        std::thread::yield_now();
    }
    safe.keep(deposit("d", Vec::new())).unwrap();
    drop(safe);

    (&write).write_all(b"written while nobody read").unwrap();
    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", "d"]);
    assert_eq!(found[0].note, "note of a");
    drop(write);
    let mut pipe = std::fs::File::from(found[0].handles[0].0.0.try_clone().unwrap());
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written while nobody read");
    // The next guard may die before it has done a thing: everything is there still.
    drop(safe);
    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", "d"]);

    safe.end();
    thread.join().unwrap().unwrap();
    assert!(!socket.exists());
}

#[test]
fn a_damaged_message_costs_the_connection_and_not_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("shop.safe");
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
    let socket = dir.path().join("shop.safe");
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
    let socket = dir.path().join("shop.safe");
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
