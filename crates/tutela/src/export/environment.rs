//! Where the variables of a program come from, and which of them may stand in a file that everybody reads.

use super::report::Report;
use std::collections::BTreeMap;
use tutela_schema::spec::{EnvFile, Loaded, is_secret};

/// What every account can do with a native file, for notes.
const READ_BY_ALL: &str = "what stands there can be read by every account";

/// The environment of every service, by where its variables come from.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, OfService>);

/// The environment of one service.
#[derive(Debug, Default)]
pub(super) struct OfService {
    /// The variables that the spec or one of its files has.
    pub(super) variables: BTreeMap<String, Variable>,
    /// Files with variables, absolute, in their order.
    pub(super) files: Vec<EnvFile>,
}

/// A variable of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    /// The spec has its value.
    Open,
    /// The spec has its value, and that is worth a note.
    Noted(String),
    /// Its value is not for everybody's eyes; why.
    Hidden(String),
    /// An environment file has it.
    OfFile,
}

impl Variable {
    /// Whether the native file has its value.
    pub(super) fn is_written(&self) -> bool {
        matches!(self, Variable::Open | Variable::Noted(_))
    }
}

impl Environment {
    /// Of all services; where other keys were made with variables, the report says so.
    /// `elsewhere`: where a secret belongs instead, in words.
    pub(super) fn of(loaded: &Loaded, elsewhere: &str, report: &mut Report) -> Self {
        let mut out = BTreeMap::new();
        for service in loaded.spec.services.values() {
            let name = service.name.as_str();
            let mut one = OfService { files: loaded.env_files_of(name).to_vec(), ..OfService::default() };
            for variable in service.launch.env.keys() {
                if loaded.sets_variable(name, variable) {
                    one.variables.insert(variable.to_string(), set_by_spec(loaded, name, variable, elsewhere));
                } else if loaded.file_has_variable(name, variable) {
                    one.variables.insert(variable.to_string(), Variable::OfFile);
                }
            }
            for (variable, reference) in &service.launch.secrets {
                let why = format!("it is {reference}, which only a guard looks up; {elsewhere}");
                one.variables.insert(variable.to_string(), Variable::Hidden(why));
            }
            note_others(loaded, name, report);
            out.insert(name.to_owned(), one);
        }
        Environment(out)
    }

    pub(super) fn get(&self, service: &str) -> Option<&OfService> {
        self.0.get(service)
    }
}

fn set_by_spec(loaded: &Loaded, service: &str, variable: &str, elsewhere: &str) -> Variable {
    let outside = loaded.made_with(service, &["env", variable]);
    let names = listed(outside.iter().map(|it| it.name.as_str()));
    if outside.iter().any(|it| it.of_file) {
        return Variable::Hidden(format!(
            "it is made with {names} of an environment file, and {READ_BY_ALL}; {elsewhere}"
        ));
    }
    let secret = is_secret(variable) || outside.iter().any(|it| is_secret(&it.name));
    if !outside.is_empty() && secret {
        return Variable::Hidden(format!("it is made with {names} of the environment, and {READ_BY_ALL}; {elsewhere}"));
    }
    if !outside.is_empty() {
        return Variable::Noted(format!("it has what {names} was in the environment of this export"));
    }
    if secret {
        return Variable::Noted(format!("{READ_BY_ALL}: better {elsewhere}"));
    }
    if loaded.file_has_variable(service, variable) {
        return Variable::Noted("an environment file has it too, and wins over Environment= there".to_owned());
    }
    Variable::Open
}

/// Tells of keys other than variables that are made with what this export saw.
fn note_others(loaded: &Loaded, service: &str, report: &mut Report) {
    let prefix = format!("services.{service}.");
    let mut keys: Vec<String> = loaded
        .resolved()
        .iter()
        .filter_map(|it| it.key.strip_prefix(&prefix)?.split(['.', '[']).next().map(str::to_owned))
        .filter(|key| key != "env" && key != "env_files")
        .collect();
    keys.dedup();
    for key in keys {
        let outside = loaded.made_with(service, &[&key]);
        if !outside.is_empty() {
            let names = listed(outside.iter().map(|it| it.name.as_str()));
            report.note(format!("{prefix}{key} has what {names} was at this export; {READ_BY_ALL}"));
        }
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
