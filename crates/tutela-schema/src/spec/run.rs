//! The spec of `tutela run -- PROGRAM ARGUMENTS`: one service, everything else by default.

use super::diagnostic::Diagnostic;
use super::section::Section;
use super::service::plain;
use super::source::{SourceMap, no_place};
use super::tree::{Node, Table, Value};
use super::{Os, Refused};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela_core::names::{NAME_BYTES_MAX, Name};
use tutela_core::spec::{GuardSpec, HOST_VARIABLES};
use tutela_core::template::Template;

/// The spec of one program: the guard and its service are named after the file of the program. A program with a path
/// is relative to `cwd`, which is also its working folder. Words are taken as they are: nothing in them is a variable.
///
/// # Errors
/// There is no program in `command`.
pub fn run_spec(
    command: Vec<String>,
    cwd: &Path,
    env: &BTreeMap<String, String>,
    os: Os,
) -> Result<GuardSpec, Refused> {
    let name = name_of(command.first().map_or("", String::as_str), os);
    let tree = Node::new(Value::Table(Table::default()), no_place());
    let mut sources = SourceMap::default();
    sources.add_empty();
    let mut section = Section { tree: &tree, sources: &sources, os, base: cwd, out: Vec::new(), broken: &[] };
    let env = env.iter().filter(|(name, _)| !HOST_VARIABLES.contains(&name.as_str()));
    let env = env.map(|(name, value)| (Arc::from(name.as_str()), Template::fixed(value.clone()))).collect();
    if let Some(at) = command.iter().position(|word| word.contains('\0')) {
        let message = format!("word {at} of the command has the character NUL");
        return Err(Refused { diagnostics: vec![Diagnostic::error(super::Code::Nul, None, message)] });
    }
    let service = plain(&mut section, name.clone(), command, env);
    let diagnostics: Vec<_> = section.out.into_iter().map(|it| Diagnostic { origin: None, ..it }).collect();
    if !diagnostics.is_empty() {
        return Err(Refused { diagnostics });
    }
    let description = service.launch.command.render(0).join(" ");
    let services = BTreeMap::from([(name.clone(), Arc::new(service))]);
    Ok(GuardSpec { description, ..GuardSpec::of(name, services) })
}

/// A name made of the file of a program: `./My Server.exe` is `My-Server`.
fn name_of(program: &str, os: Os) -> Name {
    let separators: &[char] = if os == Os::Windows { &['/', '\\'] } else { &['/'] };
    let file = program.rsplit(separators).find(|part| !part.is_empty()).unwrap_or_default();
    let stem = match PathBuf::from(file).file_stem() {
        Some(stem) if os == Os::Windows => stem.to_string_lossy().into_owned(),
        _ => file.to_owned(),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let text: String = stem.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let text = text.trim_start_matches(['.', '_', '-']);
    let text = text.get(..text.len().min(NAME_BYTES_MAX)).unwrap_or_default();
    let fallback = || Name::new("program").expect("the word is a name");
    Name::new(text).unwrap_or_else(|_| fallback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_program_without_a_spec_gets_the_defaults_and_the_name_of_its_file() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("NOTIFY_SOCKET".to_owned(), "x".to_owned())]);
        let spec =
            run_spec(vec!["./My Server".into(), "${instance}".into()], Path::new("/srv"), &env, Os::Linux).unwrap();
        assert_eq!(spec.name.as_str(), "My-Server");
        let service = &spec.services[&spec.name];
        let program = Path::new("/srv").join("My Server").display().to_string();
        assert_eq!(service.launch.command.render(7), [program.as_str(), "${instance}"]);
        assert_eq!(service.launch.cwd, Path::new("/srv"));
        assert_eq!(service.launch.env.keys().map(|key| &**key).collect::<Vec<_>>(), ["A"]);
        assert_eq!(service.restart, tutela_core::spec::RestartPolicy::default());
        assert_eq!(service.stop.len(), 2);
    }

    #[test]
    fn a_name_is_made_of_any_program() {
        for (program, os, name) in [
            ("/usr/bin/redis-server", Os::Linux, "redis-server"),
            ("C:\\apps\\api.exe", Os::Windows, "api"),
            ("..", Os::Linux, "program"),
            ("/", Os::Linux, "program"),
            ("é", Os::Linux, "program"),
        ] {
            assert_eq!(name_of(program, os).as_str(), name, "{program}");
        }
        assert_eq!(name_of(&"x".repeat(200), Os::Linux).as_str().len(), NAME_BYTES_MAX);
        assert!(run_spec(vec![], Path::new("/"), &BTreeMap::new(), Os::Linux).is_err());
    }
}
