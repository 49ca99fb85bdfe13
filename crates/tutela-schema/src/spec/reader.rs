//! The reading of a spec, stage by stage: see the parent module for the order of layers.

use super::alert::alert;
use super::api::api;
use super::de;
use super::diagnostic::{Code, Diagnostic, Severity, near};
use super::env_file;
use super::install::install;
use super::interpolate::{Scope, interpolate};
use super::keys::{
    AlertKeys, AuditKeys, GuardLogKeys, InstallKeys, InstallOsKeys, OsKeys, ServiceKeys, SinkKeys, SpecKeys,
};
use super::logs::{GuardLogs, guard_logs};
use super::metrics::metrics;
use super::needs;
use super::resolved::Origins;
use super::secret_refs::{self, Part};
use super::secrets::Secrets;
use super::section::{Section, resolve, steps};
use super::service::{service, set_variable};
use super::sink::{SINKS_MAX, sink};
use super::source::{Place, SourceMap};
use super::traces::traces;
use super::tree::{self, Entry, Node, Step, Table, Value};
use super::union::EnvFile;
use super::{Loaded, Os, PROFILE_VARIABLE, Refused, Sources};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela_core::names::Name;
use tutela_core::spec::{
    AlertSpec, AuditPolicy, Env, GuardSpec, HOST_VARIABLES, InstallSpec, Redaction, ServiceSpec, Shared, SinkSpec,
};
use tutela_core::template::Template;

/// The most instances of all services together: each may be a program, with pipes and files of its own.
pub const INSTANCES_TOTAL_MAX: usize = 10_000;

/// The most files that are read for one spec.
const FILES_MAX: usize = 4096;

type Variables = BTreeMap<String, (String, Place)>;
type EnvFileLines = Arc<Vec<(String, String, Place)>>;

/// Reads a spec.
///
/// # Errors
/// Everything that is wrong with it, as far as one look can tell.
pub fn read(sources: &Sources<'_>) -> Result<Loaded, Refused> {
    let path = sources.cwd.join(&sources.path);
    let folder = path.parent().map_or_else(|| sources.cwd.clone(), |parent| parent.components().collect());
    let mut reader = Reader { sources, folder, map: SourceMap::default(), out: Vec::new(), env_files: BTreeMap::new() };
    let result = reader.read();
    let Reader { map, mut out, folder, .. } = reader;
    // Files are known by number of appearance only through their diagnostics; a stable sort keeps what is in none first.
    let rank =
        |it: &Diagnostic| it.origin.as_ref().map(|origin| (origin.file != sources.path, origin.line, origin.column));
    out.sort_by_key(rank);
    match result {
        Some((spec, profile, root, services)) if !out.iter().any(|it| it.severity == Severity::Error) => {
            let origins = Origins { sources: map, root, services };
            Ok(Loaded { spec, folder, profile, warnings: out, origins })
        }
        _ => Err(Refused { diagnostics: out }),
    }
}

struct Reader<'a> {
    sources: &'a Sources<'a>,
    folder: PathBuf,
    map: SourceMap,
    out: Vec<Diagnostic>,
    /// Environment files by path: services often share one.
    env_files: BTreeMap<PathBuf, EnvFileLines>,
}

type ReadSpec = (GuardSpec, Option<String>, Node, BTreeMap<String, ServiceOrigins>);

/// What is remembered of a service, to tell where its values came from.
#[derive(Debug)]
pub(super) struct ServiceOrigins {
    pub(super) tree: Node,
    pub(super) variables: Variables,
    /// Its environment files in their order, absolute, those that are missing among them.
    pub(super) env_files: Vec<EnvFile>,
}

impl Reader<'_> {
    fn error(&mut self, code: Code, place: Option<Place>, message: impl Into<String>, help: Option<String>) {
        let origin = place.map(|place| self.map.origin(place));
        self.out.push(Diagnostic { help, ..Diagnostic::error(code, origin, message) });
    }

    /// Loads and parses one layer.
    fn layer(&mut self, path: &Path, what: &str) -> Option<Node> {
        let parsed = self
            .map
            .load(self.sources.files, &self.sources.cwd.join(path), path)
            .map_err(|failure| vec![failure.diagnostic(what, path, None)])
            .and_then(|(file, text)| tree::parse(&text, file, &self.map));
        parsed.map_err(|errors| self.out.extend(errors)).ok()
    }

    /// The profile, and its file, if there is one.
    fn profile(&mut self) -> Option<(String, Option<Node>)> {
        let sources = self.sources;
        let asked = sources.profile.is_some();
        let from_env = || sources.env.get(PROFILE_VARIABLE).filter(|profile| !profile.is_empty());
        let profile = sources.profile.as_ref().or_else(from_env)?.clone();
        if let Err(refusal) = Name::new(&profile) {
            self.error(Code::BadName, None, format!("the profile {profile:?} is no name: {refusal}"), None);
            return None;
        }
        let stem = sources.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = sources.path.with_file_name(format!("{stem}.{profile}.toml"));
        // A variable may be meant for other guards of this machine; an option is meant for this one.
        if !asked && sources.files.read(&sources.cwd.join(&path), 0).is_err() {
            let message = format!("{PROFILE_VARIABLE} is {profile:?} and {} is not there", path.display());
            self.out.push(Diagnostic::warning(Code::FileNotFound, None, message));
            return Some((profile, None));
        }
        let node = self.layer(&path, "the profile file");
        Some((profile, node))
    }

    fn read(&mut self) -> Option<ReadSpec> {
        let sources = self.sources;
        for name in &sources.env_left_out {
            let message = format!("the variable {name} is no Unicode and is not given to any program");
            self.out.push(Diagnostic::warning(Code::NotUtf8, None, message));
        }
        let mut root = self.layer(&sources.path, "the spec file")?;
        let profile = match self.profile() {
            Some((name, Some(node))) => {
                root.overlay(node);
                Some(name)
            }
            Some((name, None)) => Some(name),
            None => None,
        };
        let table = root.as_table_mut()?;
        if table.entries.is_empty() {
            let help = "the least is: name = \"NAME\" and [services.NAME] with a command".to_owned();
            let place = root.place;
            self.error(Code::Empty, Some(place), "the spec is empty", Some(help));
            return None;
        }
        let services = table.take("services");
        let alerts = table.take("alerts");
        let sinks = table.take("sinks");
        let installs = table.take("install");
        let figures = table.take("metrics");
        let spans = table.take("traces");
        let door = table.take("api");

        let none = Variables::new();
        let case_matters = sources.os != Os::Windows;
        let scope = Scope { process: &sources.env, files: &none, case_matters };
        let mut broken = Vec::new();
        self.put_in(&mut root, &scope, Part::Guard, &mut broken);
        let keys: SpecKeys = de::read(&mut root, "", &self.map, &mut self.out, &mut broken).unwrap_or_default();
        let name = self.guard_name(&root, keys.name, broken.is_empty());
        let audit = self.audit(&root, &keys.audit.unwrap_or_default(), &broken);
        let logs = self.logs(&root, keys.logs.unwrap_or_default(), &broken);
        let mut alert_specs = BTreeMap::new();
        let mut services_read = BTreeMap::new();
        let mut origins = BTreeMap::new();
        for (name, entry) in self.tables(alerts.as_ref(), "alerts") {
            if let Some(alert) = self.alert(name.clone(), entry, &scope, &mut root) {
                alert_specs.insert(name, alert);
            }
        }
        let mut sink_specs = BTreeMap::new();
        for (sink, entry) in self.tables(sinks.as_ref(), "sinks") {
            if let Some(spec) = self.sink(name.as_ref(), sink.clone(), entry, &scope, &mut root) {
                sink_specs.insert(sink, spec);
            }
        }
        if sink_specs.len() > SINKS_MAX {
            let message = format!("{} sinks are more than the {SINKS_MAX} that one guard serves", sink_specs.len());
            self.error(Code::TooMany, sinks.as_ref().map(|entry| entry.key_place), message, None);
        }
        let install = installs.map(|entry| self.install(entry, &scope, &mut root)).unwrap_or_default();
        let metrics = figures.map(|entry| self.guard_table("metrics", entry, &scope, &mut root, metrics));
        let traces = spans.map(|entry| self.guard_table("traces", entry, &scope, &mut root, traces));
        let api = door.map(|entry| self.guard_table("api", entry, &scope, &mut root, api));
        let shared = Arc::new(self.shared_env());
        for (name, entry) in self.tables(services.as_ref(), "services") {
            let (service, tree) = self.service(name.clone(), entry, &shared);
            origins.insert(name.as_str().to_owned(), tree);
            if let Some(service) = service {
                services_read.insert(name, Arc::new(service));
            }
        }
        let listed = services.as_ref().and_then(|entry| entry.node.as_table()).is_some_and(|it| !it.entries.is_empty());
        if !listed && services.as_ref().is_none_or(|entry| entry.node.as_table().is_some()) {
            let place = services.as_ref().map_or(root.place, |entry| entry.key_place);
            let help = Some("add [services.NAME] with a command".to_owned());
            self.error(Code::Empty, Some(place), "the spec has no services: there is nothing to keep", help);
        }
        self.together(&services_read, &origins, services.as_ref());
        let mut secrets = Secrets { process: &sources.env, found: BTreeSet::new(), seen: HashSet::new() };
        if logs.redact_secrets {
            secrets.collect(&root, &services_read, &origins);
        }
        self.sinks_know_their_services(&sink_specs, &root, services.as_ref());
        let spec = GuardSpec {
            name: name?,
            description: keys.description.unwrap_or_default(),
            // On Windows only where it is asked for: what promises it there was seen on a stand-in alone.
            survive: keys.survive.unwrap_or(sources.os != Os::Windows),
            services: services_read,
            alerts: alert_specs,
            metrics: metrics.unwrap_or_default(),
            traces: traces.unwrap_or_default(),
            sinks: sink_specs,
            log_budget: logs.budget,
            install,
            audit,
            api: api.unwrap_or_default(),
            redaction: Redaction { secrets: logs.redact_secrets.then_some(secrets.found), patterns: logs.redact },
        };
        Some((spec, profile, root, origins))
    }

    /// Puts variables in, and looks at the references to secrets.
    fn put_in(&mut self, tree: &mut Node, scope: &Scope<'_>, part: Part, broken: &mut Vec<Vec<Step>>) {
        let written = secret_refs::written(tree);
        interpolate(tree, scope, &self.map, &mut self.out, broken);
        let (base, os) = (&self.folder, self.sources.os);
        secret_refs::settle(tree, part, &written, base, os, &self.map, &mut self.out, broken);
    }

    fn audit(&mut self, root: &Node, keys: &AuditKeys, broken: &[Vec<Step>]) -> AuditPolicy {
        let mut section = self.section(root, broken);
        let default = AuditPolicy::default().keep_for;
        let keep_for = section.some_time(keys.keep_for.as_ref(), default, steps!["audit", "keep_for"]);
        let found = section.out;
        self.out.extend(found);
        AuditPolicy { keep_for }
    }

    fn logs(&mut self, root: &Node, keys: GuardLogKeys, broken: &[Vec<Step>]) -> GuardLogs {
        let mut section = self.section(root, broken);
        let read = guard_logs(&mut section, keys);
        let found = section.out;
        self.out.extend(found);
        read
    }

    fn guard_name(&mut self, root: &Node, given: Option<String>, complete: bool) -> Option<Name> {
        match given {
            Some(text) => match Name::new(&text) {
                Ok(name) => Some(name),
                Err(refusal) => {
                    let place = root.place_of(steps!["name"]);
                    self.error(Code::BadName, Some(place), format!("{text:?} is no name: {refusal}"), None);
                    None
                }
            },
            None => {
                if complete {
                    let help = Some("write name = \"NAME\" in the first line".to_owned());
                    let place = Place { end: root.place.start, ..root.place };
                    self.error(Code::MissingKey, Some(place), "the spec has no 'name'", help);
                }
                None
            }
        }
    }

    /// The tables of `services`, `alerts` or `sinks`, by their names.
    fn tables(&mut self, entry: Option<&Entry>, what: &str) -> Vec<(Name, Entry)> {
        let Some(entry) = entry else { return Vec::new() };
        let Some(table) = entry.node.as_table() else {
            let message = format!("'{what}' must be a table of tables, not {}", entry.node.kind());
            let help = Some(format!("write [{what}.NAME]"));
            self.error(Code::WrongType, Some(entry.node.place), message, help);
            return Vec::new();
        };
        let mut out = Vec::new();
        for (key, entry) in &table.entries {
            match Name::new(key) {
                Err(refusal) => {
                    self.error(Code::BadName, Some(entry.key_place), format!("{key:?} is no name: {refusal}"), None);
                }
                Ok(_) if entry.node.as_table().is_none() => {
                    let message = format!("'{what}.{key}' must be a table, not {}", entry.node.kind());
                    let help = Some(format!("write [{what}.{key}]"));
                    self.error(Code::WrongType, Some(entry.node.place), message, help);
                }
                Ok(name) => out.push((name, entry.clone())),
            }
        }
        out
    }

    /// The environment that every program starts from.
    fn shared_env(&self) -> Shared {
        let private = |name: &String| HOST_VARIABLES.contains(&name.as_str());
        let shared = self.sources.env.iter().filter(|(name, _)| !private(name));
        shared.map(|(name, value)| (Arc::from(name.as_str()), Template::fixed(value.clone()))).collect()
    }

    fn alert(&mut self, name: Name, entry: Entry, scope: &Scope<'_>, root: &mut Node) -> Option<AlertSpec> {
        let mut tree = Node { place: entry.key_place, ..entry.node };
        let mut broken = Vec::new();
        self.put_in(&mut tree, scope, Part::Alert, &mut broken);
        let label = format!("alerts.{name}");
        let keys: AlertKeys = de::read(&mut tree, &label, &self.map, &mut self.out, &mut broken)?;
        let mut section = self.section(&tree, &broken);
        let alert = alert(&mut section, name.clone(), keys);
        let found = section.out;
        self.out.extend(found);
        keep(root, "alerts", &name, entry.key_place, tree);
        alert
    }

    fn sink(
        &mut self,
        guard: Option<&Name>,
        name: Name,
        entry: Entry,
        scope: &Scope<'_>,
        root: &mut Node,
    ) -> Option<SinkSpec> {
        let mut tree = Node { place: entry.key_place, ..entry.node };
        let mut broken = Vec::new();
        self.put_in(&mut tree, scope, Part::Receiver, &mut broken);
        let label = format!("sinks.{name}");
        let keys: SinkKeys = de::read(&mut tree, &label, &self.map, &mut self.out, &mut broken)?;
        let mut section = self.section(&tree, &broken);
        let spec = sink(&mut section, guard, name.clone(), keys);
        let found = section.out;
        self.out.extend(found);
        keep(root, "sinks", &name, entry.key_place, tree);
        spec
    }

    /// A sink of a service that does not exist would get nothing, without a word.
    fn sinks_know_their_services(&mut self, sinks: &BTreeMap<Name, SinkSpec>, root: &Node, declared: Option<&Entry>) {
        let declared = declared.and_then(|entry| entry.node.as_table());
        let known = |name: &Name| declared.is_some_and(|table| table.entries.contains_key(name.as_str()));
        for sink in sinks.values() {
            for service in sink.services.iter().flatten().filter(|name| !known(name)) {
                let message = format!("the sink {} is of {service}, which does not exist", sink.name);
                let names = declared.into_iter().flat_map(|table| table.entries.keys()).map(String::as_str);
                let help = near(service.as_str(), names);
                let list = root.find(steps!["sinks", sink.name.as_str(), "services"]);
                let item = list.and_then(|list| match &list.value {
                    Value::List(items) => {
                        items.iter().find(|item| matches!(&item.value, Value::Text(text) if text == service.as_str()))
                    }
                    _ => None,
                });
                self.error(Code::MissingNeed, item.or(list).map(|node| node.place), message, help);
            }
        }
    }

    fn install(&mut self, entry: Entry, scope: &Scope<'_>, root: &mut Node) -> InstallSpec {
        let mut tree = Node { place: entry.key_place, ..entry.node };
        if tree.as_table().is_none() {
            let message = format!("'install' must be a table, not {}", tree.kind());
            self.error(Code::WrongType, Some(tree.place), message, Some("write [install]".to_owned()));
            return InstallSpec::default();
        }
        let mut broken = Vec::new();
        self.for_this_os::<InstallOsKeys>(&mut tree, "install");
        self.put_in(&mut tree, scope, Part::Guard, &mut broken);
        let keys: Option<InstallKeys> = de::read(&mut tree, "install", &self.map, &mut self.out, &mut broken);
        let mut section = self.section(&tree, &broken);
        let spec = keys.map(|keys| install(&mut section, keys)).unwrap_or_default();
        let found = section.out;
        self.out.extend(found);
        // Kept for the origins of its values.
        if let Some(root) = root.as_table_mut() {
            root.entries.insert("install".into(), Entry { key_place: entry.key_place, node: tree });
        }
        spec
    }

    /// A table of the guard's own by its key: `read` makes of its keys what they ask for.
    fn guard_table<K: serde::de::DeserializeOwned, S: Default>(
        &mut self,
        key: &str,
        entry: Entry,
        scope: &Scope<'_>,
        root: &mut Node,
        read: impl FnOnce(&mut Section<'_>, K) -> S,
    ) -> S {
        let mut tree = Node { place: entry.key_place, ..entry.node };
        if tree.as_table().is_none() {
            let message = format!("'{key}' must be a table, not {}", tree.kind());
            self.error(Code::WrongType, Some(tree.place), message, Some(format!("write [{key}]")));
            return S::default();
        }
        let mut broken = Vec::new();
        self.put_in(&mut tree, scope, Part::Receiver, &mut broken);
        let keys: Option<K> = de::read(&mut tree, key, &self.map, &mut self.out, &mut broken);
        let mut section = self.section(&tree, &broken);
        let spec = keys.map(|keys| read(&mut section, keys)).unwrap_or_default();
        let found = section.out;
        self.out.extend(found);
        // Kept for the origins of its values.
        if let Some(root) = root.as_table_mut() {
            root.entries.insert(key.into(), Entry { key_place: entry.key_place, node: tree });
        }
        spec
    }

    fn section<'s>(&'s self, tree: &'s Node, broken: &'s [Vec<Step>]) -> Section<'s> {
        Section { tree, sources: &self.map, os: self.sources.os, base: &self.folder, out: Vec::new(), broken }
    }

    fn service(&mut self, name: Name, entry: Entry, shared: &Arc<Shared>) -> (Option<ServiceSpec>, ServiceOrigins) {
        let sources = self.sources;
        let mut broken = Vec::new();
        let label = format!("services.{name}");
        let mut tree = Node { place: entry.key_place, ..entry.node };
        self.for_this_os::<OsKeys>(&mut tree, &label);
        let (variables, env_files) = self.variables(&mut tree, &label, &mut broken);
        let case_matters = sources.os != Os::Windows;
        let scope = Scope { process: &sources.env, files: &variables, case_matters };
        self.put_in(&mut tree, &scope, Part::Service, &mut broken);
        let keys: Option<ServiceKeys> = de::read(&mut tree, &label, &self.map, &mut self.out, &mut broken);
        let taken_for_texts: Vec<_> =
            variables.iter().filter(|(_, (value, _))| secret_refs::is_reference(value)).collect();
        for (variable, (_, place)) in taken_for_texts {
            let message = format!("{variable} is given to programs as it stands here: this is not looked up");
            let help = "only the spec itself may name secrets: write it into its 'env'";
            let origin = Some(self.map.origin(*place));
            self.out.push(Diagnostic::warning(Code::BadSecret, origin, message).help(help));
        }
        let service = keys.map(|keys| {
            let mut env = Env::over(shared.clone());
            for (key, (value, _)) in &variables {
                set_variable(&mut env, key.clone(), Template::fixed(value.clone()), sources.os);
            }
            let mut section = self.section(&tree, &broken);
            let service = service(&mut section, name, keys, env);
            let found = section.out;
            self.out.extend(found);
            service
        });
        (service, ServiceOrigins { tree, variables, env_files })
    }

    /// Lays the section for this OS over the service, and checks the keys of the other ones.
    fn for_this_os<K: DeserializeOwned>(&mut self, tree: &mut Node, label: &str) {
        let Some(table) = tree.as_table_mut() else { return };
        let mut mine = None;
        for os in [Os::Linux, Os::Windows, Os::Macos] {
            let Some(entry) = table.take(os.key()) else { continue };
            let label = format!("{label}.{os}");
            if entry.node.as_table().is_none() {
                let message = format!("'{label}' must be a table, not {}", entry.node.kind());
                self.error(Code::WrongType, Some(entry.node.place), message, None);
            } else if os == self.sources.os {
                mine = Some(entry);
            } else {
                // Variables of another machine are not known here: texts that need them are left out of the check.
                let mut other = Node { place: entry.key_place, ..entry.node };
                let none = Variables::new();
                let case_matters = os != Os::Windows;
                let scope = Scope { process: &self.sources.env, files: &none, case_matters };
                interpolate(&mut other, &scope, &self.map, &mut Vec::new(), &mut Vec::new());
                let _: Option<K> = de::read(&mut other, &label, &self.map, &mut self.out, &mut Vec::new());
            }
        }
        if let Some(Entry { node: Node { value: Value::Table(upper), .. }, .. }) = mine {
            table.overlay(upper);
        }
    }

    /// The variables of the service's environment files, and the files. Takes the key out of the tree and puts it back as it was read,
    /// because its own texts see only the process.
    fn variables(&mut self, tree: &mut Node, label: &str, broken: &mut Vec<Vec<Step>>) -> (Variables, Vec<EnvFile>) {
        let (mut variables, mut files) = (Variables::new(), Vec::new());
        let (place, Some(entry)) = (tree.place, tree.as_table_mut().and_then(|table| table.take("env_files"))) else {
            return (variables, files);
        };
        let mut table = Table::default();
        table.entries.insert("env_files".into(), entry);
        let mut only = Node::new(Value::Table(table), place);
        let scope = Scope {
            process: &self.sources.env,
            files: &Variables::new(),
            case_matters: self.sources.os != Os::Windows,
        };
        interpolate(&mut only, &scope, &self.map, &mut self.out, broken);
        let keys: Option<ServiceKeys> = de::read(&mut only, label, &self.map, &mut self.out, broken);
        for (at, file) in keys.and_then(|keys| keys.env_files).unwrap_or_default().into_iter().enumerate() {
            let place = only.place_of(steps!["env_files", at]);
            let path = resolve(&file.path, &self.folder, self.sources.os);
            if let Some(lines) = self.env_file(&path, file.optional, place) {
                for (name, value, place) in lines.iter() {
                    variables.insert(name.clone(), (value.clone(), *place));
                }
            }
            files.push(EnvFile { path: path.to_string_lossy().into_owned(), optional: file.optional });
        }
        if let (Some(table), Some(entry)) =
            (tree.as_table_mut(), only.as_table_mut().and_then(|only| only.take("env_files")))
        {
            // Dollars were put in already, and would be looked at again.
            let mut entry = entry;
            escape(&mut entry.node);
            table.entries.insert("env_files".into(), entry);
        }
        (variables, files)
    }

    fn env_file(&mut self, path: &Path, optional: bool, asked_at: Place) -> Option<EnvFileLines> {
        if let Some(lines) = self.env_files.get(path) {
            return Some(Arc::clone(lines));
        }
        if self.map.len() >= FILES_MAX {
            let message = format!("the spec reads more than {FILES_MAX} files");
            self.error(Code::TooMany, Some(asked_at), message, None);
            return None;
        }
        let lines = match self.map.load(self.sources.files, path, path) {
            Ok((file, text)) => env_file::parse(&text, file, &self.map),
            Err(failure) => {
                use super::source::LoadFailure;
                if optional
                    && matches!(&*failure, LoadFailure::Unreadable(error) if error.kind() == std::io::ErrorKind::NotFound)
                {
                    return None;
                }
                let origin = Some(self.map.origin(asked_at));
                let error = failure.diagnostic("the environment file", path, origin);
                Err(Box::new(match error.code {
                    Code::FileNotFound => error.help("create it, or write { path = \"…\", optional = true }"),
                    _ => error,
                }))
            }
        };
        match lines {
            Ok(lines) => {
                let lines = Arc::new(lines);
                self.env_files.insert(path.to_path_buf(), Arc::clone(&lines));
                Some(lines)
            }
            Err(error) => {
                self.out.push(*error);
                None
            }
        }
    }

    /// What only all services together can get wrong.
    fn together(
        &mut self,
        services: &BTreeMap<Name, Arc<ServiceSpec>>,
        origins: &BTreeMap<String, ServiceOrigins>,
        declared: Option<&Entry>,
    ) {
        let place_of_need = |service: &Name, need: &Name| {
            let tree = &origins.get(service.as_str())?.tree;
            let Value::List(list) = &tree.find(steps!["needs"])?.value else { return None };
            let item = list.iter().find(|item| matches!(&item.value, Value::Text(text) if text == need.as_str()));
            item.map(|item| item.place)
        };
        // A service whose keys were refused is there all the same.
        let declared = declared.and_then(|entry| entry.node.as_table());
        for (service, need) in needs::missing(services) {
            if declared.is_some_and(|table| table.entries.contains_key(need.as_str())) {
                continue;
            }
            let message = format!("the service {service} needs {need}, which does not exist");
            let names = services.keys().map(Name::as_str).filter(|name| *name != service.as_str());
            let help = near(need.as_str(), names);
            self.error(Code::MissingNeed, place_of_need(service, need), message, help);
        }
        if let Some(circle) = needs::circle(services)
            && let (Some(first), Some(last)) = (circle.first(), circle.last())
        {
            let mut way: Vec<_> = circle.iter().map(|name| name.as_str()).collect();
            way.push(first.as_str());
            let message = format!("services need each other in a circle: {}", way.join(" -> "));
            let help = Some("none of them could start first: take one of the needs away".to_owned());
            let next = circle.get(1).unwrap_or(first);
            let place = place_of_need(first, next).or_else(|| place_of_need(last, first));
            self.error(Code::NeedCycle, place, message, help);
        }
        let total: usize = services.values().map(|service| usize::from(service.instances)).sum();
        if total > INSTANCES_TOTAL_MAX {
            let message = format!("{total} instances are more than the {INSTANCES_TOTAL_MAX} that one guard keeps");
            let help = Some("spread the services over several guards".to_owned());
            self.error(Code::TooMany, None, message, help);
        }
    }
}

/// Keeps the tree of a named table for the origins of its values.
fn keep(root: &mut Node, what: &str, name: &Name, place: Place, tree: Node) {
    let Some(root) = root.as_table_mut() else { return };
    let tables = root
        .entries
        .entry(what.into())
        .or_insert_with(|| Entry { key_place: place, node: Node::new(Value::Table(Table::default()), place) });
    if let Some(tables) = tables.node.as_table_mut() {
        tables.entries.insert(name.as_str().to_owned(), Entry { key_place: place, node: tree });
    }
}

/// Makes every dollar of a text that was interpolated stand for itself again.
fn escape(node: &mut Node) {
    match &mut node.value {
        Value::Text(text) => *text = text.replace('$', "$$"),
        Value::List(list) => list.iter_mut().for_each(escape),
        Value::Table(table) => table.entries.values_mut().for_each(|entry| escape(&mut entry.node)),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) => {}
    }
}
