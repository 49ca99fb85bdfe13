//! Runs Windows programs under Wine: what `tests/beds/wine PROGRAM ARGS…` does.
//!
//! Each run gets a prefix as fresh as on the first day, and nothing of a run is left. With a name, a prefix and the
//! processes in it stay from run to run, until the process that called first ends: so a test can create a service in
//! one run, start it in the next, and look at it in a third.
//!
//! A Windows program's output goes through files: with no terminal, Wine loses what is written to a pipe, and a program
//! may panic over that. So it is seen when the program has ended.
//!
//! | variable | meaning |
//! |---|---|
//! | `BED` | the name of a prefix that stays; letters, digits and dashes |
//! | `T` | seconds that the program may take |
//! | `DIR` | its folder; the current one unless given |
//! | `WENV` | variables for it besides the caller's own, `A=b C=d` |
//! | `TUTELA_WINE_OWNER` | the process whose end ends the named prefix; the caller unless given |

use crate::make::PREFIX;
use crate::place::Place;
use crate::room::{Kind, Room, enter, wait_for};
use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io::Seek as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Seconds that a program may take unless told: a whole test binary, on two slow cores.
const SECONDS: &str = "900";

/// How long a named prefix may take to open.
const OPENING: Duration = Duration::from_secs(60);

/// The exit code of `timeout` for a program that it had to end.
const OUT_OF_TIME: i32 = 124;

/// Variables that are Wine's own business, or that would mislead a program in another root folder.
const NOT_PASSED_ON: [&str; 9] =
    ["PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"];

/// What Wine needs to know, as words for `env`.
pub fn environment(prefix: &str) -> Vec<OsString> {
    let own = [
        "PATH=/usr/lib/wine:/usr/bin:/bin".to_owned(),
        "HOME=/root".to_owned(),
        // Names of files are UTF-8, which Wine takes from the locale.
        "LC_ALL=C.UTF-8".to_owned(),
        format!("WINEPREFIX={prefix}"),
        "XDG_RUNTIME_DIR=/run/wine".to_owned(),
        "WINEDLLOVERRIDES=mscoree,mshtml=".to_owned(),
    ];
    let debug = std::env::var_os("WINEDEBUG").unwrap_or_else(|| "-all".into());
    let mut words: Vec<OsString> = own.map(OsString::from).into();
    let mut word = OsString::from("WINEDEBUG=");
    word.push(debug);
    words.push(word);
    words
}

/// Runs a program to its end, shows its output, and answers with its exit code.
///
/// # Errors
/// The bed can not be made or opened. What the program itself does is no error.
pub fn run(place: &Place, words: &[OsString]) -> Result<i32> {
    ensure!(!words.is_empty(), "refused: no program; usage: wine PROGRAM ARGS…");
    crate::make::ensure(place, Kind::Wine)?;
    let mut room = None;
    let first = match std::env::var("BED") {
        Ok(name) if !name.is_empty() => named(place, &name)?,
        _ => room.insert(Room::open(place, Kind::Wine)?).first(),
    };
    run_in(place, first, words)
}

fn run_in(place: &Place, first: u32, words: &[OsString]) -> Result<i32> {
    let seconds = std::env::var("T").unwrap_or_else(|_| SECONDS.to_owned());
    let folder = std::env::var_os("DIR").map_or_else(std::env::current_dir, |folder| Ok(PathBuf::from(folder)));
    let mut command = enter(first);
    command.arg("chroot").arg(place.mount_point().join("root")).args(["/usr/bin/env", "-i"]);
    command.arg("-C").arg(folder.context("failed to find the current folder")?);
    command.args(passed_on()).args(environment(PREFIX)).args(["timeout", "--kill-after=5", &seconds]);
    // Wine's own tools are Linux programs, and everything else is for Wine to find.
    if !matches!(words[0].to_str(), Some("wineserver" | "wineboot")) {
        command.arg("wine");
    }
    command.args(words);

    let mut output = tempfile::tempfile().context("failed to make a file for the output")?;
    let mut errors = tempfile::tempfile().context("failed to make a file for the errors")?;
    let (to_output, to_errors) = (output.try_clone()?, errors.try_clone()?);
    let status = command.stdin(Stdio::null()).stdout(to_output).stderr(to_errors).status();
    let status = status.context("failed to start nsenter")?;

    output.rewind()?;
    errors.rewind()?;
    // Who calls may close either of them early; the exit code is still what was asked for.
    let _ = std::io::copy(&mut output, &mut std::io::stdout());
    let _ = std::io::copy(&mut errors, &mut std::io::stderr());
    let code = status.code().unwrap_or(1);
    if code == OUT_OF_TIME {
        eprintln!("ended after {seconds} s: {}", words[0].to_string_lossy());
    }
    Ok(code)
}

/// The caller's variables as words for `env`, then those that are named.
fn passed_on() -> Vec<OsString> {
    let kept = |name: &OsStr| {
        let name = name.to_string_lossy();
        !NOT_PASSED_ON.contains(&&*name) && !name.starts_with("WINE") && !["BED", "T", "DIR", "WENV"].contains(&&*name)
    };
    let caller = std::env::vars_os().filter(|(name, _)| kept(name)).map(|(name, value)| {
        let mut word = name;
        word.push("=");
        word.push(value);
        word
    });
    let named = std::env::var("WENV").unwrap_or_default();
    caller.chain(named.split_whitespace().map(OsString::from)).collect()
}

/// The first process of the room with this name, which is opened unless it is there.
fn named(place: &Place, name: &str) -> Result<u32> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(plain, "refused: `{name}` as the name of a prefix; it may have letters, digits and dashes");
    let file = place.run().join(format!("wine-{name}"));
    let lock = std::fs::File::create(file.with_extension("lock")).context("failed to make a lock")?;
    lock.lock().context("failed to lock a named prefix")?;
    if let Some(first) = living(&file) {
        return Ok(first);
    }
    let _ = std::fs::remove_file(&file);
    let owner = std::env::var("TUTELA_WINE_OWNER").unwrap_or_else(|_| std::os::unix::process::parent_id().to_string());
    let keeper = std::env::current_exe().context("failed to find this program")?;
    Command::new("setsid")
        .arg("--fork")
        .arg(keeper)
        .args(["keep", name, &owner])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("failed to start setsid")?;
    wait_for(OPENING, || living(&file)).with_context(|| format!("failed to open the prefix {name}"))
}

/// What a named room's file says, if that is still true.
fn living(file: &std::path::Path) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    let (first, space) = text.trim().split_once(' ')?;
    // A number may have gone to another process; that one lives in other namespaces.
    let now = std::fs::read_link(format!("/proc/{first}/ns/mnt")).ok()?;
    (now.to_str() == Some(space)).then(|| first.parse().ok())?
}

/// Keeps the room of a name open until its owner ends: `beds keep NAME OWNER`.
///
/// # Errors
/// There is no such owner, or the room can not be opened.
pub fn keep(place: &Place, name: &str, owner: &str) -> Result<()> {
    let number: i32 = owner.parse().with_context(|| format!("`{owner}` is no process number"))?;
    let owner = Pid::from_raw(number).with_context(|| format!("`{number}` is no process number"))?;
    let owner = pidfd_open(owner, PidfdFlags::empty()).context("failed to look at the owner")?;
    let room = Room::open(place, Kind::Wine)?;
    let space = std::fs::read_link(format!("/proc/{}/ns/mnt", room.first())).context("failed to look at the room")?;
    let file = place.run().join(format!("wine-{name}"));
    let unfinished = file.with_extension("new");
    std::fs::write(&unfinished, format!("{} {}\n", room.first(), space.display()))?;
    std::fs::rename(&unfinished, &file).context("failed to tell of the room")?;
    let mut waiting = [PollFd::new(&owner, PollFlags::IN)];
    while poll(&mut waiting, None).is_err() {}
    let _ = std::fs::remove_file(&file);
    drop(room);
    Ok(())
}
