//! `tutela upgrade`: this program, or another one, takes the place of guards that run.

use super::words::UpgradeWords;
use super::{Code, DONE, FAILED, UNKNOWN, WRONG, block_on, report};
use crate::client::{Client, ClientError, running};
use std::path::Path;
use std::time::{Duration, Instant};
use tutela_os::paths::Paths;
use tutela_os::safe::Safe;
use tutela_schema::api::{
    GuardInfo, REASON_CHARS_MAX, Route, RouteId, UpgradeInfo, UpgradeOutcome, UpgradeReply, UpgradeRequest,
};

/// How long it may take from the guard's answer to the end: it lets go, the new program guards on trial, and the guard's
/// process becomes one of the two. Each of these has its own limit, which together are less.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

pub fn upgrade(words: &UpgradeWords, paths: &Paths) -> Code {
    let program = match &words.to {
        Some(file) => {
            std::path::absolute(file).and_then(|file| file.canonicalize().map_err(|error| named(&file, error)))
        }
        None => std::env::current_exe(),
    };
    let program = match program {
        Ok(program) => program,
        Err(error) => {
            report::error(
                &format!("refused: the new program cannot be found: {error}"),
                Some("name its file with --to FILE"),
            );
            return WRONG;
        }
    };
    let guards: Vec<String> = match words.all {
        true => running(paths).into_iter().map(|found| found.name).collect(),
        false => {
            let mut once = std::collections::BTreeSet::new();
            words.guards.iter().filter(|name| once.insert(name.as_str())).cloned().collect()
        }
    };
    if guards.is_empty() {
        report::tell("no guard runs here; nothing is to be done");
        return DONE;
    }
    // One after the other: what goes wrong with the first is not done to the others.
    for name in guards {
        match upgrade_one(&name, &program, words, paths) {
            DONE => {}
            code => return code,
        }
    }
    DONE
}

fn named(file: &std::path::Path, error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn upgrade_one(name: &str, program: &Path, words: &UpgradeWords, paths: &Paths) -> Code {
    let Some(route) = Route::of(RouteId::Upgrade) else { return UNKNOWN };
    let client = Client::new(paths, name);
    let reason = words.reason.as_ref().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let id = format!("{}-{}", std::process::id(), since.as_nanos());
    let request = UpgradeRequest { program: program.display().to_string(), id: Some(id.clone()), reason };
    // A text and nothing else: there is no value that JSON cannot hold.
    let body = serde_json::to_string(&request).unwrap_or_default();
    // Of a guard that has its folders elsewhere nothing is seen here.
    let kept = Some(paths.safe(name)).filter(|safe| Safe::is_left(safe));
    let answer: Result<UpgradeReply, ClientError> = match block_on(client.post(route.path, body)) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    match answer {
        // Without an answer it may have been begun all the same: the guard stays only for a moment after it.
        Ok(_) | Err(ClientError::Failed { .. }) => {}
        Err(error) => return report::client_error(&error),
    }
    match wait_for_end(&client, &id, kept.as_deref()) {
        Ok(info) => {
            let code = tell(name, &info, words.json);
            if code == DONE && words.to.is_some() && !words.json {
                report::tell(&format!(
                    "its next start runs what its service manager or script names: see that it is {}",
                    info.program
                ));
            }
            code
        }
        Err(why) => {
            report::error(
                &format!("failed to hear what became of the upgrade of {name}: {why}"),
                Some(&format!("tutela events {name} knows it, once a guard of that name runs: tutela run SPEC")),
            );
            FAILED
        }
    }
}

/// Between two guards there is nobody to ask, and the one on trial does not know the end. `kept` is there until a guard
/// ends in order.
fn wait_for_end(client: &Client, id: &str, kept: Option<&Path>) -> Result<UpgradeInfo, String> {
    let Some(route) = Route::of(RouteId::Info) else { return Err("there is nothing to ask".into()) };
    let until = Instant::now() + END_WITHIN;
    let mut last = String::new();
    while Instant::now() < until {
        std::thread::sleep(LOOK);
        let info: Result<GuardInfo, ClientError> =
            block_on(client.get(route.path)).map_err(|_| "there is no event loop".to_owned())?;
        match info {
            Ok(GuardInfo { upgrade: Some(upgrade), .. }) if upgrade.id == id => return Ok(upgrade),
            Ok(_) => "it runs, and knows nothing of it yet".clone_into(&mut last),
            Err(_) if kept.is_some_and(|safe| !Safe::is_left(safe)) => {
                return Err("somebody had it end meanwhile, and it has stopped everything".to_owned());
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn tell(name: &str, info: &UpgradeInfo, json: bool) -> Code {
    let code = match info.outcome {
        UpgradeOutcome::Done => DONE,
        UpgradeOutcome::RolledBack => FAILED,
    };
    if json {
        let text = serde_json::to_string(info).unwrap_or_default();
        return if report::print(&format!("{text}\n")) { code } else { FAILED };
    }
    match &info.reason {
        None => report::tell(&format!(
            "{name} upgraded from {} to {} ({}); {}, unwatched for {}",
            info.from,
            info.to,
            info.program,
            info.fate(),
            info.unwatched()
        )),
        // No other guard was there meanwhile.
        Some(reason) if info.unwatched_ms.is_empty() => report::error(
            &format!("failed to upgrade {name} from {} to {}: {reason}; nothing was changed", info.from, info.to),
            Some("try again once that is over"),
        ),
        Some(reason) => report::error(
            &format!(
                "failed to upgrade {name} from {} to {}: {reason}; it was rolled back, and {}",
                info.from,
                info.to,
                info.fate()
            ),
            Some(&format!(
                "the guard runs the former program; a start from {} would still use the new one",
                info.program
            )),
        ),
    }
    code
}
