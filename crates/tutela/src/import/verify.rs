//! What was written is read as a guard would read it, so that no import ends with a spec that is refused.

use super::draft::Draft;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tutela_schema::spec::{Files, Os, Severity, Sources};

/// The spec and its overlays; any other file is an empty one, such as an environment file that only the computer of
/// the source has.
struct Written(BTreeMap<PathBuf, Vec<u8>>);

impl Files for Written {
    fn read(&self, path: &std::path::Path, limit: usize) -> std::io::Result<Vec<u8>> {
        self.0.read(path, limit).or_else(|_| Ok(Vec::new()))
    }
}

/// The variables without which a text is refused: secrets that whoever runs it has to give.
pub(super) fn wanted(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once(":?")?;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
    })
}

/// Reads the spec, alone and with each overlay.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn verify(
    name: &str,
    spec: &str,
    overlays: &BTreeMap<String, String>,
    draft: &Draft,
    os: Option<Os>,
) -> Result<(), String> {
    let folder = PathBuf::from("/spec");
    let path = folder.join(format!("{name}.toml"));
    let mut files = BTreeMap::from([(path.clone(), spec.as_bytes().to_vec())]);
    for (profile, text) in overlays {
        files.insert(folder.join(format!("{name}.{profile}.toml")), text.as_bytes().to_vec());
    }
    let files = Written(files);
    let texts = || std::iter::once(spec).chain(overlays.values().map(String::as_str));
    let env: BTreeMap<String, String> =
        texts().flat_map(wanted).map(|name| (name.to_owned(), "0".to_owned())).collect();
    let profiles = std::iter::once(None).chain(draft.profiles.keys().map(|profile| Some(profile.clone())));
    for profile in profiles {
        let sources = Sources {
            path: path.clone(),
            cwd: folder.clone(),
            profile,
            env: env.clone(),
            env_left_out: Vec::new(),
            os: os.unwrap_or(Os::Linux),
            files: &files,
        };
        if let Err(refused) = tutela_schema::spec::read(&sources) {
            let first = refused.diagnostics.into_iter().find(|it| it.severity == Severity::Error);
            return Err(first.map_or_else(|| "nobody says why".to_owned(), |it| it.to_string()));
        }
    }
    Ok(())
}
