//! Tests of the reading of specs, from the outside: text in, spec or diagnostics out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod audit;
mod hostile;
mod install;
mod layers;
mod logs;
mod metrics;
mod refusals;
mod secret_refs;
mod sinks;
mod traces;
mod whole;

use super::{Code, Diagnostic, Loaded, Os, Refused, Severity, Sources, read, token_hash_text};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tutela_core::names::Name;
use tutela_core::spec::ServiceSpec;

/// Words with paths in them as every OS but Windows writes them.
fn slashes(words: impl IntoIterator<Item = String>) -> Vec<String> {
    words.into_iter().map(|word| word.replace('\\', "/")).collect()
}

/// A spec with everything around it.
struct Case {
    files: BTreeMap<PathBuf, Vec<u8>>,
    env: BTreeMap<String, String>,
    profile: Option<String>,
    os: Os,
}

impl Case {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let files = BTreeMap::from([("/srv/shop.toml".into(), text.as_ref().to_vec())]);
        Case { files, env: BTreeMap::new(), profile: None, os: Os::Linux }
    }

    fn file(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.into(), text.as_ref().to_vec());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn profile(mut self, profile: &str) -> Self {
        self.profile = Some(profile.into());
        self
    }

    fn os(mut self, os: Os) -> Self {
        self.os = os;
        self
    }

    fn read(&self) -> Result<Loaded, Refused> {
        read(&Sources {
            path: "shop.toml".into(),
            cwd: "/srv".into(),
            profile: self.profile.clone(),
            env: self.env.clone(),
            env_left_out: Vec::new(),
            os: self.os,
            files: &self.files,
        })
    }

    fn loaded(&self) -> Loaded {
        self.read().unwrap_or_else(|refused| panic!("{:#?}", refused.diagnostics))
    }

    /// The errors and warnings of a spec that is refused.
    fn refused(&self) -> Vec<Diagnostic> {
        match self.read() {
            Ok(_) => panic!("the spec was taken"),
            Err(refused) => {
                assert!(refused.diagnostics.iter().any(|it| it.severity == Severity::Error));
                refused.diagnostics
            }
        }
    }
}

/// A spec with one service `a` that has these keys.
fn service(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n{keys}\n"))
}

fn the_service(loaded: &Loaded) -> &ServiceSpec {
    &loaded.spec.services[&Name::new("a").unwrap()]
}

/// Code, line and column of each.
fn places(diagnostics: &[Diagnostic]) -> Vec<(Code, u32, u32)> {
    let place = |it: &Diagnostic| it.origin.as_ref().map_or((0, 0), |origin| (origin.line, origin.column));
    diagnostics.iter().map(|it| (it.code, place(it).0, place(it).1)).collect()
}
