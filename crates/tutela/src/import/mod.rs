//! Imports. Reads what other supervisors are configured with, and makes one spec of it and a report that leaves
//! nothing out.
//!
//! Called by `cli::import`, which brings the bytes and writes what comes out; this module touches the world only
//! through [`Surroundings`]. Each format is a reader (`reg`, `unit`, `json`, …), which knows how its text is built, and
//! a translation (`nssm`, `systemd`, `pm2`, …), which knows what its keys mean. A translation fills a `draft` and tells
//! the `report` of every key; `write` makes TOML of the draft.
//!
//! Invariants: a key that was read and that nobody told of is reported as lost when the import ends; what is written
//! has been read by `tutela-schema` and is valid; no password and no private key gets into the spec or the report.
//!
//! Deliberately absent: whether programs, accounts and folders exist. That is asked of the computer that will run the
//! spec, by `tutela check` and `tutela doctor`.

mod detect;
mod draft;
mod ini;
mod json;
mod needs;
mod nssm;
mod pm2;
mod procfile;
mod reg;
mod report;
mod shell;
mod source;
mod supervisord;
mod systemd;
mod text;
mod unit;
mod verify;
mod winsw;
mod write;

#[cfg(test)]
mod tests;

pub use detect::Format;
pub use report::{Fate, Finding, Report};
pub use source::{FILE_BYTES_MAX, ImportError, OnDisk, Source, Surroundings};

use draft::Draft;
use needs::Needs;
use std::collections::BTreeMap;

/// The most services that one spec is made of; a spec has room for no more instances than that.
const SERVICES_MAX: usize = 1000;

/// What is wanted of an import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The format of every source; `None`: each is looked at.
    pub format: Option<Format>,
    /// The name of the guard; `None`: that of the only service, or of the folder of the first source.
    pub name: Option<String>,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The name of the guard.
    pub name: String,
    /// The spec, as TOML.
    pub spec: String,
    /// Files that overlay the spec, by the name of their profile: what `NAME.PROFILE.toml` should have.
    pub overlays: BTreeMap<String, String>,
    /// What became of every key.
    pub report: Report,
}

/// What the translations of all sources fill together.
struct Work<'a> {
    draft: Draft,
    report: Report,
    needs: Needs,
    surroundings: &'a dyn Surroundings,
}

/// Makes a spec of the sources.
///
/// # Errors
/// A source cannot be read, or there is nothing in it that could be kept; with its place.
pub fn import(
    sources: &[Source],
    options: &Options,
    surroundings: &dyn Surroundings,
) -> Result<Imported, Box<ImportError>> {
    let mut work = Work { draft: Draft::default(), report: Report::default(), needs: Needs::default(), surroundings };
    for source in sources {
        let text = source.text()?;
        let format = match options.format {
            Some(format) => format,
            None => detect::detect(source, &text)?,
        };
        work.report.begin(&source.shown, format);
        match format {
            Format::Nssm => nssm::translate(&mut work, source, &text)?,
            Format::Winsw => winsw::translate(&mut work, source, &text)?,
            Format::Supervisord => supervisord::translate(&mut work, source, &text)?,
            Format::Systemd => systemd::translate(&mut work, source, &text)?,
            Format::Pm2 => pm2::translate(&mut work, source, &text)?,
            Format::Procfile => procfile::translate(&mut work, source, &text)?,
        }
    }
    let shown = sources.first().map_or("", |source| source.shown.as_ref());
    if work.draft.services.is_empty() {
        let message = "there is no program in it that could be kept running";
        return Err(ImportError::at(shown, 1, 1, message).help("is it the right file?"));
    }
    if work.draft.services.len() > SERVICES_MAX {
        let message = format!("it has {} services, and a spec can have {SERVICES_MAX}", work.draft.services.len());
        return Err(ImportError::at(shown, 1, 1, message).help("import it in parts"));
    }
    work.needs.settle(&mut work.draft, &mut work.report);
    if work.draft.services.iter().any(|service| service.user.is_some()) {
        work.report.note(
            "a service with an account of its own wants a guard that runs as the system (root, LocalSystem): nothing \
             else can give it; leave `user` out, and an installed guard has an account that can do little",
        );
    }
    work.report.finish();
    let name = guard_name(options, &work.draft, sources);
    let spec = write::spec(&name, &work.draft, &work.report);
    let overlays = write::overlays(&name, &work.draft);
    let systems: Vec<_> = work.report.sources.iter().map(|(_, format)| format.os()).collect();
    verify::verify(&name, &spec, &overlays, &work.draft, systems.first().copied())
        .map_err(|why| ImportError::at(shown, 1, 1, format!("it became a spec that is not valid: {why}")))?;
    Ok(Imported { name, spec, overlays, report: work.report })
}

/// The guard's name: as asked, or the only service's, or that of the folder of the first source.
fn guard_name(options: &Options, draft: &Draft, sources: &[Source]) -> String {
    let folder = || sources.first().and_then(|source| source.here.rsplit(['/', '\\']).find(|part| !part.is_empty()));
    let wanted = match (&options.name, draft.services.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [only]) => only.name.as_str(),
        (None, _) => folder().unwrap_or_default(),
    };
    text::fit_name(wanted, "imported").0
}
