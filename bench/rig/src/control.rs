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

/// The value below which `share` of what the first histogram with `word` in its name counted lies, in its unit, at the
/// upper bound of a bucket; all label sets added up. `None`: there is no such histogram, or it is empty.
pub fn histogram_percentile(metrics: &str, word: &str, share: f64) -> Option<f64> {
    let name = metrics.lines().find_map(|line| {
        let (name, _) = line.split_once("_bucket{")?;
        name.contains(word).then_some(name)
    })?;
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_bucket{")) else { continue };
        let bound = rest.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        let counted: f64 = rest.rsplit_once("} ")?.1.split(' ').next()?.parse().ok()?;
        match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
            Some((_, sum)) => *sum += counted,
            None => buckets.push((bound, counted)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last().map(|(_, counted)| *counted).filter(|all| *all > 0.0)?;
    buckets.iter().find(|(_, counted)| *counted >= share * all).map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_of_a_histogram_adds_up_its_label_sets() {
        let metrics = "x_probe_seconds_bucket{le=\"0.001\",service=\"a\"} 90\n\
                       x_probe_seconds_bucket{le=\"0.01\",service=\"a\"} 100\n\
                       x_probe_seconds_bucket{le=\"+Inf\",service=\"a\"} 100\n\
                       x_probe_seconds_bucket{le=\"0.001\",service=\"b\"} 100\n\
                       x_probe_seconds_bucket{le=\"0.01\",service=\"b\"} 100\n\
                       x_probe_seconds_bucket{le=\"+Inf\",service=\"b\"} 100\n";
        assert_eq!(histogram_percentile(metrics, "probe", 0.5), Some(0.001));
        assert_eq!(histogram_percentile(metrics, "probe", 0.99), Some(0.01));
        assert_eq!(histogram_percentile(metrics, "other", 0.5), None);
    }
}
