//! The guard's side, with the safe's own loop on a thread, and with a safe that fails.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::handle::Handle;
use crate::platform::safe::tests::{begun, file_of, place};
use crate::platform::safe::{self, is_left};
use crate::safe::{DEPOSIT_HANDLES_MAX, DEPOSIT_NAME_BYTES_MAX, DEPOSIT_NOTE_BYTES_MAX};
use std::io::{Read, Seek, Write};
use std::sync::Condvar;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn names(deposits: &[Deposit]) -> Vec<&str> {
    deposits.iter().map(|deposit| deposit.name.as_str()).collect()
}

pub(crate) fn deposit(name: &str, handles: Vec<Handle>) -> Deposit {
    Deposit { name: name.to_owned(), note: format!("note of {name}"), handles }
}

#[test]
fn what_one_guard_deposited_the_next_one_gets() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    assert!(!is_left(&place));
    let thread = begun(&place);
    let open = || safe::Safe::open(&place, "shop", Box::new(|text| panic!("{text}"))).unwrap();
    let (safe, found) = open();
    assert_eq!(names(&found), [""; 0]);
    let (read, write) = io::pipe().unwrap();
    let mut handles = vec![Handle::from(read)];
    for number in 1..DEPOSIT_HANDLES_MAX {
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "{number}").unwrap();
        handles.push(Handle::from(file));
    }
    safe.keep(deposit("a", handles)).unwrap();
    safe.keep(deposit("b", Vec::new())).unwrap();
    safe.keep(deposit("b", Vec::new())).unwrap();
    safe.keep_soon(deposit("c", Vec::new()));
    safe.release("b");
    safe.release("never there");
    let large = Deposit { note: "n".repeat(DEPOSIT_NOTE_BYTES_MAX + 1), ..deposit("large", Vec::new()) };
    assert!(safe.keep(large).is_err());
    // What goes by the thread has arrived when something behind it has.
    while !lock(&safe.content).stale.is_empty() {
        std::thread::yield_now();
    }
    let long = "ü".repeat(DEPOSIT_NAME_BYTES_MAX / 2);
    let full = Deposit { note: "n".repeat(DEPOSIT_NOTE_BYTES_MAX), ..deposit(&long, Vec::new()) };
    safe.keep(full).unwrap();
    leave(safe);

    (&write).write_all(b"written while nobody read").unwrap();
    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", &long]);
    assert_eq!(found[0].note, "note of a");
    drop(write);
    for (number, handle) in found[0].handles.iter().enumerate() {
        let (mut file, mut text) = (file_of(&handle.0), String::new());
        if number > 0 {
            file.rewind().unwrap();
        }
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, if number > 0 { number.to_string() } else { "written while nobody read".to_owned() });
    }
    // The next guard may die before it has done a thing: everything is there still.
    leave(safe);
    let (safe, found) = open();
    assert_eq!(names(&found), ["a", "c", &long]);

    safe.end();
    thread.join().unwrap().unwrap();
    assert!(!is_left(&place));
}

/// As the death of a guard does, whose thread and connection go with it.
fn leave<L: Link>(safe: Arc<Safe<L>>) {
    lock(&safe.content).ended = true;
    L::ring(&safe.bell);
    // What the thread has begun to say it says to the end.
    while Arc::strong_count(&safe) > 1 {
        std::thread::yield_now();
    }
    drop(safe);
}

#[test]
fn what_fails_once_is_said_again_to_the_same_safe() {
    let (safe, other) = failing::<false>("once");
    other.fails.store(1, Ordering::Relaxed);
    assert!(safe.keep(deposit("a", Vec::new())).is_err());
    other.wait_until(|told| told == ["a"]);
    assert_eq!(other.begun.load(Ordering::Relaxed), 1);

    other.fails.store(2, Ordering::Relaxed);
    assert!(safe.keep(deposit("b", Vec::new())).is_err());
    other.wait_until(|told| told == ["a", "a", "b", "trouble"]);
    assert_eq!(other.begun.load(Ordering::Relaxed), 2);
    safe.end();
}

#[test]
fn where_messages_are_answered_the_first_failure_costs_the_connection() {
    let (safe, other) = failing::<true>("answered");
    safe.keep(deposit("a", Vec::new())).unwrap();
    other.fails.store(1, Ordering::Relaxed);
    assert!(safe.keep(deposit("b", Vec::new())).is_err());
    // What is new has everything; what could not be said may be said once more.
    other.wait_until(|told| told.starts_with(&["a", "a", "b", "trouble"].map(String::from)));
    assert_eq!(other.begun.load(Ordering::Relaxed), 2);
    safe.end();
}

/// What the guard's side has to do with, at one place.
#[derive(Debug, Default)]
struct Other {
    /// So many messages fail.
    fails: AtomicU32,
    begun: AtomicU32,
    /// The names of what arrived, and each trouble.
    told: Mutex<Vec<String>>,
    more: Condvar,
}

static OTHERS: Mutex<BTreeMap<PathBuf, Arc<Other>>> = Mutex::new(BTreeMap::new());

fn failing<const ANSWERS: bool>(place: &str) -> (Arc<Safe<Failing<ANSWERS>>>, Arc<Other>) {
    let other = Arc::new(Other::default());
    lock(&OTHERS).insert(place.into(), other.clone());
    let listener = other.clone();
    let (safe, _) = Safe::open(Path::new(place), "shop", Box::new(move |_| listener.tell("trouble"))).unwrap();
    (safe, other)
}

impl Other {
    fn tell(&self, name: &str) {
        lock(&self.told).push(name.to_owned());
        self.more.notify_all();
    }

    fn wait_until(&self, is_so: impl Fn(&[String]) -> bool) {
        let bound = Duration::from_secs(20);
        let (told, waited) = self.more.wait_timeout_while(lock(&self.told), bound, |told| !is_so(told)).unwrap();
        assert!(!waited.timed_out(), "{told:?}");
    }
}

/// A link some messages of which fail.
struct Failing<const ANSWERS: bool>(Arc<Other>);

impl<const ANSWERS: bool> Link for Failing<ANSWERS> {
    const KEEPS: &str = "nothing";
    const LOST_WITH_A_MESSAGE: bool = ANSWERS;

    type Bell = (Mutex<bool>, Condvar);

    fn bell() -> io::Result<Self::Bell> {
        Ok(Self::Bell::default())
    }

    fn ring((rung, waits): &Self::Bell) {
        *lock(rung) = true;
        waits.notify_all();
    }

    fn wait(&self, (rung, waits): &Self::Bell) -> bool {
        *waits.wait_while(lock(rung), |rung| !*rung).unwrap() = false;
        false
    }

    fn take_over(_: &Path, _: &OnTrouble) -> Result<Option<(Self, Vec<Deposit>)>, Error> {
        Ok(None)
    }

    fn begin(place: &Path, _: &str) -> io::Result<Self> {
        let other = lock(&OTHERS)[place].clone();
        other.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Failing(other))
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        if self.0.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fails| fails.checked_sub(1)).is_ok() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Message::Deposit(deposit) = message {
            self.0.tell(&deposit.name);
        }
        Ok(())
    }

    fn remove(_: &Path) {}
}
