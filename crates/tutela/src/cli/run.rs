//! `tutela run`.

use super::words::{Colour, RunWords};
use super::{Code, DONE, FAILED, WRONG, report};
use crate::conductor::Outcome;
use crate::run::{Failure, Options, What, run as run_guard};
use tutela_os::paths::Paths;
use tutela_os::terminal;

pub fn run(words: RunWords, paths: &Paths) -> Code {
    let what = match words.spec {
        Some(path) => What::File { path, profile: words.profile },
        None => What::Program(words.program),
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match words.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => !plain && terminal::stdout_takes_colours(),
    };
    let options =
        Options { what, show_output: !words.quiet, colour, paths: paths.clone(), force_walk: words.force_walk };
    match run_guard(options) {
        Ok(Outcome::Asked | Outcome::AllDone { well: true }) => DONE,
        Ok(Outcome::AllDone { well: false }) => FAILED,
        Err(Failure::Spec(found)) => {
            report::diagnostics(&found);
            WRONG
        }
        Err(Failure::Failed(message)) => {
            report::error(&message, None);
            FAILED
        }
    }
}
