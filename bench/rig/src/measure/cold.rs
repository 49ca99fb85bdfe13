//! How large the one binary is, how soon it says something, and how soon a guard says that it is ready.
//!
//! `tutela --version` beside a C program that prints a line. And a guard of one program that says `READY=1` as its first
//! act: the time from its start to the guard's own `READY=1`, less the time that the same program takes when the rig
//! starts it.

use crate::arena::now;
use crate::figures::{median, ms, percentile};
use crate::options::Options;
use crate::stage::clear;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts a round: enough for a median that stands, a second or two in all.
const STARTS: u32 = 200;

/// Guards a round.
const GUARDS: u32 = 20;

/// Who is not ready after that has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// One line for the C program, one for ours.
pub(super) fn once(options: &Options) -> Vec<(String, Result<Value>)> {
    let both = [("floor", options.beside("hello")), ("tutela", options.tutela.clone())];
    let mut took: [Vec<f64>; 2] = Default::default();
    let mut failed: [Option<anyhow::Error>; 2] = Default::default();
    // One after the other, so that both meet the same moods of the machine.
    for _ in 0..STARTS {
        for (index, (_, program)) in both.iter().enumerate() {
            match first_words(program) {
                Ok(time) => took[index].push(time),
                Err(error) => failed[index] = Some(error),
            }
        }
    }
    let mut found = Vec::new();
    for (index, (name, program)) in both.iter().enumerate() {
        let values = match failed[index].take() {
            Some(error) => Err(error),
            None => figures(&took[index], program, if *name == "tutela" { Some(options) } else { None }),
        };
        found.push(((*name).to_owned(), values));
    }
    found
}

fn figures(took: &[f64], program: &Path, guard: Option<&Options>) -> Result<Value> {
    let bytes = std::fs::metadata(program).with_context(|| format!("cannot see {}", program.display()))?.len();
    let mut values = json!({
        "p50_ms": percentile(took, 0.5),
        "p99_ms": percentile(took, 0.99),
        "size_mib": bytes as f64 / f64::from(1 << 20),
    });
    if let Some(options) = guard {
        let (ours, alone) = readiness(options)?;
        values["ready_ms"] = Value::from(ours);
        values["ready_alone_ms"] = Value::from(alone);
        values["ready_over_ms"] = Value::from(ours - alone);
    }
    Ok(values)
}

/// Milliseconds from the start of `program --version` to its end.
fn first_words(program: &Path) -> Result<f64> {
    let begun = now();
    let status = Command::new(program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    let took = now() - begun;
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "{} ended with {status}", program.display());
    Ok(ms(took))
}

/// Medians of milliseconds from a start to `READY=1`: of a guard, and of its program alone.
fn readiness(options: &Options) -> Result<(f64, f64)> {
    let arena = crate::arena::Arena::new()?;
    let folder = arena.folder();
    let ear = UnixDatagram::bind(folder.join("ear")).context("cannot listen for READY=1")?;
    ear.set_read_timeout(Some(PATIENCE))?;
    let program = options.beside("ready");
    let spec = folder.join("cold.toml");
    std::fs::write(
        &spec,
        format!("name = \"cold\"\n[services.only]\ncommand = [{:?}]\nready = {{ notify = true }}\n", program.display()),
    )?;
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..GUARDS {
        alone.push(until_ready(&ear, folder, Command::new(&program))?);
        let mut guard = Command::new(&options.tutela);
        guard.arg("run").arg(&spec).env("TUTELA_HOME", folder.join("home"));
        ours.push(until_ready(&ear, folder, guard)?);
    }
    Ok((median(&ours), median(&alone)))
}

fn until_ready(ear: &UnixDatagram, folder: &Path, mut command: Command) -> Result<f64> {
    command.env("NOTIFY_SOCKET", folder.join("ear")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = now();
    let mut child = command.spawn().context("cannot start what is to be ready")?;
    let mut text = [0_u8; 4096];
    let took = loop {
        let Ok(length) = ear.recv(&mut text) else { bail!("nobody said READY=1 within {PATIENCE:?}") };
        if text[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            break ms(now() - begun);
        }
    };
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)?;
    child.wait()?;
    clear()?;
    // What it said while it ended is not the next one's.
    ear.set_nonblocking(true)?;
    while ear.recv(&mut text).is_ok() {}
    ear.set_nonblocking(false)?;
    Ok(took)
}
