//! What a guard says over its socket: HTTP/1.1 written and read by hand, so that the rig's own work is next to none.

use crate::arena::now;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An answer later than this counts as none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds the socket of guard `name` below its `home`; waits up to ten seconds for it.
///
/// # Errors
/// There is none.
pub fn find(home: &Path, name: &str) -> Result<PathBuf> {
    let wanted = format!("{name}.sock");
    let begun = now();
    loop {
        if let Some(found) = below(home, &wanted) {
            return Ok(found);
        }
        if now() - begun > 10_000_000_000 {
            bail!("no {wanted} below {}", home.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn below(folder: &Path, wanted: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        if entry.file_name() == wanted {
            return Some(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Some(found) = below(&entry.path(), wanted)
        {
            return Some(found);
        }
    }
    None
}

/// Asks for `path` over a fresh connection; the status and the body.
///
/// # Errors
/// No connection, or no answer in HTTP.
pub fn get(socket: &Path, path: &str) -> Result<(u16, Vec<u8>)> {
    request(socket, "GET", path, "")
}

/// Asks that everything be stopped, and waits until it is.
///
/// # Errors
/// The guard refuses or is gone.
pub fn stop(socket: &Path) -> Result<()> {
    match request(socket, "POST", STOP_PATH, STOP_BODY)? {
        (200..=299, _) => Ok(()),
        (status, body) => bail!("POST {STOP_PATH} was answered {status}: {}", String::from_utf8_lossy(&body)),
    }
}

/// What `tutela stop NAME` asks for.
const STOP_PATH: &str = "/v1/stop";
const STOP_BODY: &str = "";

fn request(socket: &Path, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: tutela\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("no answer")?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an answer without an end of its head")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("an answer without a status")?;
    Ok((status, answer.split_off(end + 4)))
}
