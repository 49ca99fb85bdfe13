//! `tutela run`.

use super::words::{Colour, FoldersOf, RunWords};
use super::{Code, DONE, FAILED, WRONG, report};
use crate::conductor::Outcome;
use crate::hands::journal;
use crate::run::{Failure, Options, What, run as run_guard};
use crate::upgrade::stand_in::InPlaceOf;
use crate::upgrade::trial::Trial;
use std::ffi::OsString;
use std::sync::Arc;
use tutela_os::eventlog::{EventLog, Level, Record};
use tutela_os::host::Scm;
use tutela_os::paths::Paths;
use tutela_os::terminal;

/// Whether these words, without the program's own name, say that a service manager starts a guard. Looks at nothing
/// else, because the service control manager of Windows waits.
pub fn is_service(words: impl Iterator<Item = OsString>) -> bool {
    let mut words = words.take_while(|word| word != "--");
    words.next().is_some_and(|word| word == "run") && words.any(|word| word == "--service")
}

pub fn run(words: RunWords, paths: &Paths, scm: Option<Scm>) -> Code {
    let what = match words.spec {
        Some(path) => What::File { path, profile: words.profile },
        None => What::Program(words.program),
    };
    let plain = words.service || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match words.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => !plain && terminal::stdout_takes_colours(),
    };
    let trial = match words.on_trial.then(Trial::begin).transpose() {
        Ok(trial) => trial.map(Arc::new),
        Err(error) => {
            report::error(&format!("refused: --on-trial is a word between two guards: {error}"), None);
            return WRONG;
        }
    };
    let options = Options {
        what,
        show_output: !words.quiet && !words.service,
        colour,
        paths: match whose_folders(words.service, words.folders) {
            Some(FoldersOf::Computer) => Paths::of_host(|key| std::env::var_os(key)),
            Some(FoldersOf::Account) => Paths::of_account(|key| std::env::var_os(key)),
            None => paths.clone(),
        },
        force_walk: words.force_walk,
        scm: scm.clone(),
        trial,
    };
    let (trial, in_place_of) = (options.trial.clone(), words.in_place_of);
    match run_guard(options) {
        Ok(Outcome::Asked | Outcome::AllDone { well: true }) => DONE,
        Ok(Outcome::AllDone { well: false }) => FAILED,
        Err(Failure::Spec(found)) => {
            report::diagnostics(&found);
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            trial.iter().for_each(|trial| trial.refuse(&format!("the spec was refused: {}", lines.join("; "))));
            tell_service_manager(scm.as_ref(), &format!("the spec was refused\n{}", lines.join("\n")));
            if in_place_of.is_some_and(InPlaceOf::stand_in) { DONE } else { WRONG }
        }
        Err(Failure::Failed(message)) => {
            report::error(&message, None);
            trial.iter().for_each(|trial| trial.refuse(&message));
            tell_service_manager(scm.as_ref(), &message);
            if in_place_of.is_some_and(InPlaceOf::stand_in) { DONE } else { FAILED }
        }
    }
}

/// Whose folders are used; `None`: those that the account and its rights come to.
fn whose_folders(service: bool, said: Option<FoldersOf>) -> Option<FoldersOf> {
    said.or(service.then_some(FoldersOf::Computer))
}

/// Why the guard did not come up, for those who look into the Event Log: a service of Windows has no terminal.
pub fn tell_service_manager(scm: Option<&Scm>, message: &str) {
    let Some(scm) = scm else { return };
    let record = Record { level: Level::Error, message, id: journal::REFUSED_ID, message_id: None, fields: &[] };
    // Without a log there is only the exit code.
    let _ = EventLog::open(scm.name()).and_then(|log| log.write(&record));
}

#[cfg(test)]
mod tests {
    use super::super::words::{Cli, Command};
    use super::*;
    use clap::Parser;

    #[test]
    fn a_registration_says_whose_folders_are_used_and_nobody_is_told_of_the_word() {
        let whose = |line: &str| match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Run(words)) => Ok(whose_folders(words.service, words.folders)),
            Ok(_) => panic!("{line}"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(whose("tutela run shop.toml"), Ok(None));
        assert_eq!(whose("tutela run --service shop.toml"), Ok(Some(FoldersOf::Computer)));
        assert_eq!(whose("tutela run --quiet --folders computer shop.toml"), Ok(Some(FoldersOf::Computer)));
        assert_eq!(whose("tutela run --quiet --folders account shop.toml"), Ok(Some(FoldersOf::Account)));
        assert!(whose("tutela run --service --folders account shop.toml").is_err());
        assert!(whose("tutela run --help").is_err_and(|help| help.contains("--quiet") && !help.contains("--folders")));
    }

    #[test]
    fn only_the_words_of_the_guard_itself_make_a_service() {
        let is = |words: &str| is_service(words.split(' ').map(OsString::from));
        assert!(is("run --service shop.toml"));
        assert!(is("run shop.toml --profile x --service"));
        assert!(!is("run shop.toml"));
        assert!(!is("run -- program --service"));
        assert!(!is("status --service"));
    }
}
