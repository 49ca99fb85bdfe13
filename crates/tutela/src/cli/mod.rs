//! Words in, words out: the command line.
//!
//! What programs read goes to standard output, alone; what people read goes to standard error, but for
//! tables and logs that somebody asked for. A running guard is reached only through [`crate::client`], here or, with
//! `--connect`, on another computer.
//!
//! Exit codes: 0 done; 1 failed; 2 the words or the spec were wrong; 3 `status` of something not running;
//! 4 no such guard or service; 5 not allowed.

mod audit;
mod check;
mod command;
mod doctor;
mod end_left;
mod events;
mod export;
mod generate;
mod import;
mod install;
mod logs;
mod metrics;
mod report;
mod run;
mod secret;
mod status;
mod token;
mod top;
mod upgrade;
mod wait_on;
mod words;

use crate::client::Reach;
use clap::Parser;
use std::process::ExitCode;
use tutela_os::host::{self, NotServed, Scm, ServiceExit};
use tutela_os::paths::Paths;
use words::{Cli, Command};

/// What a command ended with.
type Code = u8;

const DONE: Code = 0;
const FAILED: Code = 1;
const WRONG: Code = 2;
const NOT_RUNNING: Code = 3;
const UNKNOWN: Code = 4;
const NOT_ALLOWED: Code = 5;

/// Reads the command line and does as it says.
pub fn main() -> ExitCode {
    if run::is_service(std::env::args_os().skip(1)) {
        // First of all: the service control manager of Windows waits for it, and not for long.
        match host::serve_scm("tutela", |scm| ServiceExit::code(command_line(Some(scm)).into())) {
            Ok(exit) => return ExitCode::from(exit.process_code()),
            Err(NotServed { error: tutela_os::Error::Unsupported(_), .. }) => {}
            // Somebody tries the very words that the service is registered with.
            Err(not_served) => eprintln!("tutela: {}; running in the foreground", not_served.error),
        }
    }
    ExitCode::from(command_line(None))
}

/// `scm`: the service that this process is.
fn command_line(scm: Option<Scm>) -> Code {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is a mistake in the words.
            let code = if error.use_stderr() { WRONG } else { DONE };
            // A closed output has nobody left to be told.
            let _ = error.print();
            run::tell_service_manager(scm.as_ref(), &error.to_string());
            return code;
        }
    };
    let paths = Paths::discover(|key| std::env::var_os(key));
    if !cli.remote.is_there() {
        return dispatch(cli.command, &Reach::new(paths, None), scm);
    }
    let remote = match cli.remote.remote(&cli.command) {
        Ok(remote) => remote,
        Err((message, help)) => {
            report::error(&message, Some(&help));
            return WRONG;
        }
    };
    dispatch(cli.command, &Reach::new(paths, Some(remote)), scm)
}

fn dispatch(command: Command, reach: &Reach, scm: Option<Scm>) -> Code {
    let paths = &reach.paths;
    match command {
        Command::Run(words) => run::run(words, paths, scm),
        Command::Check(words) => check::check(&words, paths),
        Command::Install(words) => install::install(&words, paths),
        Command::Uninstall(words) => install::uninstall(&words, paths),
        Command::Start(words) => command::command(tutela_schema::api::Verb::Start, &words, reach),
        Command::Stop(words) => command::stop(&words, reach),
        Command::Restart(words) => command::command(tutela_schema::api::Verb::Restart, &words, reach),
        Command::Pause(words) => command::command(tutela_schema::api::Verb::Pause, &words, reach),
        Command::Resume(words) => command::command(tutela_schema::api::Verb::Resume, &words, reach),
        Command::Reload(words) => command::reload(&words, reach),
        Command::Upgrade(words) => upgrade::upgrade(&words, paths),
        Command::Status(words) => status::status(&words, reach),
        Command::Top(words) => top::top(&words, reach),
        Command::Logs(words) => logs::logs(&words, reach),
        Command::Events(words) => events::events(&words, reach),
        Command::Audit(words) => audit::audit(&words, paths),
        Command::Metrics(words) => metrics::metrics(&words, reach),
        Command::Doctor(words) => doctor::doctor(&words, paths),
        Command::Token(words) => token::token(&words),
        Command::Import(words) => import::import(&words),
        Command::Export(words) => export::export(&words),
        Command::Secret(command) => secret::secret(&command),
        Command::Schema => generate::schema(),
        Command::Completions { shell } => generate::completions(shell),
        Command::EndLeft(words) => end_left::end_left(&words),
        Command::Generate { dir } => generate::generate(&dir),
    }
}

/// A small event loop for commands that speak to a guard.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Code> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => {
            report::error(&format!("failed to start an event loop: {error}"), None);
            Err(FAILED)
        }
    }
}
