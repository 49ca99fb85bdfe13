//! Who besides administrators could replace what a privileged guard runs: its programs, the folders on the way to them,
//! the folders of its PATH, the spec itself.
//!
//! Whoever may do so has an administrator's rights with the next start. Only told where the program would run with such
//! rights: an account that replaces its own programs gains nothing. And who could put something in the place of the log
//! files that such a guard writes for a service with an account of its own.

use super::{Call, Chart, is_privileged};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tutela_core::spec::ServiceSpec;
use tutela_os::access::{self, Writer};
use tutela_schema::spec::Code;

/// What was told already: a thousand services may run the same program.
#[derive(Debug, Default)]
pub(super) struct Exposed {
    seen: BTreeSet<(PathBuf, String)>,
}

impl Exposed {
    /// The program, and a script that its interpreter is given.
    pub(super) fn examine(&mut self, chart: &mut Chart<'_>, call: &Call<'_>, program: &Path) {
        if !is_privileged(call.launch()) {
            return;
        }
        let script = call.words.get(1).map(|word| call.launch().cwd.join(word)).filter(|path| path.is_file());
        for path in std::iter::once(program.to_owned()).chain(script) {
            self.tell(chart, call.service.name.as_str(), &call.keys, &path, "a program that it runs");
        }
    }

    /// The folder of its log files, where the spec names one. The guard writes there with its own rights, whatever
    /// account the service has.
    pub(super) fn examine_logs(&mut self, chart: &mut Chart<'_>, service: &ServiceSpec) {
        let Some(folder) = &service.logs.dir else { return };
        if service.launch.user.is_none() || !tutela_os::accounts::is_privileged() {
            return;
        }
        // One that is not there yet is made in the nearest that is.
        let Some(there) = folder.ancestors().find(|folder| folder.is_dir()) else { return };
        for writer in self.new_writers(there) {
            let message = format!(
                "{writer}: the guard writes log files in {} with an administrator's rights; they can remove them, put \
                 others in their place and so take what is written",
                folder.display()
            );
            let help = "take that right away, or leave `logs.dir` out: the guard's own folder is closed to them";
            chart.note(Code::WritableByOthers, service.name.as_str(), &["logs", "dir"], message, help);
        }
    }

    /// The working folder, and the folders in which its programs look for others.
    pub(super) fn examine_folders(&mut self, chart: &mut Chart<'_>, service: &ServiceSpec) {
        if !is_privileged(&service.launch) {
            return;
        }
        let name = service.name.as_str();
        self.tell(chart, name, &["cwd"], &service.launch.cwd.clone(), "its working folder");
        let path = super::variable(&service.launch, "PATH").unwrap_or_default();
        for folder in std::env::split_paths(&path).filter(|folder| folder.is_dir()) {
            self.tell(chart, name, &["env", "PATH"], &folder, "a folder of its PATH");
        }
    }

    /// The files that say what is run.
    pub(super) fn examine_spec_file(&mut self, chart: &mut Chart<'_>) {
        if !tutela_os::accounts::is_privileged() {
            return;
        }
        let files: Vec<PathBuf> =
            chart.loaded.files().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned())).collect();
        for file in files {
            self.tell(chart, "", &[], &file, "a file that says what is run");
        }
    }

    fn tell(&mut self, chart: &mut Chart<'_>, service: &str, keys: &[&str], path: &Path, what: &str) {
        for writer in self.new_writers(path) {
            let whole = if writer.path == path { String::new() } else { format!(" on the way to {}", path.display()) };
            let message = format!("{writer}: {what}{whole}; with the next start they have an administrator's rights");
            let help = "take that right away, move it to a folder of administrators, or run the service as an account of its own";
            chart.note(Code::WritableByOthers, service, keys, message, help);
        }
    }

    /// Who may write there, without those that were told of already. What cannot be looked at is told by the preflight,
    /// when it matters.
    fn new_writers(&mut self, path: &Path) -> Vec<Writer> {
        let mut writers = access::who_may_write(path).unwrap_or_default();
        writers.retain(|writer| self.seen.insert((writer.path.clone(), writer.who.to_string())));
        writers
    }
}
