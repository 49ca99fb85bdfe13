//! Asks cargo-deny about the dependencies. The rules are in `deny.toml`.
//!
//! Licences, bans and sources need nothing but the lock file. Advisories need a database that lives elsewhere;
//! a machine that cannot reach it still gets the rest checked, and the table says which it was. A silent pass
//! would be a lie, a failure would make every offline run red.

use crate::cargo::{cargo, need_subcommand, run};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The database is 15 MB; a network that needs longer than this counts as none.
const FETCH_AT_MOST: Duration = Duration::from_secs(90);

/// Licences, bans and sources always; advisories where their database can be had.
pub fn step(root: &Path) -> Result<String> {
    need_subcommand(root, "deny")?;
    run(cargo(root).args(["deny", "--workspace", "--locked", "check", "licenses", "bans", "sources"]))?;
    if let Err(reason) = fetch_advisories(root) {
        println!("advisories: NOT CHECKED, {reason:#}");
        return Ok("advisories: not reachable, not checked".to_owned());
    }
    run(cargo(root).args(["deny", "--workspace", "--locked", "check", "--disable-fetch", "advisories"]))?;
    println!("advisories: checked");
    Ok("advisories: checked".to_owned())
}

fn fetch_advisories(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["deny", "fetch", "db"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().context("failed to start cargo-deny")?;
    wait_at_most(child, FETCH_AT_MOST)
}

/// Waits for a child whose standard error is a pipe; ends it when it takes longer than `limit`.
fn wait_at_most(mut child: Child, limit: Duration) -> Result<()> {
    let mut stderr = child.stderr.take().context("the child's standard error is no pipe")?;
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        // What could not be read is only missing from a message.
        let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
        text
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("no answer within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(());
    }
    let text = said.join().unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    anyhow::bail!("{}", last.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::process::Command;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_fetch_that_hangs_is_ended() {
        let answer = wait_at_most(shell("exec sleep 600"), Duration::from_millis(200));
        assert_eq!(answer.unwrap_err().to_string(), "no answer within 0 s");
    }

    #[test]
    fn a_fetch_that_fails_says_why() {
        let answer = wait_at_most(shell("echo no route >&2; echo >&2; exit 1"), Duration::from_secs(60));
        assert_eq!(answer.unwrap_err().to_string(), "no route");
    }
}
