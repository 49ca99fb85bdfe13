//! From the text of a spec file to a [`GuardSpec`], with the place of every mistake.
//!
//! [`read`] does it all: it is called by `check`, `run`, `install`, `reload` and by the fuzzer, and touches the world
//! only through [`Sources`]. Either the spec is whole, valid and total, or it is [`Refused`] with everything that is
//! wrong with it.
//!
//! # Layers, later ones win
//! 1. the spec file;
//! 2. the profile file beside it: `shop.toml` with the profile `test` is overlaid by `shop.test.toml`;
//! 3. the section of each service for the OS: `[services.api.linux]`.
//!
//! Tables merge deeply; arrays and single values replace. A layer that gives a probe another target, or an alert
//! another way, replaces the one below. Then variables are put in: see `interpolate` for what `${NAME}` sees.
//!
//! # The environment of a program, later ones win
//! 1. the environment of the guard, without what is meant for the guard alone ([`tutela_core::spec::HOST_VARIABLES`]);
//! 2. the service's `env_files`, in their order;
//! 3. the service's `env`.
//!
//! # Stages
//! `source` reads bytes, `tree` parses and merges, `interpolate` puts variables in, `de` gives `keys`, and `service`,
//! `probe`, `stop`, `alert`, `sink`, `api` and `needs` make of them what core knows. Deliberately absent: whether a program exists,
//! a port is free or an account is known; that is the preflight's business, on the machine that will run it.

mod alert;
mod api;
mod de;
mod diagnostic;
mod elsewhere;
mod env_file;
mod excerpt;
mod install;
mod interpolate;
mod keys;
mod logs;
mod metrics;
mod needs;
mod otlp;
mod probe;
mod reader;
mod reference;
mod resolved;
mod run;
mod scalar;
mod secret_refs;
mod secrets;
mod section;
mod service;
mod sink;
mod source;
mod stop;
mod traces;
mod tree;
mod union;

#[cfg(test)]
mod tests;

pub use api::token_hash_text;
pub use diagnostic::{Code, Diagnostic, Origin, Severity};
pub use excerpt::blanked;
pub use reader::{INSTANCES_TOTAL_MAX, read};
pub use reference::{reference_markdown, schema};
pub use resolved::{ResolvedValue, is_secret};
pub use run::run_spec;
pub use source::{Disk, FILE_BYTES_MAX, Files};
pub use union::EnvFile;

use section::steps;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tutela_core::spec::GuardSpec;

/// The OS that a spec is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// macOS.
    Macos,
}

impl Os {
    /// The OS that this program runs on; anything else than the three is taken for Linux.
    pub fn here() -> Self {
        match std::env::consts::OS {
            "windows" => Os::Windows,
            "macos" => Os::Macos,
            _ => Os::Linux,
        }
    }

    /// The key of its section.
    pub const fn key(self) -> &'static str {
        match self {
            Os::Linux => "linux",
            Os::Windows => "windows",
            Os::Macos => "macos",
        }
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// The name of the variable that names a profile.
pub const PROFILE_VARIABLE: &str = "TUTELA_PROFILE";

/// Everything that a spec is read from.
#[derive(Clone)]
pub struct Sources<'a> {
    /// The spec file, as the user wrote it.
    pub path: PathBuf,
    /// The folder that a relative `path` starts at; absolute.
    pub cwd: PathBuf,
    /// The profile that was asked for; `None`: the one in [`PROFILE_VARIABLE`], if there is one.
    pub profile: Option<String>,
    /// The environment of the process.
    pub env: BTreeMap<String, String>,
    /// Variables of the process that are no Unicode and so are missing in `env`.
    pub env_left_out: Vec<String>,
    /// The OS that the spec is read for.
    pub os: Os,
    /// Where files come from.
    pub files: &'a dyn Files,
}

impl Sources<'static> {
    /// What this process has, and the files of this computer.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn of_process(path: impl Into<PathBuf>, profile: Option<String>) -> io::Result<Self> {
        let (env, env_left_out) = process_env();
        Ok(Sources {
            path: path.into(),
            cwd: std::env::current_dir()?,
            profile,
            env,
            env_left_out,
            os: Os::here(),
            files: &Disk,
        })
    }
}

/// The environment of this process, and the names of the variables in it that are no Unicode.
pub fn process_env() -> (BTreeMap<String, String>, Vec<String>) {
    let (mut env, mut left_out) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(env.insert(name, value)),
            (Ok(name), Err(_)) => left_out.push(name),
            (Err(name), _) => left_out.push(name.to_string_lossy().into_owned()),
        }
    }
    (env, left_out)
}

/// A spec that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What the operator wants.
    pub spec: GuardSpec,
    /// The folder that relative paths start at; absolute.
    pub folder: PathBuf,
    /// The profile that it was read with.
    pub profile: Option<String>,
    /// What is worth knowing about it.
    pub warnings: Vec<Diagnostic>,
    origins: resolved::Origins,
}

impl Loaded {
    /// The files that were read, the spec file first: what a watcher would watch.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.origins.sources.paths()
    }

    /// Where a service's key is written, or the nearest thing to it that is: for those who find out later that
    /// something is wrong with it.
    pub fn origin_of(&self, service: &str, keys: &[&str]) -> Option<Origin> {
        let known = self.origins.services.get(service)?;
        let steps: Vec<tree::Step> = keys.iter().map(|key| tree::Step::Key((*key).to_owned())).collect();
        Some(self.origins.sources.origin(known.tree.place_of(&steps)))
    }

    /// Where a key outside of the services is written, such as `["sinks", "central", "tls", "ca"]`, or the nearest thing
    /// to it that is.
    pub fn origin_in_root(&self, keys: &[&str]) -> Origin {
        let steps: Vec<tree::Step> = keys.iter().map(|key| tree::Step::Key((*key).to_owned())).collect();
        self.origins.sources.origin(self.origins.root.place_of(&steps))
    }

    /// Variables that values of the spec were made with and that came from the environment of the process: whoever reads
    /// the spec in another environment, as a service manager's, reads something else.
    pub fn variables_of_process(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let trees = self.origins.services.values().map(|service| &service.tree);
        for tree in trees.chain([&self.origins.root]) {
            tree.each(&mut |node| {
                let used = node.used.iter().flat_map(|used| used.iter());
                names.extend(used.filter(|it| it.from == tree::UsedFrom::Process).map(|it| it.name.clone()));
            });
        }
        names
    }

    /// Variables from outside of the spec that what a service has at `keys` was made with, below them too.
    pub fn made_with(&self, service: &str, keys: &[&str]) -> Vec<Outside> {
        let Some(known) = self.origins.services.get(service) else { return Vec::new() };
        let steps: Vec<tree::Step> = keys.iter().map(|key| tree::Step::Key((*key).to_owned())).collect();
        let mut found = Vec::new();
        let Some(node) = known.tree.find(&steps) else { return found };
        node.each(&mut |node| {
            for used in node.used.iter().flat_map(|used| used.iter()) {
                let of_file = match used.from {
                    tree::UsedFrom::Process => false,
                    tree::UsedFrom::File(_) => true,
                    tree::UsedFrom::Default => continue,
                };
                let outside = Outside { name: used.name.clone(), of_file };
                if !found.contains(&outside) {
                    found.push(outside);
                }
            }
        });
        found
    }

    /// Whether the spec itself sets this variable of a service.
    pub fn sets_variable(&self, service: &str, name: &str) -> bool {
        let known = self.origins.services.get(service);
        known.is_some_and(|known| known.tree.find(steps!["env", name]).is_some())
    }

    /// Whether an environment file of a service has this variable.
    pub fn file_has_variable(&self, service: &str, name: &str) -> bool {
        self.origins.services.get(service).is_some_and(|known| known.variables.contains_key(name))
    }

    /// A service's environment files in their order, absolute, those that are missing among them.
    pub fn env_files_of(&self, service: &str) -> &[EnvFile] {
        self.origins.services.get(service).map_or(&[], |known| &known.env_files)
    }

    /// Every value of the spec, defaults included, with where it came from; secrets are masked.
    pub fn resolved(&self) -> Vec<ResolvedValue> {
        resolved::resolve(&self.spec, &self.origins)
    }
}

/// A variable from outside of the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// Whether an environment file has it; otherwise the environment of the process.
    pub of_file: bool,
}

/// Why a spec cannot be used: at least one error, and the warnings beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {}", summary(.diagnostics))]
pub struct Refused {
    /// What is wrong, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    match errors.as_slice() {
        [] => "the spec".into(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}
