//! `tutela check`.

use super::words::CheckWords;
use super::{Code, DONE, FAILED, WRONG, report};
use crate::preflight::{self, Ports};
use tutela_core::order;
use tutela_os::paths::Paths;
use tutela_schema::api::DiagnosticBody;
use tutela_schema::spec::{Diagnostic, Loaded, Severity, Sources};

pub fn check(words: &CheckWords, paths: &Paths) -> Code {
    let sources = match Sources::of_process(&words.spec, words.profile.clone()) {
        Ok(sources) => sources,
        Err(error) => {
            report::error(&format!("the working folder is gone: {error}"), None);
            return FAILED;
        }
    };
    let (loaded, mut found) = match tutela_schema::spec::read(&sources) {
        Ok(loaded) => {
            let found = loaded.warnings.clone();
            (Some(loaded), found)
        }
        Err(refused) => (None, refused.diagnostics),
    };
    if let (Some(loaded), false) = (&loaded, words.offline) {
        let ports = Ports::expected(paths, &loaded.spec.name);
        found.extend(preflight::check(&loaded.spec, Some(loaded), ports));
        found.extend(preflight::receivers(&loaded.spec, loaded));
        found.extend(crate::doctor::examine_spec_files(loaded));
    }
    let wrong = found.iter().any(|it| it.severity == Severity::Error);
    let read = if words.json { print_json(&found) } else { true };
    if !words.json {
        report::diagnostics(&found);
    }
    if let Some(loaded) = loaded {
        if words.resolved && !words.json {
            print_resolved(&loaded);
        } else if !words.json && !wrong {
            report::tell(&summary(&loaded));
        }
    }
    match (wrong, read) {
        (true, _) => WRONG,
        (false, true) => DONE,
        (false, false) => FAILED,
    }
}

fn print_json(found: &[Diagnostic]) -> bool {
    let bodies: Vec<DiagnosticBody> = found.iter().map(DiagnosticBody::from).collect();
    let text = serde_json::json!({ "ok": !found.iter().any(|it| it.severity == Severity::Error), "found": bodies });
    report::print(&format!("{text}\n"))
}

fn print_resolved(loaded: &Loaded) {
    let rows: Vec<Vec<String>> =
        loaded.resolved().into_iter().map(|value| vec![value.key, value.from, value.value]).collect();
    // A reader that went away has read enough.
    let _ = report::print(&report::table(&["KEY", "FROM", "VALUE"], &rows));
}

fn summary(loaded: &Loaded) -> String {
    let spec = &loaded.spec;
    let needs: order::Needs =
        spec.services.values().map(|service| (service.name.clone(), service.needs.clone())).collect();
    let waves = order::start_waves(&needs).unwrap_or_default();
    let mut text = format!(
        "{} is right: {} {}",
        spec.name,
        spec.services.len(),
        if spec.services.len() == 1 { "service" } else { "services" }
    );
    if waves.len() > 1 {
        for (number, wave) in waves.iter().enumerate() {
            let names: Vec<String> = wave.iter().take(20).map(ToString::to_string).collect();
            let more = if wave.len() > 20 { " …" } else { "" };
            text.push_str(&format!("\n  starts {}: {}{more}", number + 1, names.join(", ")));
        }
    }
    text
}
