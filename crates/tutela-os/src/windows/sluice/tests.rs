//! The sluice, with a guard that dies at each moment.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::chamber::{CHAMBER_BYTES, HEAD_BYTES, ROOM_BYTES, Word, take};
use super::*;
use crate::platform::lasting::Lasting;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

thread_local! {
    /// How many moments are left until the guard of this thread dies.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

pub(super) fn moment() {
    LEFT.with(|left| match left.get() {
        Some(0) => {
            left.set(None);
            std::panic::resume_unwind(Box::new("dies"));
        }
        Some(more) => left.set(Some(more - 1)),
        None => {}
    });
}

fn pipe() -> (IdleSluice, File) {
    let (idle, write) = sluiced_output_pipe(None).unwrap();
    let Handle::File(write) = write else { panic!("no file") };
    (idle, Arc::into_inner(write).unwrap().into())
}

async fn fill(sluice: &mut Sluice, most: usize) -> usize {
    std::future::poll_fn(|cx| sluice.poll_fill(cx, most)).await.unwrap()
}

fn again([pipe, chamber]: [Handle; 2]) -> Sluice {
    IdleSluice::from_handles(pipe, chamber).unwrap().activate().unwrap()
}

#[tokio::test]
async fn what_is_in_pipe_and_chamber_outlives_the_sluice_and_is_known_to_the_byte() {
    let (idle, mut program) = pipe();
    let handles = idle.handles();
    let mut sluice = idle.activate().unwrap();
    program.write_all(b"first").unwrap();
    assert_eq!((fill(&mut sluice, 65536).await, sluice.filled().unwrap()), (5, 5));
    let mut two = [0; 2];
    assert_eq!((sluice.drain(&mut two).unwrap(), &two), (2, b"fi"));
    program.write_all(b" second").unwrap();
    assert_eq!(sluice.chamber.fill(&sluice.pipe, 9).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(sluice);

    let mut sluice = again(handles);
    let mut rest = [0; 64];
    assert_eq!((sluice.filled().unwrap(), sluice.drain(&mut rest).unwrap(), &rest[..3]), (3, 3, &b"rst"[..]));
    assert_eq!(sluice.drain(&mut rest).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(fill(&mut sluice, 4).await, 4);
    assert_eq!((sluice.filled().unwrap(), sluice.drain(&mut rest).unwrap(), &rest[..4]), (4, 4, &b" sec"[..]));
    assert!(sluice.chamber.memory.bytes()[HEAD_BYTES..].iter().all(|byte| *byte == 0), "it remembers what it held");
}

#[tokio::test]
async fn who_waits_is_woken_by_what_comes_and_by_the_end() {
    let (idle, mut program) = pipe();
    let mut sluice = idle.activate().unwrap();
    // Two pieces of news, however often the sluice is asked.
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(2);
    let writer = std::thread::spawn(move || {
        told.recv().unwrap();
        program.write_all(b"late").unwrap();
        told.recv().unwrap();
        drop(program);
    });
    let waits = std::future::poll_fn(|cx| match sluice.poll_fill(cx, 65536) {
        Poll::Pending => {
            let _ = tell.try_send(());
            Poll::Pending
        }
        ready => ready,
    });
    assert_eq!(waits.await.unwrap(), 4);
    assert_eq!(sluice.drain(&mut [0; 64]).unwrap(), 4);
    let ends = std::future::poll_fn(|cx| match sluice.poll_fill(cx, 65536) {
        Poll::Pending => {
            let _ = tell.try_send(());
            Poll::Pending
        }
        ready => ready,
    });
    assert_eq!(ends.await.unwrap(), 0);
    writer.join().unwrap();
    // One that is dropped while it waits leaves nothing behind that would take a byte.
    let (idle, mut program) = pipe();
    let handles = idle.handles();
    let mut waits = idle.activate().unwrap();
    assert!(waits.poll_fill(&mut Context::from_waker(Waker::noop()), 9).is_pending());
    drop(waits);
    program.write_all(b"whole").unwrap();
    assert_eq!(fill(&mut again(handles), 65536).await, 5);
}

#[tokio::test]
async fn the_end_of_the_pipe_is_told_once_it_is_empty() {
    let (idle, mut program) = pipe();
    program.write_all(b"last").unwrap();
    drop(program);
    let mut sluice = idle.activate().unwrap();
    assert_eq!(fill(&mut sluice, 65536).await, 4);
    assert_eq!(sluice.drain(&mut [0; 64]).unwrap(), 4);
    assert_eq!(fill(&mut sluice, 65536).await, 0);
}

/// Also where the bytes that follow are the same again.
#[tokio::test]
async fn whatever_the_moment_of_a_death_every_byte_is_there_once() {
    for text in [&b"abcdefgh"[..], b"aaaaaaaa"] {
        for dies_after in 0..2 {
            let (idle, mut program) = pipe();
            let handles = idle.handles();
            program.write_all(text).unwrap();
            let mut sluice = idle.activate().unwrap();
            LEFT.set(Some(dies_after));
            let died = catch_unwind(AssertUnwindSafe(|| sluice.chamber.fill(&sluice.pipe, 4)));
            assert!(died.is_err() && LEFT.get().is_none());
            drop(sluice);
            let mut sluice = again(handles);
            let was_taken = sluice.filled().unwrap();
            assert_eq!(was_taken, if dies_after == 0 { 0 } else { 4 }, "{dies_after}");
            let (mut read, mut into) = (Vec::new(), [0; 64]);
            while read.len() < text.len() {
                if sluice.filled().unwrap() == 0 {
                    fill(&mut sluice, 65536).await;
                }
                let count = sluice.drain(&mut into).unwrap();
                read.extend_from_slice(&into[..count]);
            }
            assert_eq!(read, text);
        }
    }
}

/// As under Wine: the bytes are out of the pipe, and the reader died before it had them.
#[tokio::test]
async fn bytes_that_are_neither_in_the_pipe_nor_in_the_place_of_the_read_were_taken() {
    let (idle, mut program) = pipe();
    let handles = idle.handles();
    program.write_all(b"abcdefgh").unwrap();
    let mut sluice = idle.activate().unwrap();
    LEFT.set(Some(0));
    assert!(catch_unwind(AssertUnwindSafe(|| sluice.chamber.fill(&sluice.pipe, 4))).is_err());
    assert_eq!(take(&sluice.pipe, &mut [0; 4]).unwrap(), 4);
    drop(sluice);
    let mut sluice = again(handles);
    let mut into = [0; 4];
    assert_eq!((sluice.drain(&mut into).unwrap(), &into), (4, b"abcd"));
}

#[test]
fn what_is_no_pipe_or_no_chamber_is_refused() {
    let (idle, _program) = pipe();
    let [pipe, chamber] = idle.handles();
    let file = Handle::from_file(File::open(std::env::current_exe().unwrap()).unwrap());
    let other = Lasting::create(CHAMBER_BYTES).unwrap().handle();
    assert!(matches!(IdleSluice::from_handles(file, chamber), Err(Error::Refused(_))));
    assert!(matches!(IdleSluice::from_handles(pipe, other), Err(Error::Refused(_))));
}

#[test]
fn words_survive_their_numbers_and_nonsense_is_empty() {
    let words = [
        Word::Empty,
        Word::Taking { length: ROOM_BYTES },
        Word::Holding { length: ROOM_BYTES, drained: ROOM_BYTES - 1 },
    ];
    for word in words {
        assert_eq!(Word::of(word.number()), word);
    }
    let past = Word::Holding { length: 4, drained: 4 }.number();
    for nonsense in [3, past, Word::Taking { length: ROOM_BYTES + 1 }.number(), u64::MAX] {
        assert_eq!(Word::of(nonsense), Word::Empty);
    }
}
