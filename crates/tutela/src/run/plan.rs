//! What a guard is to keep: its spec read and looked at, at its start and again at each reload.

use super::{Failure, What};
use crate::api::Reload;
use crate::preflight::{self, Ports};
use std::path::PathBuf;
use tutela_core::names::Name;
use tutela_core::spec::GuardSpec;
use tutela_schema::spec::{Diagnostic, Loaded, Severity, Sources};

/// What is to be kept, checked but for its ports.
pub(super) struct Plan {
    pub spec: GuardSpec,
    /// Where everything is written; a single program is written nowhere.
    pub loaded: Option<Loaded>,
    pub warnings: Vec<Diagnostic>,
    pub folder: PathBuf,
    /// What it is, for people.
    pub words: String,
}

pub(super) fn load(what: &What) -> Result<Plan, Failure> {
    match what {
        What::File { path, profile } => {
            let (loaded, warnings) = read_and_check(path, profile.clone(), |_| Ports::Ours).map_err(Failure::Spec)?;
            let words = std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
            let (spec, folder) = (loaded.spec.clone(), loaded.folder.clone());
            Ok(Plan { spec, loaded: Some(loaded), warnings, folder, words })
        }
        What::Program(words) => {
            let folder = std::env::current_dir()
                .map_err(|error| Failure::Failed(format!("failed to find the working folder: {error}")))?;
            let (env, _) = tutela_schema::spec::process_env();
            let spec = tutela_schema::spec::run_spec(words.clone(), &folder, &env, tutela_schema::spec::Os::here())
                .map_err(|refused| Failure::Spec(refused.diagnostics))?;
            let warnings = sorted_out(preflight::check(&spec, None, Ports::Ours)).map_err(Failure::Spec)?;
            Ok(Plan { spec, loaded: None, warnings, folder, words: words.join(" ") })
        }
    }
}

/// Findings, as an error when one of them is.
pub(super) fn sorted_out(found: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    if found.iter().any(|it| it.severity == Severity::Error) { Err(found) } else { Ok(found) }
}

/// Reads a spec and looks whether this computer has what it needs. Whether that goes for its ports is asked
/// of `ports`, with the guard's name. Answers with what was read and all warnings.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_and_check(
    path: &std::path::Path,
    profile: Option<String>,
    ports: impl FnOnce(&Name) -> Ports,
) -> Result<(Loaded, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (loaded, mut found) = read_and_look(path, profile, ports)?;
    found.extend(crate::doctor::examine_spec_files(&loaded));
    Ok((loaded, sorted_out(found)?))
}

/// The same, but what this computer lacks is no refusal: it is among what is found.
///
/// # Errors
/// Everything that is wrong with the spec itself.
pub fn read_and_look(
    path: &std::path::Path,
    profile: Option<String>,
    ports: impl FnOnce(&Name) -> Ports,
) -> Result<(Loaded, Vec<Diagnostic>), Vec<Diagnostic>> {
    let sources = Sources::of_process(path, profile).map_err(|error| {
        let message = format!("the working folder is gone: {error}");
        vec![Diagnostic::error(tutela_schema::spec::Code::FileUnreadable, None, message)]
    })?;
    let loaded = tutela_schema::spec::read(&sources).map_err(|refused| refused.diagnostics)?;
    let mut found = loaded.warnings.clone();
    found.extend(preflight::check(&loaded.spec, Some(&loaded), ports(&loaded.spec.name)));
    Ok((loaded, found))
}

pub(super) fn reloader(what: &What) -> Option<Box<Reload>> {
    let What::File { path, profile } = what else { return None };
    let (path, profile) = (std::path::absolute(path).unwrap_or_else(|_| path.clone()), profile.clone());
    Some(Box::new(move || {
        // Ports of services that run are in use by them, so a reload does not look at ports.
        read_and_check(&path, profile.clone(), |_| Ports::Ours).map(|(loaded, warnings)| (loaded.spec, warnings))
    }))
}
