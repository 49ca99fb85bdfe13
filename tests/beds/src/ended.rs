//! What a command in a bed came to, and the static program that beds are given.

use crate::place::checkout;
use std::path::{Path, PathBuf};

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; 124 when it had to be ended.
    pub code: i32,
    /// What it wrote for programs.
    pub out: String,
    /// What it wrote for people.
    pub err: String,
    /// The command itself.
    pub script: String,
}

impl Ended {
    /// Its output, without the line end at its end.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "failed: {}", self.story());
        self.out.trim_end().to_owned()
    }

    /// Itself, having ended with this code.
    ///
    /// # Panics
    /// It ended otherwise.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "another exit code than {code}: {}", self.story());
        self
    }

    /// All of it, for a failed test.
    pub fn story(&self) -> String {
        format!("`{}`\nexit code {}\n--- out\n{}--- err\n{}---", self.script, self.code, self.out, self.err)
    }
}

/// The static program `tutela`, as `cargo xtask programs` builds it. `TUTELA_BEDS_PROGRAM` names another one.
///
/// # Panics
/// It is not there.
pub fn tutela() -> PathBuf {
    if let Some(given) = std::env::var_os("TUTELA_BEDS_PROGRAM") {
        return PathBuf::from(given);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from);
    let program = target.join("x86_64-unknown-linux-musl/static/tutela");
    assert!(program.is_file(), "{} is missing: cargo xtask programs", program.display());
    program
}

/// A program of this workspace as it was built for this computer, whose system is no newer than that of the beds.
///
/// # Panics
/// It was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // …/debug/deps/systemd-0123 lies beside …/debug/NAME.
    let program = test.parent().and_then(Path::parent).expect("a test lies in a folder").join(name);
    assert!(program.is_file(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}
