//! `tutela doctor`: what this computer can and cannot do, and what a spec would meet here.

use super::words::DoctorWords;
use super::{Code, DONE, FAILED, WRONG, report};
use crate::client::running;
use crate::preflight::Ports;
use serde_json::json;
use tutela_core::names::Name;
use tutela_os::paths::Paths;
use tutela_os::{capabilities, usage};
use tutela_schema::api::DiagnosticBody;
use tutela_schema::spec::{Diagnostic, Severity};

pub fn doctor(words: &DoctorWords, paths: &Paths) -> Code {
    let report = capabilities::report(None);
    let mut found = match &words.spec {
        None => Vec::new(),
        Some(path) => {
            let ports = |name: &Name| Ports::expected(paths, name);
            match crate::run::read_and_look(path, words.profile.clone(), ports) {
                Err(found) => found,
                Ok((loaded, mut found)) => {
                    found.extend(crate::doctor::examine_spec(&loaded.spec, &loaded));
                    found
                }
            }
        }
    };
    found.extend(crate::doctor::examine_host(paths));
    let wrong = found.iter().any(|it| it.severity == Severity::Error);
    if words.json {
        let guarantees: Vec<_> =
            report.iter().map(|it| json!({ "name": it.name, "holds": it.holds, "detail": it.detail })).collect();
        let bodies: Vec<DiagnosticBody> = found.iter().map(DiagnosticBody::from).collect();
        let text = json!({ "capabilities": guarantees, "found": bodies, "ok": !wrong });
        return match (report::print(&format!("{text}\n")), wrong) {
            (false, _) => FAILED,
            (true, true) => WRONG,
            (true, false) => DONE,
        };
    }
    let rows: Vec<Vec<String>> = report
        .iter()
        .map(|it| vec![if it.holds { "yes" } else { "no" }.to_owned(), it.name.to_owned(), it.detail.clone()])
        .collect();
    let mut text = report::table(&["HOLDS", "GUARANTEE", "HOW, OR WHY NOT"], &rows);
    text.push('\n');
    text.push_str(&report::table(&["WHAT", "WHERE"], &places(paths)));
    if !report::print(&text) {
        return FAILED;
    }
    show(&found, words.spec.is_some());
    if wrong { WRONG } else { DONE }
}

fn places(paths: &Paths) -> Vec<Vec<String>> {
    let disk = |path: &std::path::Path| {
        let there = path.ancestors().find(|folder| folder.exists())?;
        let usage = usage::disk(there).ok()?;
        Some(format!(" ({} MiB free, {:.0} % used)", usage.available / (1024 * 1024), usage.used_percent()))
    };
    let row = |what: &str, path: std::path::PathBuf| {
        let free = disk(&path).unwrap_or_default();
        vec![what.to_owned(), format!("{}{free}", path.display())]
    };
    let guards: Vec<String> = running(paths).into_iter().map(|found| found.name).collect();
    vec![
        row("specs", paths.specs_dir().to_owned()),
        row("state", paths.state_dir("NAME")),
        row("logs", paths.log_dir("NAME")),
        row("sockets", paths.runtime_dir().to_owned()),
        vec!["guards".to_owned(), if guards.is_empty() { "none runs".to_owned() } else { guards.join(", ") }],
    ]
}

fn show(found: &[Diagnostic], asked: bool) {
    report::diagnostics(found);
    if asked && found.is_empty() {
        report::tell("the spec would run here: nothing to mend");
    }
}
