//! What NSSM does after an end, how it stops a program, and what it does with log files.

use super::super::Work;
use super::super::draft::{Service, Step, Way};
use super::super::reg::Key;
use super::super::source::Source;
use super::{Numbers, STOP_WAIT, THROTTLE, THROTTLE_MAX};
use std::time::Duration;

/// What happens after an end.
pub(super) fn restart(work: &mut Work<'_>, it: &mut Service, source: &Source, exits: Option<&Key>, numbers: &Numbers) {
    let report = &mut work.report;
    let mut default = None;
    let mut ends = Vec::new();
    let mut restarts = false;
    let mut told = Vec::new();
    for value in exits.into_iter().flat_map(|key| &key.values) {
        let action = value.data.text().unwrap_or_default().to_ascii_lowercase();
        let shown = format!("AppExit\\{}", if value.name.is_empty() { "(default)" } else { &value.name });
        let entry = report.entry(&source.shown, value.line, &it.name, &shown, &action);
        match (value.name.as_str(), value.name.parse::<i64>()) {
            ("" | "Default", _) => default = Some(action.clone()),
            (_, Ok(_)) if action == "restart" => restarts = true,
            (_, Ok(code)) => ends.push(code),
            _ => {}
        }
        told.push((entry, action));
    }
    let default = default.unwrap_or_else(|| {
        report.note(format!("{}: NSSM restarts a program after every end where AppExit is missing", it.name));
        "restart".to_owned()
    });
    let (when, codes) = match (default.as_str(), ends.is_empty()) {
        ("restart", true) => ("always", None),
        ("restart", false) => ("on-failure", Some(ends)),
        (_, _) if restarts => ("on-failure", None),
        (_, _) => ("never", None),
    };
    it.restart.when = Some(when);
    it.restart.success_codes = codes;
    for (entry, action) in told {
        let to = if it.restart.success_codes.is_some() { "restart.success_codes" } else { "restart.when" };
        match action.as_str() {
            "restart" if default == "restart" => report.kept(&entry, "restart.when"),
            "restart" => report.changed(
                &entry,
                "restart.when",
                "every code but 0 restarts it: codes that do are not listed one by one",
            ),
            "exit" => report.kept(&entry, to),
            "ignore" => report.changed(
                &entry,
                to,
                "the service shows that its program has ended, where NSSM showed it as running",
            ),
            "suicide" => {
                report.changed(&entry, to, "the guard goes on without the program, where nssm.exe ended itself")
            }
            _ => report.lost(&entry, "it is none of Restart, Ignore, Exit and Suicide"),
        }
    }
    let throttle = numbers.get("AppThrottle");
    let delay = numbers.get("AppRestartDelay").unwrap_or(0);
    if let Some(entry) = numbers.entry("AppRestartDelay") {
        match delay {
            1000.. => report.kept(entry, "restart.delay"),
            _ => report.changed(entry, "restart.delay", "the first wait is at least a second"),
        }
    }
    if when == "never" {
        if let Some(entry) = numbers.entry("AppThrottle") {
            report.lost(entry, "it is never restarted");
        }
        return;
    }
    it.restart.delay = Some(Duration::from_millis(delay.max(1000)));
    it.restart.max_delay = Some(THROTTLE_MAX.max(Duration::from_millis(delay)));
    it.restart.reset_after = Some(Duration::from_millis(throttle.unwrap_or(THROTTLE).max(1)));
    it.restart.burst = Some(0);
    report.note("NSSM never gives up: burst = 0; a burst with a cool-down would tell of crash loops and wait longer");
    if let Some(entry) = numbers.entry("AppThrottle") {
        let how = "a run this long clears the wait; shorter ones wait from the first delay on, doubling up to 256 s as in NSSM";
        report.changed(entry, "restart.reset_after", how);
    }
}

/// The ways of stopping. 1, 2, 4 and 8 in `AppStopMethodSkip` leave out Ctrl-C, windows, threads and the end by force.
pub(super) fn stop(work: &mut Work<'_>, it: &mut Service, numbers: &Numbers) {
    let report = &mut work.report;
    let skip = numbers.get("AppStopMethodSkip").unwrap_or(0);
    let wait = |name: &str| Duration::from_millis(numbers.get(name).unwrap_or(STOP_WAIT));
    if skip & 1 == 0 {
        it.ladder.push(Step { way: Way::CtrlC, wait: Some(wait("AppStopMethodConsole")) });
    }
    if skip & 2 == 0 {
        it.ladder.push(Step { way: Way::CloseWindow, wait: Some(wait("AppStopMethodWindow")) });
    }
    it.ladder.push(Step { way: Way::Kill, wait: None });
    if let Some(entry) = numbers.entry("AppStopMethodSkip") {
        match skip & 8 {
            0 => report.kept(entry, "stop.ladder"),
            _ => {
                report.changed(entry, "stop.ladder", "the last step always ends the whole tree: nothing is left behind")
            }
        }
    }
    for (name, bit) in [("AppStopMethodConsole", 1), ("AppStopMethodWindow", 2)] {
        match numbers.entry(name) {
            Some(entry) if skip & bit == 0 => report.kept(entry, "stop.ladder"),
            Some(entry) => report.changed(entry, "stop.ladder", "this way is left out by AppStopMethodSkip"),
            None => {}
        }
    }
    if let Some(entry) = numbers.entry("AppStopMethodThreads") {
        report.lost(entry, "no message is posted to threads; the end of the tree comes after the windows");
    }
    if let Some(entry) = numbers.entry("AppKillProcessTree") {
        match numbers.get("AppKillProcessTree") {
            Some(0) => report.changed(entry, "stop.ladder", "the last step always ends the whole tree"),
            _ => report.kept(entry, "stop.ladder"),
        }
    }
    let priority = numbers.get("AppPriority").zip(numbers.entry("AppPriority"));
    if let Some((class, entry)) = priority {
        let (word, how) = match class {
            0x20 => (Some("normal"), None),
            0x40 => (Some("idle"), None),
            0x4000 => (Some("low"), None),
            0x8000 => (Some("high"), None),
            0x80 => (Some("high"), Some("high is one class lower here: above normal")),
            0x100 => (Some("high"), Some("no program of a guard has real-time priority")),
            _ => (None, None),
        };
        match (word, how) {
            (Some(_), None) => report.kept(entry, "limits.priority"),
            (Some(_), Some(how)) => report.changed(entry, "limits.priority", how),
            (None, _) => report.lost(entry, "it is no class of priority"),
        }
        it.limits.priority = word;
    }
    if let Some(entry) = numbers.entry("AppNoConsole") {
        match numbers.get("AppNoConsole") {
            Some(0) => report.changed(entry, "", "the console of the program is hidden"),
            _ => report.changed(entry, "", "a program has a console of its own, hidden, so that Ctrl-C reaches it"),
        }
    }
}

/// Rotation and what NSSM writes into log files.
pub(super) fn logs(work: &mut Work<'_>, it: &mut Service, numbers: &Numbers) {
    let report = &mut work.report;
    let rotates = numbers.get("AppRotateFiles").is_some_and(|on| on != 0);
    let written = it.logs.dir.is_some();
    if !written {
        report.note(format!("{}: NSSM dropped its output; it is kept in the guard's folder of logs", it.name));
    }
    let high = numbers.get("AppRotateBytesHigh").unwrap_or(0);
    let bytes = numbers.get("AppRotateBytes").unwrap_or(0).saturating_add(high << 32);
    if rotates {
        if bytes > 0 {
            it.logs.rotate_size = Some(bytes.clamp(4096, 1 << 60));
        } else if numbers.entry("AppRotateSeconds").is_some() {
            it.logs.rotate_size = Some(0);
        }
        it.logs.rotate_every = numbers.get("AppRotateSeconds").filter(|it| *it > 0).map(Duration::from_secs);
    } else if written {
        report
            .note("NSSM does not rotate here; Tutela rotates at 50 MiB and keeps 10 files unless logs says otherwise");
    }
    for (name, to) in [
        ("AppRotateFiles", "logs"),
        ("AppRotateBytes", "logs.rotate_size"),
        ("AppRotateBytesHigh", "logs.rotate_size"),
        ("AppRotateSeconds", "logs.rotate_every"),
    ] {
        match numbers.entry(name) {
            None => {}
            Some(entry) if !rotates && name == "AppRotateFiles" => {
                report.changed(entry, "logs", "files are rotated at 50 MiB; write rotate_size = \"0\" for never");
            }
            Some(entry) if !rotates => report.lost(entry, "AppRotateFiles is off, so NSSM did not read it either"),
            Some(entry) if name == "AppRotateBytes" && (1..4096).contains(&bytes) => {
                report.changed(entry, to, "files are rotated from 4096 bytes on");
            }
            Some(entry) if name == "AppRotateSeconds" && it.logs.rotate_every.is_none() => report.kept(entry, "logs"),
            Some(entry) => report.kept(entry, to),
        }
    }
    if rotates {
        report.note("NSSM keeps rotated files for ever; Tutela keeps 10: write keep = N under logs for more");
    }
    if let Some(entry) = numbers.entry("AppRotateOnline") {
        report.changed(entry, "logs", "files are rotated while the program runs, always");
    }
    if let Some(entry) = numbers.entry("AppRotateDelay") {
        report.lost(entry, "the guard writes the files itself and need not wait for their rotation");
    }
    match numbers.entry("AppTimestampLog") {
        Some(entry) if written => {
            it.logs.timestamps = numbers.get("AppTimestampLog").map(|on| on != 0);
            report.kept(entry, "logs.timestamps");
        }
        Some(entry) => report.changed(entry, "logs", "lines have timestamps by default"),
        None => {}
    }
    if let Some(entry) = numbers.entry("AppRedirectHook") {
        report.lost(entry, "the output of hooks goes into the guard's events");
    }
    for stream in ["AppStdin", "AppStdout", "AppStderr"] {
        for what in ["ShareMode", "CreationDisposition", "FlagsAndAttributes", "CopyAndTruncate"] {
            let name = format!("{stream}{what}");
            if let Some(entry) = numbers.entry(&name) {
                report.lost(entry, "the guard opens log files by itself, appends, and renames them to rotate");
            }
        }
    }
}
