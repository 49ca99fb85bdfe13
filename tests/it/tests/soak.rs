//! A day of output in a minute: thousands of rotations with all that follows them, and the guard stays as it was.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::time::Duration;
use tutela_it::{BOUND, Container, Stage, faults, http, processes, wait_until};

/// As long as a slow, busy computer may take for all of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Files of each service until the guard has everything that it will ever need, and until the end: one a minute for a
/// day.
const WARM: u64 = 150;
const DAY: u64 = 1440;

/// What a file has of the program at least: rotation is at the first line behind it, in a form that is no shorter.
const FILE_BYTES: u64 = 16 * 1024;

/// What an allocator may keep for itself, and what a sample of the resident pages is out by.
const SLACK_BYTES: u64 = 6 * 1024 * 1024;

/// How many moments are looked at for what stays, and how far apart: four seconds of a flood.
const MOMENTS: usize = 800;
const BETWEEN_MOMENTS: Duration = Duration::from_millis(5);

/// Each service, and how its output is kept.
const SERVICES: [(&str, &str); 4] = [
    ("raw", "timestamps = false, compress = \"gzip\""),
    ("stamped", "compress = \"zstd\""),
    ("timed", "rotate_every = \"1s\""),
    ("records", "format = \"json\", compress = \"zstd\""),
];

fn services() -> String {
    let one = |(name, keys): &(&str, &str)| {
        format!(
            "[services.{name}]\ncommand = [\"understudy\", \"flood\"]\n\
             logs = {{ rotate_size = \"16KiB\", keep = 5, {keys} }}\n"
        )
    };
    SERVICES.iter().map(one).collect()
}

/// The bytes that the guard has kept of the service of which it has kept least.
fn least_kept(stage: &Stage) -> u64 {
    let text = http::ask(&stage.socket(), "GET", "/metrics").unwrap().text();
    let kept: HashMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("tutela_log_bytes_total{")?.rsplit_once(' ')?;
            let service = name.split_once("service=\"")?.1.split_once('"')?.0;
            Some((service, value.parse::<f64>().ok()? as u64))
        })
        .collect();
    SERVICES.iter().map(|(name, _)| kept.get(name).copied().unwrap_or(0)).min().unwrap()
}

/// The bytes of memory and the descriptors that stay: the least of each among so many moments that each kind of work was
/// seen not to be under way. Four services that flood always have some file open that is being written, compressed or put
/// away, and which of them are open together changes within milliseconds, as does the memory that this takes; what is never
/// given back is there at each moment.
fn what_stays(pid: u32) -> (u64, usize) {
    let moment = |_| {
        std::thread::sleep(BETWEEN_MOMENTS);
        (processes::memory(pid), faults::descriptors(pid))
    };
    let least = |least: (u64, usize), seen: (u64, usize)| (least.0.min(seen.0), least.1.min(seen.1));
    (0..MOMENTS).map(moment).reduce(least).unwrap()
}

#[test]
fn a_days_rotations_cost_neither_memory_nor_descriptors() {
    let stage = Stage::new();
    let spec = stage.write_spec(&services());
    let guard = stage.start_with(Container::ControlGroup, |command| {
        command.arg("--quiet").arg(spec);
    });
    let sample = |files: u64| {
        wait_until(PATIENCE, &format!("{files} files of each service were written"), || {
            (least_kept(&guard) >= files * FILE_BYTES).then_some(())
        });
        what_stays(guard.pid())
    };
    let (memory, files) = sample(WARM);
    let (memory_after, files_after) = sample(DAY);
    assert!(
        memory_after <= memory + SLACK_BYTES,
        "{memory} bytes of memory after {WARM} files, {memory_after} after {DAY}"
    );
    assert!(files_after <= files + 2, "{files} descriptors after {WARM} files, {files_after} after {DAY}");

    // Each with an index beside it, and one that is just being compressed. What is put away is behind what is written for a
    // moment at a time only.
    wait_until(BOUND, "no more files are kept than the spec says", || {
        let names = std::fs::read_dir(guard.log_dir()).unwrap().flatten().map(|entry| entry.file_name());
        let logs = names.filter(|name| name.to_string_lossy().contains(".log")).count();
        (logs <= SERVICES.len() * 2 * 8).then_some(())
    });
}
