//! What a spec would meet on this computer, and what this computer would do to a guard: looked for without starting
//! anything.
//!
//! Called by `tutela doctor`. [`crate::preflight`] finds what makes a start fail for certain, before each start; this
//! looks longer and further: libraries of programs, who could replace them, variables that hijack loaders, the clock,
//! the disk. Every finding is a [`Diagnostic`] with its mend. Nothing is changed, and nothing here is fatal to a start.
//!
//! - [`libraries`]: what programs link to, and whether it is there;
//! - [`environment`]: variables that make loaders run somebody else's code;
//! - [`exposure`]: who besides administrators could replace what a privileged guard runs;
//! - [`host`]: clock, disk, limits.

mod environment;
mod exposure;
mod host;
mod libraries;

pub use host::examine as examine_host;

use crate::preflight::variable;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use tutela_core::spec::{GuardSpec, Launch, ServiceSpec};
use tutela_os::process::find_program;
use tutela_schema::spec::{Code, Diagnostic, Loaded};

/// Looks at everything that the spec would run.
pub fn examine_spec(spec: &GuardSpec, loaded: &Loaded) -> Vec<Diagnostic> {
    let mut chart = Chart { loaded, found: Vec::new() };
    let mut inspected = libraries::Inspected::default();
    let mut inherited = environment::Inherited::new();
    let mut exposed = exposure::Exposed::default();
    for service in crate::preflight::enabled(spec) {
        environment::examine(&mut chart, &mut inherited, service);
        for call in calls(service) {
            if let Some(program) = &call.program {
                libraries::examine(&mut chart, &mut inspected, &call, program);
                exposed.examine(&mut chart, &call, program);
            }
        }
        exposed.examine_folders(&mut chart, service);
        exposed.examine_logs(&mut chart, service);
    }
    exposed.examine_spec_file(&mut chart);
    chart.found
}

/// Looks who could write the files that say what a privileged guard runs. Nothing is found for others.
pub fn examine_spec_files(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut chart = Chart { loaded, found: Vec::new() };
    exposure::Exposed::default().examine_spec_file(&mut chart);
    chart.found
}

/// Where findings are put down.
struct Chart<'a> {
    loaded: &'a Loaded,
    found: Vec<Diagnostic>,
}

impl Chart<'_> {
    fn note(&mut self, code: Code, service: &str, keys: &[&str], message: String, help: impl Into<String>) {
        let origin = self.loaded.origin_of(service, keys);
        self.found.push(Diagnostic::warning(code, origin, message).help(help));
    }

    fn wrong(&mut self, code: Code, service: &str, keys: &[&str], message: String, help: impl Into<String>) {
        let origin = self.loaded.origin_of(service, keys);
        self.found.push(Diagnostic::error(code, origin, message).help(help));
    }
}

/// A program that a service runs: its own, or that of a hook, a probe, a stop step.
struct Call<'a> {
    service: &'a ServiceSpec,
    /// Where it is written.
    keys: Vec<&'static str>,
    words: Vec<String>,
    /// Its file; `None`: there is none.
    program: Option<PathBuf>,
}

impl Call<'_> {
    fn launch(&self) -> &Launch {
        &self.service.launch
    }

    /// A variable that the program will have.
    fn variable(&self, name: &str) -> Option<OsString> {
        variable(self.launch(), name)
    }
}

fn calls(service: &ServiceSpec) -> Vec<Call<'_>> {
    let path = variable(&service.launch, "PATH");
    let commands = crate::preflight::commands_of(service);
    commands
        .into_iter()
        .map(|command| {
            let words = command.command.render(0);
            let first = words.first().map(String::as_str).unwrap_or_default();
            let program = find_program(OsStr::new(first), path.as_deref(), &service.launch.cwd).ok();
            let program = program.map(|found| absolute(&found, &service.launch.cwd));
            Call { service, keys: command.keys, words, program }
        })
        .collect()
}

fn absolute(path: &Path, folder: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { folder.join(path) }
}

/// Whether a program of this service runs with the rights of an administrator when the guard does.
fn is_privileged(launch: &Launch) -> bool {
    const ADMINISTRATORS: [&str; 5] = ["root", "0", "system", "localsystem", "administrator"];
    match &launch.user {
        None => tutela_os::accounts::is_privileged(),
        Some(user) => {
            let bare = user.rsplit('\\').next().unwrap_or(user).to_ascii_lowercase();
            ADMINISTRATORS.contains(&bare.as_str())
        }
    }
}
