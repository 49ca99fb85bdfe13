//! The safe with its own loop on a thread.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::handle::Handle;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicU32, Ordering};

fn pipe() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!(r"\\.\pipe\tutela@test{}-{next}.safe", std::process::id()))
}

fn begun(pipe: &Path) -> std::thread::JoinHandle<io::Result<()>> {
    let name = pipe.to_owned();
    let thread = std::thread::spawn(move || keeper::keep(&name));
    while !Safe::is_left(pipe) {
        std::thread::yield_now();
    }
    thread
}

fn names(deposits: &[Deposit]) -> Vec<&str> {
    deposits.iter().map(|deposit| deposit.name.as_str()).collect()
}

fn deposit(name: &str, handles: Vec<Handle>) -> Deposit {
    Deposit { name: name.to_owned(), note: format!("note of {name}"), handles }
}

fn file_of(handle: &Handle) -> File {
    let crate::platform::handle::Handle::File(file) = &handle.0 else { panic!("no file") };
    File::from(file.try_clone().unwrap())
}

#[test]
fn what_one_guard_deposited_the_next_one_gets() {
    let pipe = pipe();
    assert!(!Safe::is_left(&pipe));
    let thread = begun(&pipe);
    let open = || Safe::open(&pipe, "shop", Box::new(|text| panic!("{text}"))).unwrap();
    let (safe, found) = open();
    assert_eq!(names(&found), [""; 0]);
    let mut files = Vec::new();
    for number in 0..crate::safe::DEPOSIT_HANDLES_MAX {
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "{number}").unwrap();
        files.push(Handle::from(file));
    }
    safe.keep(deposit("a", files)).unwrap();
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
    let long = "ü".repeat(crate::safe::DEPOSIT_NAME_BYTES_MAX / 2);
    let full = Deposit { note: "n".repeat(crate::safe::DEPOSIT_NOTE_BYTES_MAX), ..deposit(&long, Vec::new()) };
    safe.keep(full).unwrap();
    leave(safe);

    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", &long]);
    assert_eq!(found[0].note, "note of a");
    for (number, handle) in found[0].handles.iter().enumerate() {
        let (mut file, mut text) = (file_of(handle), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, number.to_string());
    }
    // The next guard may die before it has done a thing: everything is there still.
    leave(safe);
    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", &long]);

    safe.end();
    thread.join().unwrap().unwrap();
    assert!(!Safe::is_left(&pipe));
}

/// As the death of a guard does, whose thread and connection go with it.
fn leave(safe: Safe) {
    lock(&safe.0.content).ended = true;
    lock(&safe.0.link).connection = None;
    ring(&safe.0.bell);
    let shared = Arc::downgrade(&safe.0);
    drop(safe);
    while shared.strong_count() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_damaged_message_costs_the_connection_and_not_what_is_kept() {
    let pipe = pipe();
    let thread = begun(&pipe);
    for damaged in [&b"D"[..], b"D\xff\x00\x00abc", b"Q\0\0\0", b"D\x02\x00\x00\xff\xfe", b"D\0\0\x01P123"] {
        let first = dial(&pipe).unwrap();
        first.line.tell(&Message::Deposit(deposit("a", Vec::new()))).unwrap();
        first.line.send(damaged, MESSAGE_WAIT).unwrap();
        assert!(first.line.receive(Some(TELL_WAIT)).unwrap().is_none(), "{damaged:?}");
    }
    // A number that is no handle of the guard's.
    let first = dial(&pipe).unwrap();
    let nobody = Message::Deposit(deposit("x", vec![Handle::from(tempfile::tempfile().unwrap())]));
    let bytes = nobody.bytes_with(|_| Ok(std::ptr::without_provenance_mut(0xfff_fff0))).unwrap();
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
    let pipe = pipe();
    let thread = begun(&pipe);
    assert!(keeper::keep(&pipe).is_err());
    dial(&pipe).unwrap().line.tell(&Message::End).unwrap();
    thread.join().unwrap().unwrap();
}
