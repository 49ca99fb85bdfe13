//! Where the programs under test are.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the test's build, where cargo puts programs.
pub fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // …/debug/deps/policy-0123 lies beside …/debug/understudy.
    test.parent().and_then(|deps| deps.parent()).unwrap().to_owned()
}

/// The program `tutela`. `TUTELA_IT_PROGRAM` names another than that of this very tree.
///
/// # Panics
/// It does not build.
pub fn tutela() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> PathBuf {
    if let Some(given) = std::env::var_os("TUTELA_IT_PROGRAM") {
        return PathBuf::from(given);
    }
    let program = folder().join("tutela");
    // Cargo builds no programs of other packages for a test. Asking it each time costs a moment, and testing
    // yesterday's program costs a day. All programs, as `./test` builds them: which packages are chosen decides
    // over the features of what they share, and two choices would build everything twice.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
        command.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
        if folder().file_name().is_some_and(|name| name == "release") {
            command.arg("--release");
        }
        command.env("CARGO_TARGET_DIR", folder().parent().unwrap());
        let built = command.status().unwrap();
        assert!(built.success(), "cargo build --workspace --bins: {built}");
    }
    assert!(program.is_file(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}
