//! The machine, and the versions of everything that is compared.

use crate::kernel;
use crate::options::Options;
use crate::subject::Subject;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

/// The time in UTC, by `date`'s pattern.
pub fn date(pattern: &str) -> String {
    said(Command::new("date").args(["-u", &format!("+{pattern}")]))
}

/// What a run is about, for the first line of its file.
///
/// # Errors
/// None yet; a fact that cannot be had is empty.
pub fn gather(options: &Options) -> Result<Value> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let total = memory.lines().next().and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    let realtime = options.realtime && kernel::schedule(true);
    kernel::schedule(false);
    let versions: serde_json::Map<String, Value> = options
        .subjects
        .iter()
        .filter(|subject| subject.is_peer() || **subject == Subject::Tutela)
        .map(|subject| (subject.word().to_owned(), Value::from(version(*subject, options))))
        .collect();
    Ok(json!({
        "date": date("%Y-%m-%d %H:%M UTC"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "processor": model.trim_start_matches(['\t', ' ', ':']),
        "memory_gib": total.map_or(0, |kib| kib.div_ceil(1 << 20)),
        "kernel": format!("{} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")),
        "scheduling": if realtime { "SCHED_RR" } else { "SCHED_OTHER" },
        "root": rustix::process::geteuid().is_root(),
        "quick": options.quick,
        "rounds": options.dose.rounds,
        "fleet": options.dose.fleet,
        "survivors": options.dose.survivors,
        "crowd": options.dose.crowd,
        "idle_s": options.dose.idle.as_secs(),
        "lines": options.dose.lines,
        "load_s": options.dose.load.as_secs(),
        "versions": versions,
    }))
}

fn version(subject: Subject, options: &Options) -> String {
    let package = |name: &str| said(Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]));
    let python = |name: &str| {
        let text = said(Command::new(options.peers.join("py/bin/pip")).args(["show", name]));
        text.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default().to_owned()
    };
    match subject {
        Subject::Floor | Subject::FloorShell => String::new(),
        Subject::Tutela => said(Command::new(&options.tutela).arg("--version")),
        Subject::Runit => package("runit"),
        Subject::Multilog => format!("{} (daemontools)", package("daemontools")),
        Subject::S6 => package("s6"),
        Subject::Supervisord => python("supervisor"),
        Subject::Circus => python("circus"),
        Subject::Pm2 => {
            let told = fs::read_to_string(options.peers.join("node/node_modules/pm2/package.json")).unwrap_or_default();
            let package: Value = serde_json::from_str(&told).unwrap_or_default();
            let own = package.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("{own} (node {})", said(Command::new("node").arg("--version")))
        }
    }
}

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
