//! What a program gets and may do: account, folder, environment, output, limits, hardening.

use super::super::draft::EnvFile;
use super::super::report::Entry;
use super::super::source::ImportError;
use super::super::text::Text;
use super::super::unit;
use super::{Reading, size, truth};
use tutela_core::spec::Capability;

/// Folders that a unit makes below one of systemd's, by key, with the variable that names them.
pub(super) const FOLDERS: [(&str, &str, &str); 5] = [
    ("StateDirectory", "/var/lib", "STATE_DIRECTORY"),
    ("CacheDirectory", "/var/cache", "CACHE_DIRECTORY"),
    ("LogsDirectory", "/var/log", "LOGS_DIRECTORY"),
    ("RuntimeDirectory", "/run", "RUNTIME_DIRECTORY"),
    ("ConfigurationDirectory", "/etc", "CONFIGURATION_DIRECTORY"),
];

impl Reading<'_, '_> {
    pub(super) fn process(&mut self) -> Result<(), Box<ImportError>> {
        for (key, to) in [("User", "user"), ("Group", "group")] {
            let Some(entry) = self.keys.last(key) else { continue };
            let text = self.text(&entry, &entry.value, to);
            let name = text.as_str().to_owned();
            if text.varies() || name.trim().is_empty() {
                self.report().lost(&entry, "the account cannot differ between instances");
                continue;
            }
            *(if to == "user" { &mut self.it.user } else { &mut self.it.group }) = Some(name);
        }
        if let Some(entry) = self.keys.last("UMask") {
            match u32::from_str_radix(&entry.value, 8).ok().filter(|bits| *bits <= 0o777) {
                Some(bits) => {
                    self.it.umask = Some(bits);
                    self.report().kept(&entry, "umask");
                }
                None => self.report().lost(&entry, "it is no umask"),
            }
        }
        self.folder();
        self.environment()?;
        self.output();
        Ok(())
    }

    fn folder(&mut self) {
        let Some(entry) = self.keys.last("WorkingDirectory") else {
            self.it.cwd = Some(Text::literal("/"));
            self.report().note("systemd starts programs in / where WorkingDirectory is missing: cwd is written out");
            return;
        };
        let path = entry.value.trim_start_matches('-').to_owned();
        if path == "~" {
            self.it.cwd = Some(Text::literal("/"));
            self.report().lost(&entry, "the home folder of the account is not looked up; write its path");
            return;
        }
        let text = self.text(&entry, &path, "cwd");
        if text.varies() {
            self.report().lost(&entry, "a folder cannot differ between instances");
            return;
        }
        if path.len() < entry.value.len() {
            self.report().changed(&entry, "cwd", "a folder that is missing fails the start");
        }
        self.it.cwd = Some(text);
    }

    fn environment(&mut self) -> Result<(), Box<ImportError>> {
        for entry in self.keys.all("Environment") {
            let words = unit::words(&entry.value).map_err(|why| self.refuse(&entry, why))?;
            for word in words {
                match word.text.split_once('=') {
                    Some((name, value)) => {
                        let mut notes = Vec::new();
                        let text = self.scope.specified(value, &mut notes);
                        self.it.set(&mut self.work.report, &entry, name, text);
                        if !notes.is_empty() {
                            let to = format!("env.{}", super::super::text::key(name));
                            self.report().changed(&entry, &to, notes.join("; "));
                        }
                    }
                    None => self.report().lost(&entry, format!("{:?} sets no variable", word.text)),
                }
            }
        }
        for (_, _, variable) in FOLDERS {
            let Some(value) = self.scope.own.get(variable).cloned().filter(|_| !self.it.env.contains_key(variable))
            else {
                continue;
            };
            let mut notes = Vec::new();
            let text = self.scope.specified(&value, &mut notes);
            self.it.env.insert(variable.to_owned(), text);
            self.report().note(format!("systemd sets {variable} for the folder that it makes: it is written into env"));
        }
        for entry in self.keys.all("EnvironmentFile") {
            let optional = entry.value.starts_with('-');
            let path = entry.value.trim_start_matches('-').to_owned();
            let text = self.text(&entry, &path, "env_files");
            if text.varies() || path.contains('*') {
                self.report().lost(&entry, "one file is named by one path, the same for all instances");
                continue;
            }
            self.it.env_files.push(EnvFile { path: text, optional });
        }
        if !self.it.env_files.is_empty() && !self.it.env.is_empty() {
            let note = "in systemd EnvironmentFile wins over Environment; here env wins over env_files: look at names that stand in both";
            self.report().note(note);
        }
        for entry in self.keys.all("PassEnvironment") {
            self.report().changed(&entry, "env", "the whole environment of the guard is passed on");
        }
        Ok(())
    }

    fn output(&mut self) {
        for key in ["StandardOutput", "StandardError"] {
            let Some(entry) = self.keys.last(key) else { continue };
            let path = ["file:", "append:", "truncate:"].iter().find_map(|front| entry.value.strip_prefix(front));
            match (path, entry.value.as_str()) {
                (Some(path), _) => {
                    let path = path.to_owned();
                    let dir = path.rsplit_once('/').map_or("/", |(dir, _)| if dir.is_empty() { "/" } else { dir });
                    let mut notes = Vec::new();
                    let dir = self.scope.specified(dir, &mut notes);
                    if dir.varies() || self.it.logs.dir.as_ref().is_some_and(|known| *known != dir) {
                        self.report().lost(&entry, "both streams go into one log, in the folder of standard output");
                        continue;
                    }
                    self.it.logs.dir = Some(dir);
                    let how = "both streams go into one log in this folder, with the name of the stream in each line; it is rotated";
                    self.report().changed(&entry, "logs.dir", how);
                }
                (None, "inherit") => self.report().kept(&entry, ""),
                (None, "null") => self.report().changed(&entry, "logs", "output is always kept; it is rotated"),
                (None, "socket" | "tty") => self.report().lost(&entry, "output goes into the guard's logs"),
                (None, _) => {
                    self.report().changed(
                        &entry,
                        "logs",
                        "output is in files of the guard, which `tutela logs` shows, not in the journal",
                    );
                }
            }
        }
    }

    pub(super) fn limits(&mut self) {
        for (key, to) in
            [("MemoryLimit", "limits.memory"), ("MemoryMax", "limits.memory"), ("TasksMax", "limits.processes")]
        {
            let Some(entry) = self.keys.last(key) else { continue };
            let number = if key == "TasksMax" { entry.value.parse().ok() } else { size(&entry.value) };
            match number.filter(|number| *number > 0) {
                Some(number) if to == "limits.memory" => {
                    self.it.limits.memory = Some(number);
                    self.report().kept(&entry, to);
                }
                Some(number) => {
                    self.it.limits.processes = Some(number);
                    self.report().kept(&entry, to);
                }
                None if entry.value == "infinity" => self.report().kept(&entry, ""),
                None => self.report().lost(&entry, "a part of the computer's own is not worked out; write the number"),
            }
        }
        if let Some(entry) = self.keys.last("CPUQuota") {
            let percent = entry.value.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            match percent.filter(|percent| (1.0..=1_000_000.0).contains(percent)) {
                Some(percent) => {
                    self.it.limits.cpu = Some(percent.round() as u32);
                    self.report().kept(&entry, "limits.cpu");
                }
                None => self.report().lost(&entry, "it is no percentage"),
            }
        }
        for (key, to) in [("LimitNOFILE", "limits.open_files"), ("LimitCORE", "limits.core")] {
            let Some(entry) = self.keys.last(key) else { continue };
            let (soft, hard) = entry.value.split_once(':').unwrap_or((&entry.value, &entry.value));
            match (size(hard), to) {
                (Some(number), "limits.open_files") if number > 0 => self.it.limits.open_files = Some(number),
                (Some(number), "limits.core") => self.it.limits.core = Some(number),
                _ if hard == "infinity" && key == "LimitCORE" => self.it.limits.core = Some(1 << 60),
                _ => {
                    self.report().lost(&entry, "there is no bound without end; write a number");
                    continue;
                }
            }
            match soft == hard {
                true => self.report().kept(&entry, to),
                false => self.report().changed(&entry, to, "the soft and the hard limit are one, the hard one"),
            }
        }
        if let Some(entry) = self.keys.last("Nice") {
            let (word, same) = match entry.value.parse::<i32>() {
                Ok(0) => (Some("normal"), true),
                Ok(-5) => (Some("high"), true),
                Ok(10) => (Some("low"), true),
                Ok(19) => (Some("idle"), true),
                Ok(..0) => (Some("high"), false),
                Ok(1..=14) => (Some("low"), false),
                Ok(_) => (Some("idle"), false),
                Err(_) => (None, false),
            };
            self.it.limits.priority = word;
            match (word, same) {
                (Some(_), true) => self.report().kept(&entry, "limits.priority"),
                (Some(_), false) => self.report().changed(
                    &entry,
                    "limits.priority",
                    "priorities have words: idle is 19, low is 10, high is -5",
                ),
                (None, _) => self.report().lost(&entry, "it is no number"),
            }
        }
    }

    pub(super) fn security(&mut self) {
        if let Some(entry) = self.keys.last("NoNewPrivileges") {
            self.it.security.no_new_privileges = truth(&entry.value) == Some(true);
            self.report().kept(&entry, "security.no_new_privileges");
        }
        self.capabilities();
        let mut writable = Vec::new();
        for (key, base, _) in FOLDERS {
            for entry in self.keys.all(key) {
                for name in entry.value.split_whitespace() {
                    let mut notes = Vec::new();
                    let name = name.split(':').next().unwrap_or_default();
                    let path = self.scope.specified(&format!("{base}/{name}"), &mut notes);
                    let how = format!(
                        "{}: a guard does not make it; `tutela install` does when [install] writable_paths names it, and \
                             for a user of its own make it once and give it to that account",
                        path.as_str()
                    );
                    if path.varies() {
                        self.report().lost(&entry, how);
                    } else {
                        writable.push(path);
                        self.report().lost(&entry, how);
                    }
                }
            }
        }
        if let Some(entry) = self.keys.last("ProtectSystem") {
            let paths: &[&str] = match entry.value.as_str() {
                "strict" => &["/"],
                "full" => &["/usr", "/boot", "/etc"],
                value if truth(value) == Some(true) => &["/usr", "/boot"],
                _ => &[],
            };
            self.it.security.read_only_paths.extend(paths.iter().map(|path| Text::literal(path)));
            match paths {
                [] => self.report().kept(&entry, ""),
                ["/"] => {
                    let how = "the whole tree of files is read-only for the program; what it writes to is in writable_paths, /tmp and /run too";
                    self.report().changed(&entry, "security.read_only_paths", how);
                    self.it
                        .security
                        .writable_paths
                        .extend(["/dev", "/proc", "/run", "/tmp", "/var/tmp"].map(Text::literal));
                    self.it.security.writable_paths.append(&mut writable);
                }
                _ => self.report().kept(&entry, "security.read_only_paths"),
            }
        }
        for key in ["ReadOnlyPaths", "ReadOnlyDirectories", "ReadWritePaths", "ReadWriteDirectories"] {
            for entry in self.keys.all(key) {
                for path in entry.value.split_whitespace() {
                    let (bare, to) = (
                        path.trim_start_matches(['-', '+']),
                        if key.starts_with("ReadOnly") {
                            "security.read_only_paths"
                        } else {
                            "security.writable_paths"
                        },
                    );
                    let mut notes = Vec::new();
                    let text = self.scope.specified(bare, &mut notes);
                    if text.varies() {
                        self.report().lost(&entry, "a path cannot differ between instances");
                        continue;
                    }
                    let list = &mut self.it.security;
                    let list =
                        if key.starts_with("ReadOnly") { &mut list.read_only_paths } else { &mut list.writable_paths };
                    if !list.contains(&text) {
                        list.push(text);
                    }
                    match bare.len() == path.len() {
                        true => self.report().kept(&entry, to),
                        false => self.report().changed(&entry, to, "a folder that is missing fails the start"),
                    }
                }
            }
        }
        if self.it.security.read_only_paths.is_empty() && !self.it.security.writable_paths.is_empty() {
            self.report().note(
                "everything is writable where no path is read-only: writable_paths only matters with read_only_paths",
            );
        }
    }

    /// What a program keeps is also given to its account here, so a bound alone is no list for an account without rights.
    fn capabilities(&mut self) {
        let bound = self.capability_list("CapabilityBoundingSet");
        let given = self.capability_list("AmbientCapabilities");
        let account =
            self.it.user.is_some() || self.keys.last("DynamicUser").is_some_and(|it| truth(&it.value) == Some(true));
        let to = "security.capabilities";
        self.it.security.capabilities = match (&given, &bound) {
            (Some((names, _)), _) => Some(names.clone()),
            (None, Some((names, _))) if !account || names.is_empty() => Some(names.clone()),
            (None, _) => None,
        };
        for entry in given.iter().flat_map(|(_, entries)| entries) {
            self.work.report.kept(entry, to);
        }
        for entry in bound.iter().flat_map(|(_, entries)| entries) {
            match (&given, self.it.security.capabilities.is_some()) {
                (None, true) => self.work.report.kept(entry, to),
                (None, false) => {
                    let why = "what is listed here would also be given to the account, which has none of it; \
                               no_new_privileges keeps it from getting any";
                    self.work.report.lost(entry, why);
                }
                (Some(_), _) => self.work.report.changed(entry, to, "what is not given to the account is taken away"),
            }
        }
    }

    /// The names of a list of capabilities, and its entries, if there is one that can be written.
    fn capability_list(&mut self, key: &str) -> Option<(Vec<String>, Vec<Entry>)> {
        let mut list: Option<(Vec<String>, Vec<Entry>)> = None;
        for entry in self.keys.all(key) {
            if entry.value.starts_with('~') {
                self.report().lost(&entry, "capabilities are listed that are kept, not those that are taken away");
                continue;
            }
            let (names, entries) = list.get_or_insert_default();
            for name in entry.value.split_whitespace() {
                match Capability::from_name(name) {
                    Some(capability) if !names.iter().any(|known| known == capability.name()) => {
                        names.push(capability.name().to_owned());
                    }
                    Some(_) => {}
                    None => self.work.report.lost(&entry, format!("{name} is no capability")),
                }
            }
            entries.push(entry);
        }
        list
    }
}
