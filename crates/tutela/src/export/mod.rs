//! Exports. Writes a spec as native files that need no guard, and tells what they cannot do.
//!
//! Called by `cli::export`, which brings the spec and writes the files. Everything here is a function of the spec as
//! it was read: where variables of the environment are in it, the report says so. How texts are escaped is known to `tutela-os`, which registers guards.
//!
//! Invariant: every key that the spec writes is kept, changed or lost in the report; one that no translation told of is
//! reported as lost. Values of environment files are never copied, nor secrets of the environment: files are named, because
//! units can be read by all.

mod environment;
mod launchd;
mod report;
mod systemd;

#[cfg(test)]
mod tests;

pub use report::{Exported, File, Outcome};

use environment::Environment;
use report::Report;
use tutela_schema::spec::Loaded;

/// Why a spec cannot be written for an OS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: services.{service}.{key}: {why}")]
pub struct ExportError {
    /// The service.
    pub service: String,
    /// Its key.
    pub key: String,
    /// Why.
    pub why: String,
    mend: Option<String>,
}

impl ExportError {
    fn new(service: &str, key: &str, why: impl Into<String>, mend: &str) -> Self {
        let mend = (!mend.is_empty()).then(|| mend.to_owned());
        ExportError { service: service.to_owned(), key: key.to_owned(), why: why.into(), mend }
    }

    /// How to mend it.
    pub fn help(&self) -> Option<&str> {
        self.mend.as_deref()
    }
}

/// Units of systemd: one for each instance, and a target for all of them.
///
/// # Errors
/// Something that a unit cannot say.
pub fn systemd(loaded: &Loaded) -> Result<Exported, ExportError> {
    let mut report = Report::of(loaded);
    let environment = Environment::of(loaded, "put it into an environment file", &mut report);
    let files = systemd::files(&loaded.spec, &environment, &mut report)?;
    Ok(report.finish("systemd", files))
}

/// Property lists of launchd: one for each instance.
///
/// # Errors
/// Something that a property list cannot say.
pub fn launchd(loaded: &Loaded) -> Result<Exported, ExportError> {
    let mut report = Report::of(loaded);
    let environment = Environment::of(loaded, "let the program read it from a file of its own", &mut report);
    let files = launchd::files(&loaded.spec, &environment, &mut report)?;
    Ok(report.finish("launchd", files))
}
