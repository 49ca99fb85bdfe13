//! The pump on pipes that end, stall, flood and are held open.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::doors::tests::DOORS;
use crate::policy::Form;
use crate::tap;
use std::sync::mpsc as std_mpsc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};

/// Long for a test, so that a busy computer does not fail it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) pump: PumpHandle,
    events: std_mpsc::Receiver<PumpEvent>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (tell, events) = std_mpsc::sync_channel(64);
        // It must not wait, and the test may be over before the pump is.
        let pump = PumpHandle::start(DOORS, move |event| drop(tell.try_send(event))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Bench { dir: tempfile::tempdir().unwrap(), pump, events, runtime }
    }

    pub(super) fn policy(&self, timestamps: bool) -> Arc<Policy> {
        let dir = self.dir.path().to_owned();
        let form = if timestamps { Form::Stamped } else { Form::Raw };
        Arc::new(Policy { keep: 3, ..Policy::new(dir, form) })
    }

    pub(super) fn attach(
        &self,
        label: &str,
        timestamps: bool,
        taps: Taps,
    ) -> (CaptureHandle, DuplexStream, DuplexStream) {
        self.attach_as(label, self.policy(timestamps), taps)
    }

    pub(super) fn attach_as(
        &self,
        label: &str,
        policy: Arc<Policy>,
        taps: Taps,
    ) -> (CaptureHandle, DuplexStream, DuplexStream) {
        let (out, out_reader) = tokio::io::duplex(64 * 1024);
        let (err, err_reader) = tokio::io::duplex(64 * 1024);
        let sources = vec![(Stream::Out, source(out_reader)), (Stream::Err, source(err_reader))];
        (self.pump.attach(label, policy, sources, taps).unwrap(), out, err)
    }

    pub(super) fn finish(&self, capture: &CaptureHandle, deadline: Duration) -> CaptureEnd {
        let end = capture.finish(deadline).unwrap();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await.unwrap() })
    }

    pub(super) fn write(&self, pipe: &mut DuplexStream, bytes: &[u8]) {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, pipe.write_all(bytes)).await.unwrap() }).unwrap();
    }

    pub(super) fn text(&self, label: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{label}.log"))).unwrap()
    }
}

fn source(reader: impl AsyncRead + Send + 'static) -> Source {
    Box::new(|| Ok(Box::pin(reader)))
}

/// Gives bytes for ever, and is always ready.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = [b'e'; 99];
        while buffer.remaining() > line.len() {
            buffer.put_slice(&line);
            buffer.put_slice(b"\n");
        }
        Poll::Ready(Ok(()))
    }
}

#[test]
fn both_streams_reach_the_file_and_the_end_flushes_a_last_line_without_newline() {
    let bench = Bench::new();
    let (capture, mut out, mut err) = bench.attach("api-0", true, Taps::default());
    bench.write(&mut out, b"one\ntwo");
    bench.write(&mut err, b"bad\n");
    drop((out, err));
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    let mut lines: Vec<_> = bench.text("api-0").lines().map(|line| line[28..].to_owned()).collect();
    lines.sort();
    assert_eq!(lines, ["err bad", "out one", "out+ two"]);
    let status = capture.status();
    assert_eq!((status.bytes, status.lines, status.dropped_bytes, status.last_error), (11, 2, 0, None));
}

#[test]
fn a_capture_without_a_byte_yet_has_a_file_to_come_until_its_first_one_or_its_end() {
    let bench = Bench::new();
    let unopened = |count: usize| {
        let until = Instant::now() + PATIENCE;
        while bench.pump.unopened() != count {
            assert!(Instant::now() < until, "{} of {count}", bench.pump.unopened());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let (talks, mut out, err) = bench.attach("api-0", true, Taps::default());
    let (silent, quiet_out, quiet_err) = bench.attach("api-1", true, Taps::default());
    // From the call on, and not only once the pump comes to it.
    assert_eq!(bench.pump.unopened(), 2);
    bench.write(&mut out, b"one\n");
    unopened(1);
    drop((quiet_out, quiet_err));
    assert_eq!(bench.finish(&silent, PATIENCE), CaptureEnd::Complete);
    unopened(0);
    // It is closed with the last capture of its label, and opened again by the next one that says anything.
    drop((out, err));
    assert_eq!(bench.finish(&talks, PATIENCE), CaptureEnd::Complete);
    let (_again, mut out, _err) = bench.attach("api-0", true, Taps::default());
    assert_eq!(bench.pump.unopened(), 1);
    bench.write(&mut out, b"two\n");
    unopened(0);
    // A folder that goes away under an open file: it is to be opened again.
    std::fs::remove_dir_all(bench.dir.path()).unwrap();
    std::fs::write(bench.dir.path(), "no folder").unwrap();
    bench.pump.set_policy("api-0", Arc::new(Policy::new(bench.dir.path().join("deeper"), Form::Stamped))).unwrap();
    bench.write(&mut out, b"three\n");
    unopened(1);
}

#[test]
fn a_pipe_that_somebody_else_holds_open_is_drained_and_closed_long_before_the_deadline() {
    let bench = Bench::new();
    let (capture, mut out, err) = bench.attach("api-0", false, Taps::default());
    bench.write(&mut out, b"all of it\n");
    let began = Instant::now();
    assert_eq!(bench.finish(&capture, Duration::from_secs(3600)), CaptureEnd::ClosedOpen);
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(bench.text("api-0"), "all of it\n");
    drop((out, err));
}

#[test]
fn what_is_in_a_pipe_when_the_deadline_is_over_is_read_all_the_same() {
    const BYTES: usize = 600 * 1024;
    let bench = Bench::new();
    let [(mut out, out_reader), (mut err, err_reader)] = [(); 2].map(|()| tokio::io::duplex(BYTES));
    bench.write(&mut out, &[b'x'; BYTES]);
    bench.write(&mut err, &[b'y'; BYTES]);
    let sources = vec![(Stream::Out, source(out_reader)), (Stream::Err, source(err_reader))];
    let capture = bench.pump.attach("api-0", bench.policy(false), sources, Taps::default()).unwrap();
    // As after a disk that hung all the time; and somebody else holds both open.
    assert_ne!(bench.finish(&capture, Duration::ZERO), CaptureEnd::Complete);
    assert_eq!(capture.status().bytes, 2 * BYTES as u64);
    drop((out, err));
}

#[test]
fn a_stream_that_never_ends_is_cut_off_at_the_deadline_and_starves_nobody() {
    let bench = Bench::new();
    let policy = Policy { rotate_size: Some(1024 * 1024), keep: 1, ..(*bench.policy(false)).clone() };
    let flood = bench.pump.attach("flood", Arc::new(policy), vec![(Stream::Out, source(Endless))], Taps::default());
    let flood = flood.unwrap();
    let (quiet, mut out, err) = bench.attach("quiet", false, Taps::default());
    for _ in 0..20 {
        bench.write(&mut out, &[b'q'; 64 * 1024]);
    }
    drop((out, err));
    assert_eq!(bench.finish(&quiet, PATIENCE), CaptureEnd::Complete);
    assert_eq!(quiet.status().bytes, 20 * 64 * 1024);
    assert_eq!(bench.finish(&flood, Duration::from_millis(20)), CaptureEnd::CutOff);
    assert!(flood.status().bytes > 0);
}

#[test]
fn the_next_run_appends_to_the_file_while_the_one_before_still_drains() {
    let bench = Bench::new();
    let (old, mut old_out, _old_err) = bench.attach("api-0", false, Taps::default());
    bench.write(&mut old_out, b"old 1\n");
    let (new, mut new_out, new_err) = bench.attach("api-0", false, Taps::default());
    bench.write(&mut new_out, b"new 1\n");
    bench.write(&mut old_out, b"old 2\n");
    drop((new_out, new_err));
    assert_eq!(bench.finish(&new, PATIENCE), CaptureEnd::Complete);
    bench.finish(&old, PATIENCE);
    let mut lines: Vec<_> = bench.text("api-0").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["new 1", "old 1", "old 2"]);
    assert_eq!(old.status(), new.status());
}

#[test]
fn the_form_can_change_while_a_line_is_half_written_and_no_byte_is_lost_or_doubled() {
    let bench = Bench::new();
    let (tap, mut lines) = tap::console();
    let (capture, mut out, err) =
        bench.attach("api-0", true, Taps { console: Some(tap.clone()), patterns: Vec::new() });
    let seen = |count: u64| {
        let began = Instant::now();
        while capture.status().bytes < count {
            assert!(began.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    };
    bench.write(&mut out, b"one\nhalf ");
    seen(4);
    bench.pump.set_policy("api-0", bench.policy(false)).unwrap();
    bench.write(&mut out, b"and half\nthird ");
    seen(24);
    bench.pump.set_policy("api-0", bench.policy(true)).unwrap();
    bench.write(&mut out, b"part\n");
    drop((out, err));
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    assert_eq!(capture.status().bytes, b"one\nhalf and half\nthird part\n".len() as u64);
    let mut raw = Vec::new();
    for entry in crate::read::tail(DOORS, bench.dir.path(), "api-0", 100).unwrap() {
        entry.unwrap().write_raw(&mut raw).unwrap();
    }
    assert_eq!(String::from_utf8(raw).unwrap(), "one\nhalf and half\nthird part\n");
    let console: Vec<u8> = lines.wait(PATIENCE).unwrap().lines.iter().flat_map(|line| line.bytes.to_vec()).collect();
    assert_eq!(String::from_utf8(console).unwrap(), "onehalf and halfthird part");
}

#[test]
fn a_pattern_that_comes_later_sees_the_lines_from_then_on() {
    let bench = Bench::new();
    let (capture, mut out, _err) = bench.attach("api-0", false, Taps::default());
    let (tell, told) = std_mpsc::sync_channel(64);
    let pattern = tap::Pattern::new(|line| line == b"ready", move |stream, _| tell.send(stream).unwrap());
    capture.watch(pattern).unwrap();
    // Commands and bytes reach the pump on different ways; a finished attach says that both are through.
    let (marker, ..) = bench.attach("marker", false, Taps::default());
    bench.finish(&marker, PATIENCE);
    bench.write(&mut out, b"not\nrea");
    bench.write(&mut out, b"dy\n");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Stream::Out);
}

#[test]
fn a_stream_that_breaks_or_cannot_be_opened_is_told_and_ends() {
    let bench = Bench::new();
    let sources: Vec<(Stream, Source)> = vec![(Stream::Out, Box::new(|| Err(io::Error::other("no pipe"))))];
    let capture = bench.pump.attach("api-0", bench.policy(true), sources, Taps::default()).unwrap();
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    let event = bench.events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(event, PumpEvent::Stream { stream: Stream::Out, .. }), "{event:?}");
}

#[test]
fn a_stop_finishes_every_capture_and_later_commands_are_refused() {
    let bench = Bench::new();
    let (capture, mut out, _err) = bench.attach("api-0", true, Taps::default());
    bench.write(&mut out, b"last words");
    let stopped = bench.pump.stop(PATIENCE).unwrap();
    bench.runtime.block_on(async { tokio::time::timeout(PATIENCE, stopped).await.unwrap() });
    assert!(bench.text("api-0").ends_with("out+ last words\n"));
    assert_eq!(capture.finish(PATIENCE).err(), Some(PumpRefusal::Ended));
    let refused = bench.pump.attach("a/b", bench.policy(true), Vec::new(), Taps::default());
    assert!(matches!(refused.err(), Some(PumpRefusal::BadLabel(_))));
}

#[test]
fn a_pump_that_is_stuck_is_told_with_the_file_it_had_in_hand_and_one_that_goes_on_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (stuck, is_stuck) = std_mpsc::sync_channel(1);
    let (release, released) = std_mpsc::sync_channel::<()>(1);
    let pump = PumpHandle::start(DOORS, |_| {}).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stall = |limit: Duration| runtime.block_on(pump.stall(limit));
    assert_eq!(stall(PATIENCE), None);
    // A pattern that waits stands for a disk that does.
    let pattern = tap::Pattern::new(
        |line| line == b"now",
        move |_, _| {
            stuck.send(()).unwrap();
            released.recv().unwrap();
        },
    );
    let (mut out, reader) = tokio::io::duplex(1024);
    let taps = Taps { console: None, patterns: vec![pattern] };
    let policy = Policy { keep: 1, ..Policy::new(dir.path().to_owned(), Form::Raw) };
    let capture = pump.attach("api-0", Arc::new(policy), vec![(Stream::Out, source(reader))], taps).unwrap();
    let mut write = |bytes: &[u8]| runtime.block_on(out.write_all(bytes)).unwrap();
    write(b"first\n");
    let began = Instant::now();
    while capture.status().file.is_none() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    write(b"now\n");
    is_stuck.recv_timeout(PATIENCE).unwrap();
    let limit = Duration::from_millis(50);
    let first = stall(limit).unwrap();
    assert_eq!((first.label.as_deref(), first.file), (Some("api-0"), Some(dir.path().join("api-0.log"))));
    let again = stall(limit).unwrap();
    assert!(again.since > first.since && first.since >= limit, "{again:?}");
    release.send(()).unwrap();
    assert_eq!(stall(PATIENCE), None);
}

/// A disk that does not answer: whoever opens a file below a folder of this name waits until the gate is opened.
const HUNG: &str = "hung";
static GATE: (Mutex<bool>, std::sync::Condvar) = (Mutex::new(false), std::sync::Condvar::new());

const DOORS_WITH_A_HUNG_DISK: Doors = Doors {
    append: |path, access| {
        if path.components().any(|part| part.as_os_str() == HUNG) {
            drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
        }
        (DOORS.append)(path, access)
    },
    ..DOORS
};

#[test]
fn a_disk_that_does_not_answer_holds_up_the_programs_whose_logs_lie_on_it_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (hung_dir, other_dir) = (dir.path().join(HUNG), dir.path().join("other"));
    let pumps = Pumps::start(DOORS_WITH_A_HUNG_DISK, dir.path(), |_| (), |_| ()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let attach = |label: &str, dir: &std::path::Path, text: &[u8]| {
        let policy = Policy { keep: 3, ..Policy::new(dir.to_owned(), Form::Raw) };
        let (mut out, reader) = tokio::io::duplex(64 * 1024);
        runtime.block_on(out.write_all(text)).unwrap();
        pumps.attach(label, Arc::new(policy), vec![(Stream::Out, source(reader))], Taps::default()).unwrap()
    };
    let finish = |capture: &CaptureHandle| {
        let end = capture.finish(PATIENCE).unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await.unwrap() })
    };
    let hung = attach("hung-0", &hung_dir, b"waits\n");
    for (label, dir) in [("a-0", dir.path()), ("b-0", other_dir.as_path()), ("a-1", dir.path())] {
        assert_eq!(finish(&attach(label, dir, b"goes on\n")), CaptureEnd::Complete, "{label}");
        assert_eq!(std::fs::read_to_string(dir.join(format!("{label}.log"))).unwrap(), "goes on\n");
    }
    let stall = runtime.block_on(pumps.stall(Duration::from_millis(50))).unwrap();
    assert_eq!(stall.file, Some(hung_dir.join("hung-0.log")));
    pumps.rotate().unwrap();
    assert_eq!(hung.status().bytes, 0);

    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    assert_eq!(finish(&hung), CaptureEnd::Complete);
    assert_eq!(std::fs::read_to_string(hung_dir.join("hung-0.log")).unwrap(), "waits\n");
    assert_eq!(runtime.block_on(pumps.stall(PATIENCE)), None);
    runtime.block_on(pumps.stop(PATIENCE).unwrap());
}

#[test]
fn a_label_whose_folder_changes_stays_with_its_pump_until_its_capture_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let pumps = Pumps::start(DOORS, dir.path(), |_| (), |_| ()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let policy = |dir: &std::path::Path| Arc::new(Policy { keep: 3, ..Policy::new(dir.to_owned(), Form::Raw) });
    let (mut out, reader) = tokio::io::duplex(64 * 1024);
    let first = pumps.attach("a-0", policy(&before), vec![(Stream::Out, source(reader))], Taps::default()).unwrap();
    pumps.set_policy("a-0", policy(&after)).unwrap();
    let (mut again, reader) = tokio::io::duplex(64 * 1024);
    let second = pumps.attach("a-0", policy(&after), vec![(Stream::Out, source(reader))], Taps::default()).unwrap();
    runtime.block_on(async {
        out.write_all(b"one\n").await.unwrap();
        again.write_all(b"two\n").await.unwrap();
        drop((out, again));
        for capture in [&first, &second] {
            let end = tokio::time::timeout(PATIENCE, capture.finish(PATIENCE).unwrap()).await.unwrap();
            assert_eq!(end, CaptureEnd::Complete);
        }
    });
    // Both by one writer: it counts for both.
    assert_eq!((first.status().lines, second.status().lines), (2, 2));
    let mut lines: Vec<_> =
        std::fs::read_to_string(after.join("a-0.log")).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
    let (mut out, reader) = tokio::io::duplex(64 * 1024);
    let third = pumps.attach("a-0", policy(&after), vec![(Stream::Out, source(reader))], Taps::default()).unwrap();
    runtime.block_on(async {
        out.write_all(b"three\n").await.unwrap();
        drop(out);
        let end = tokio::time::timeout(PATIENCE, third.finish(PATIENCE).unwrap()).await.unwrap();
        assert_eq!(end, CaptureEnd::Complete);
    });
    // With the pump of its new folder, whose writer knows this line only.
    assert_eq!(third.status().lines, 1);
    assert_eq!(std::fs::read_to_string(after.join("a-0.log")).unwrap().lines().count(), 3);
}
