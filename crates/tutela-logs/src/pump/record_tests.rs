//! The pump with records, joined lines and masks; and policies that change while lines are held.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::tests::{Bench, PATIENCE};
use super::*;
use crate::doors::tests::DOORS;
use crate::policy::Form;
use crate::read::{LogReader, Origin, tail};
use crate::record::join::{Multiline, Rule};
use crate::record::redact::Redactor;
use crate::record::{Author, Host};
use crate::tap::{self, Pattern};
use std::time::Instant;
use tutela_core::level::Level;

fn author() -> Author {
    let host = Arc::new(Host::new("web1", Some([192, 0, 2, 7].into())));
    Author { guard: Arc::from("shop"), service: Arc::from("api"), instance: 0, host }
}

fn json(bench: &Bench) -> Policy {
    Policy { keep: 3, author: author(), ..Policy::new(bench.dir.path().to_owned(), Form::Json) }
}

fn joining(wait: Duration) -> Option<Arc<Multiline>> {
    let rule = Rule::Continue(regex::bytes::Regex::new(r"^\s").unwrap());
    Some(Arc::new(Multiline::new(rule, wait, 500)))
}

fn masking(secrets: &[&str], patterns: &[&str]) -> Arc<Redactor> {
    let patterns: Vec<_> = patterns.iter().map(|it| (*it).to_owned()).collect();
    Arc::new(Redactor::new(secrets.iter().copied(), &patterns).unwrap())
}

fn reader(bench: &Bench) -> LogReader {
    tail(DOORS, bench.dir.path(), "api-0", 1000).unwrap()
}

fn texts(bench: &Bench) -> Vec<String> {
    reader(bench).map(|entry| String::from_utf8(entry.unwrap().text).unwrap()).collect()
}

/// Until the files have this many lines.
fn wait_for(bench: &Bench, lines: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let found = texts(bench);
        if found.len() >= lines {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_in_json_has_a_record_a_line_and_reads_back_as_lines() {
    let bench = Bench::new();
    let (capture, mut out, mut err) = bench.attach_as("api-0", Arc::new(json(&bench)), Taps::default());
    bench.write(&mut out, b"{\"level\":\"warn\",\"msg\":\"slow\",\"ms\":12}\n");
    wait_for(&bench, 1);
    bench.write(&mut err, b"ERROR no disk\r\n");
    wait_for(&bench, 2);
    bench.write(&mut err, b"no newline");
    drop((out, err));
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    let lines = bench.text("api-0");
    let values: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 3);
    for value in &values {
        assert_eq!((&value["service_name"], &value["instance"]), (&"api".into(), &"0".into()));
        assert_eq!((&value["host"], &value["host_ip"]), (&"web1".into(), &"192.0.2.7".into()));
    }
    assert_eq!(
        (&values[0]["level"], &values[0]["message"], &values[0]["ms"]),
        (&"warn".into(), &"slow".into(), &12.into())
    );
    assert_eq!((&values[1]["level"], &values[1]["message"]), (&"error".into(), &"ERROR no disk\r".into()));
    assert_eq!((&values[2]["partial"], values[1].get("partial")), (&true.into(), None));
    let entries: Vec<_> = reader(&bench).map(Result::unwrap).collect();
    assert_eq!((&entries[0].text[..], entries[0].origin), (&b"slow ms=12"[..], Origin::Stream(Stream::Out)));
    assert_eq!(entries[0].parts.as_ref().unwrap().level, Some(Level::Warn));
    assert_eq!((entries[2].ended, entries[2].origin), (false, Origin::Stream(Stream::Err)));
    assert!(entries[0].at.unwrap() <= entries[1].at.unwrap());
    assert_eq!((capture.status().lines, capture.status().dropped_lines), (2, 0));
    assert_eq!(capture.status().bytes, 38 + 15 + 10);
}

#[test]
fn a_stack_trace_is_one_record_per_stream_and_goes_when_nothing_comes() {
    let bench = Bench::new();
    let policy = Policy { multiline: joining(Duration::from_millis(50)), ..json(&bench) };
    let (capture, mut out, mut err) = bench.attach_as("api-0", Arc::new(policy), Taps::default());
    bench.write(&mut out, b"boom\n  at a\n  at b\n");
    // Nothing else comes, and it is there all the same.
    assert_eq!(wait_for(&bench, 1), ["boom\n  at a\n  at b"]);
    bench.write(&mut err, b"last\n  line");
    drop((out, err));
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    assert_eq!(texts(&bench)[1], "last\n  line");
    assert_eq!(capture.status().lines, 4);
}

#[test]
fn a_form_that_changes_rotates_and_what_is_held_for_joining_is_not_lost() {
    let bench = Bench::new();
    let with_json = Arc::new(Policy { multiline: joining(Duration::from_secs(3600)), ..json(&bench) });
    let (capture, mut out, err) = bench.attach_as("api-0", with_json.clone(), Taps::default());
    bench.write(&mut out, b"one\ntwo\n more\n");
    wait_for(&bench, 1);
    bench.pump.set_policy("api-0", bench.policy(true)).unwrap();
    bench.write(&mut out, b"three\n");
    wait_for(&bench, 4);
    bench.pump.set_policy("api-0", with_json).unwrap();
    bench.write(&mut out, b"four\n");
    drop((out, err));
    assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
    assert_eq!(texts(&bench), ["one", "two", " more", "three", "four"]);
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().filter(is_log).count(), 3);
}

fn is_log(entry: &io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".log")
}

#[test]
fn secrets_are_masked_in_files_of_every_form_and_on_the_console_but_not_for_log_patterns() {
    for form in [Form::Raw, Form::Stamped, Form::Json] {
        let bench = Bench::new();
        let mask = masking(&["hunter2!"], &["card=([0-9]+)"]);
        let policy = Policy { mask, ..Policy::new(bench.dir.path().to_owned(), form) };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let pattern = Pattern::new(|line| line.ends_with(b"hunter2! now"), move |_, _| tell.send(()).unwrap());
        let (console, mut shown) = tap::console();
        let taps = Taps { console: Some(console), patterns: vec![pattern] };
        let (capture, mut out, err) = bench.attach_as("api-0", Arc::new(policy), taps);
        // The secret lies across two chunks.
        bench.write(&mut out, b"login hunt");
        bench.write(&mut out, b"er2! now\ncard=4111 hunter2!");
        drop((out, err));
        assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
        assert!(!bench.text("api-0").contains("hunter2!"));
        assert_eq!(texts(&bench), ["login *** now", "card=*** ***"], "{form:?}");
        assert_eq!(told.try_recv(), Ok(()));
        let shown = shown.wait(PATIENCE).unwrap();
        let shown: Vec<_> = shown.lines.iter().map(|line| String::from_utf8_lossy(&line.bytes)).collect();
        assert_eq!(shown, ["login *** now", "card=*** ***"]);
    }
}

#[test]
fn a_secret_that_changes_is_masked_from_the_next_line_on_and_no_byte_is_lost() {
    for form in [Form::Raw, Form::Stamped] {
        let bench = Bench::new();
        let plain = Policy::new(bench.dir.path().to_owned(), form);
        let masked = |secret: &str| Arc::new(Policy { mask: masking(&[secret], &[]), ..plain.clone() });
        let (capture, mut out, err) = bench.attach_as("api-0", masked("secret-1"), Taps::default());
        bench.write(&mut out, b"secret-1 secret-2\n");
        wait_for(&bench, 1);
        bench.pump.set_policy("api-0", masked("secret-2")).unwrap();
        bench.write(&mut out, b"secret-1 secret-2\nhalf");
        wait_for(&bench, 2);
        bench.pump.set_policy("api-0", Arc::new(plain.clone())).unwrap();
        bench.write(&mut out, b" secret-2\n");
        drop((out, err));
        assert_eq!(bench.finish(&capture, PATIENCE), CaptureEnd::Complete);
        assert_eq!(texts(&bench), ["*** secret-2", "secret-1 ***", "half secret-2"], "{form:?}");
    }
}
