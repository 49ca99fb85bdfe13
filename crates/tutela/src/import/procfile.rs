//! A Procfile: one line for each type of process, run by a shell, with `.env` beside it.

use super::Work;
use super::draft::{EnvFile, Service, hide_secrets, tell_secrets};
use super::shell;
use super::source::{ImportError, Source, decode};
use super::text::Text;

/// The port of the first process where `.env` says nothing; each further one has 100 more, as foreman does it.
const PORT: u32 = 5000;

/// Reads every line.
pub(super) fn translate(work: &mut Work<'_>, source: &Source, text: &str) -> Result<(), Box<ImportError>> {
    let beside = source.path.parent().unwrap_or(std::path::Path::new(""));
    let env = work.surroundings.read(&beside.join(".env")).ok();
    let env = env.map(|bytes| decode(&bytes, ".env")).transpose()?;
    let first_port = env.as_deref().and_then(port).unwrap_or(PORT);
    let mut rank = 0_u32;
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |column: usize, message: &str| {
            let column = u32::try_from(column).unwrap_or(u32::MAX);
            Err(ImportError::at(&source.shown, number, column, message).help("write one process a line: NAME: COMMAND"))
        };
        let Some((wanted, command)) = line.split_once(':') else {
            return bad(line.chars().count() + 1, "after the name of a process comes ':'");
        };
        if wanted.trim().is_empty() || wanted.trim().contains(char::is_whitespace) {
            return bad(1, "a line begins with the name of a process");
        }
        if command.trim().is_empty() {
            return bad(wanted.chars().count() + 2, "the process has no command");
        }
        process(work, source, number, wanted.trim(), command.trim(), first_port + 100 * rank, env.is_some());
        rank += 1;
    }
    if env.is_some() {
        work.report
            .note("the variables of .env are read from it at each start: it is in env_files, and was not copied");
    }
    work.report.note("a Procfile has no policy: restarts, stops and logs are those of Tutela by default");
    Ok(())
}

/// The port that `.env` sets.
fn port(env: &str) -> Option<u32> {
    let line = env
        .lines()
        .map(|line| line.trim().trim_start_matches("export ").trim())
        .find(|line| line.starts_with("PORT="))?;
    line["PORT=".len()..].trim_matches(['"', '\'', ' ']).parse().ok()
}

fn process(work: &mut Work<'_>, source: &Source, number: u32, wanted: &str, command: &str, port: u32, env: bool) {
    let name = work.draft.name(wanted, &mut work.report);
    work.needs.know(wanted, &name);
    let entry = work.report.entry(&source.shown, number, &name, wanted, command);
    let mut it = Service { name, from: format!("{} (Procfile)", source.shown), ..Service::default() };
    let line = shell::posix(command);
    let folder = line.cwd.as_deref();
    it.cwd = match (folder, source.beside) {
        (Some(folder), _) => Some(Text::literal(&source.path(folder))),
        (None, false) => Some(Text::literal(source.folder())),
        (None, true) => None,
    };
    let told = line.told();
    for (name, value) in &line.env {
        it.set(&mut work.report, &entry, name, Text::literal(value));
    }
    it.command = line.words;
    // A program with a path is found from the folder of the spec, not from where it runs.
    if let Some(program) = it.command.first_mut()
        && program.as_str().contains('/')
        && !line.shell
    {
        let path = program.as_str().trim_start_matches("./");
        let path = match folder {
            Some(folder) if !path.starts_with('/') => source.path(&format!("{folder}/{path}")),
            _ => source.path(program.as_str()),
        };
        *program = Text::spec(path);
    }
    let hidden = hide_secrets(&mut it.command);
    tell_secrets(&mut work.report, &entry, "command", &hidden);
    match told {
        Some(how) => work.report.changed(&entry, "command", how),
        None if hidden.is_empty() => work.report.kept(&entry, "command"),
        None => {}
    }
    if env {
        it.env_files.push(EnvFile { path: Text::literal(&source.path(".env")), optional: false });
    }
    if (wanted == "web" || command.contains("PORT")) && !it.env.contains_key("PORT") {
        it.env.insert("PORT".to_owned(), Text::literal(&port.to_string()));
        work.report.note(format!("{wanted}: foreman gives it PORT={port}, which is written out"));
    }
    if wanted == "release" {
        it.start = Some("manual");
        it.restart.when = Some("never");
        let how = "a release command runs once for each release: here when somebody starts it; as a hook in \
                   hooks.before_start of another service it would run before each of its starts";
        work.report.changed(&entry, "start", how);
    }
    work.draft.services.push(it);
}
