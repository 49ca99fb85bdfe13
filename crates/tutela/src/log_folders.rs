//! Where the output of a guard's services lies, for those who read it while the guard does not run.
//!
//! Written when the guard begins and after each reload, into its state folder; read by `tutela logs`. Without it, and of
//! services that it does not name, logs lie in the guard's own folder of logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tutela_core::spec::GuardSpec;
use tutela_os::files;

/// Its name in the state folder.
const FILE: &str = "log-folders.json";

/// The most that is read of it: each service has a line, and a spec some thousand services.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The folders of the services that have one of their own, by name.
pub type Folders = BTreeMap<String, PathBuf>;

/// Writes down which services have a folder of their own.
///
/// # Errors
/// The disk refuses; what was written before is still there.
pub fn write(state_dir: &Path, spec: &GuardSpec) -> Result<(), tutela_os::Error> {
    let own = |service: &std::sync::Arc<tutela_core::spec::ServiceSpec>| {
        Some((service.name.to_string(), service.logs.dir.clone()?))
    };
    let folders: Folders = spec.services.values().filter_map(own).collect();
    let path = state_dir.join(FILE);
    // Most guards have none, and a file that says nothing is one more to wonder about.
    if folders.is_empty() && !path.exists() {
        return Ok(());
    }
    let bytes = serde_json::to_vec_pretty(&folders).unwrap_or_default();
    files::replace(&path, &bytes)
}

/// What a guard wrote there; nothing where there is none, or where it cannot be read.
pub fn read(state_dir: &Path) -> Folders {
    let bytes = match files::read_bounded(&state_dir.join(FILE), BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(_) => return Folders::new(),
    };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn what_is_no_list_of_folders_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Folders::new());
        std::fs::write(dir.path().join(FILE), "{\"db\":\"/var/log/db\"}").unwrap();
        assert_eq!(read(dir.path()), Folders::from([("db".to_owned(), PathBuf::from("/var/log/db"))]));
        std::fs::write(dir.path().join(FILE), "garbage").unwrap();
        assert_eq!(read(dir.path()), Folders::new());
    }
}
