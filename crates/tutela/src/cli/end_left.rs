//! `tutela end-left`: what systemd runs whenever a guard of its has ended. See [`crate::survive::left`].

use super::words::EndLeftWords;
use super::{Code, DONE, FAILED, WRONG, report};
use crate::survive::left::{Next, Said, next};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tutela_core::names::Name;
use tutela_os::registration::{self, Outlook, Scope};

/// How often it is looked whether another guard runs: each look is a question to the service manager.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the service manager may give no answer: more than it takes to be replaced by a new version of itself.
const BLIND_WAIT: Duration = Duration::from_secs(120);

pub fn end_left(words: &EndLeftWords) -> Code {
    let name = match Name::new(&words.guard) {
        Ok(name) => name.to_string(),
        Err(error) => {
            report::error(&format!("refused: {:?} is no name of a guard: {error}", words.guard), None);
            return WRONG;
        }
    };
    let scope = if words.user { Scope::User } else { Scope::System };
    if words.watch {
        return watch(&name, scope);
    }
    match next(registration::outlook(&name, scope).ok(), &Said::by(|key| std::env::var(key).ok())) {
        Next::Runs => DONE,
        Next::None => end(&name),
        Next::Follows => begin_watch(words),
    }
}

/// Waits until another guard is being started, or none is to come. One that is being started and does not come up is the
/// business of the command that is run after its own end.
fn watch(name: &str, scope: Scope) -> Code {
    let mut heard = Instant::now();
    loop {
        match registration::outlook(name, scope) {
            Ok(Outlook::Over) => return end(name),
            Ok(Outlook::Runs) => return DONE,
            Ok(Outlook::Follows) => heard = Instant::now(),
            Err(error) if heard.elapsed() > BLIND_WAIT => {
                report::error(&format!("failed to find out whether another guard comes: {error}"), None);
                return FAILED;
            }
            Err(_) => {}
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Nobody runs anything for a service that is stopped between two guards, so that is watched for.
fn begin_watch(words: &EndLeftWords) -> Code {
    let begun = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["end-left", "--watch"]).args(words.user.then_some("--user")).arg(&words.guard);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    });
    match begun {
        Ok(_) => DONE,
        Err(error) => {
            report::error(
                &format!("failed to watch whether another guard comes: {error}; a stop before that ends no program"),
                None,
            );
            FAILED
        }
    }
}

fn end(name: &str) -> Code {
    match registration::end_left() {
        Ok(ended) => {
            for it in ended {
                // No tree can have this name: it is the group of the guard itself, in which only its safe is left.
                let what = if it.label == "guard" { "its safe" } else { it.label.as_str() };
                let pids: Vec<String> = it.pids.iter().map(ToString::to_string).collect();
                report::tell(&format!(
                    "no other guard {name} follows one that ended without stopping {}; its processes were ended: {}",
                    what,
                    pids.join(", ")
                ));
            }
            DONE
        }
        Err(error) => {
            report::error(&error.to_string(), None);
            FAILED
        }
    }
}
