//! Which variables of a program the spec sets, which come from files, and which are only passed on by a guard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use tutela_schema::spec::Loaded;

/// The environment of every service, by where its variables come from.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, OfService>);

/// The environment of one service.
#[derive(Debug, Default)]
pub(super) struct OfService {
    /// Variables that the spec itself sets.
    pub(super) own: Vec<String>,
    /// Files with variables, absolute, in the order in which they were read.
    pub(super) files: Vec<PathBuf>,
}

impl Environment {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let all: Vec<PathBuf> = loaded.files().map(|path| path.to_path_buf()).collect();
        // The spec comes first; its overlay, if it has one, is TOML too.
        let is_spec = |path: &PathBuf| all.first() == Some(path) || path.extension().is_some_and(|end| end == "toml");
        let resolved = loaded.resolved();
        let mut out = BTreeMap::new();
        for service in loaded.spec.services.values() {
            let prefix = format!("services.{}.env.", service.name);
            let values = resolved.iter().filter(|value| value.key.starts_with(&prefix));
            let mut one = OfService::default();
            for (name, value) in service.launch.env.keys().zip(values) {
                let file = all.iter().find(|path| value.from.starts_with(&format!("{}:", path.display())));
                match file {
                    Some(path) if is_spec(path) => one.own.push(name.to_string()),
                    Some(path) => {
                        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                        if !one.files.contains(&path) {
                            one.files.push(path);
                        }
                    }
                    None => {}
                }
            }
            out.insert(service.name.to_string(), one);
        }
        Environment(out)
    }

    pub(super) fn get(&self, service: &str) -> Option<&OfService> {
        self.0.get(service)
    }
}
