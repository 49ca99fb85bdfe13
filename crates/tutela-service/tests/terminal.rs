//! A service in a real terminal: Ctrl-C as a person types it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stage;

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, sync_channel};

/// Reads until `wanted` was there.
fn until(output: &Receiver<Vec<u8>>, seen: &mut String, wanted: &str) {
    while !seen.contains(wanted) {
        match output.recv_timeout(stage::BOUND) {
            Ok(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => panic!("no {wanted:?} ({error}) in:\n{seen}"),
        }
    }
}

#[test]
fn ctrl_c_stops_in_order_and_a_second_one_hurries() {
    // `script` gives this to a shell of its choice, and not every shell makes way for it by itself.
    let script = format!("exec '{}' ready status working wait hurried", stage::example("understudy").display());
    let mut terminal = stage::clean("script")
        .args(["-qefc", &script, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let (sender, output) = sync_channel(64);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            if sender.send(bytes[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut seen = String::new();
    until(&output, &mut seen, "understudy: ready after ");
    until(&output, &mut seen, "understudy: working");
    keys.write_all(b"\x03").unwrap();
    until(&output, &mut seen, "stopping: asked by Ctrl-C");
    keys.write_all(b"\x03").unwrap();
    until(&output, &mut seen, "hurrying: 2s left; once more to end at once");
    until(&output, &mut seen, "understudy: stopped");
    assert!(terminal.wait().unwrap().success());
}

#[test]
fn the_verbs_of_an_example_answer_without_running_it() {
    let run = |words: &[&str]| stage::clean(stage::example("minimal")).args(words).output().unwrap();
    let help = run(&["help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.starts_with("minimal: Counts its turns\n") && text.contains("uninstall"), "{text}");
    let wrong = run(&["instal"]);
    assert_eq!(wrong.status.code(), Some(2));
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(text, "refused: `instal` is no verb of minimal; did you mean `install`?\n");
}
