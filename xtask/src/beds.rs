//! Testbeds and what runs in them: Windows programs under Wine, and the static program that real systems are given.
//!
//! The beds themselves are the business of `tests/beds`; here are the words that people type.

use crate::cargo::{cargo, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of the Windows build that has a linker on every Debian.
const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// The target of the Linux build that needs nothing of the system it runs on.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// How the programs that are measured are built; see the root `Cargo.toml`.
const PROFILE: &str = "static";

/// What one program may weigh, stripped: it is copied to many machines, some of them small and far away.
const LARGEST_MIB: f64 = 16.0;

/// The crate whose tests start Windows programs from here.
const SCM_TESTS: &str = "tutela-wine-tests";

/// Crates whose own tests run on Windows. Those of `tutela` and `tutela-logs` start Unix programs.
const TESTED_ON_WINDOWS: [&str; 3] = ["tutela-core", "tutela-schema", "tutela-os"];

/// The crate whose services are tried under an SCM with its own programs.
const SDK: &str = "tutela-service";

/// Makes the testbeds that are missing.
pub fn make(root: &Path, words: &[&str]) -> Result<String> {
    run(beds(root).arg("make").args(words))?;
    Ok(String::new())
}

/// Runs a Windows program; its exit code is what the caller gets.
pub fn wine(root: &Path, words: &[&str]) -> Result<i32> {
    let status = beds(root).arg("wine").args(words).stdin(Stdio::null()).status().context("failed to start cargo")?;
    Ok(status.code().unwrap_or(1))
}

/// Tests of the Windows build, run under Wine. Words go to `cargo test` in place of our own choice of crates.
pub fn windows(root: &Path, words: &[&str]) -> Result<String> {
    make(root, &["wine"])?;
    // Tests of the SDK start it.
    run(on_windows(root).args(["build", "--locked", "--target", WINDOWS, "-p", SDK, "--example", "understudy"]))?;
    if !words.is_empty() {
        return run(under_wine(root)?.args(words)).map(|_| String::new());
    }
    let sdk = run(under_wine(root)?.args(["-p", SDK, "--lib", "--test", "scm"]));
    let rest = run(under_wine(root)?.args(TESTED_ON_WINDOWS.iter().flat_map(|name| ["-p", name])));
    match (sdk, rest) {
        (Err(sdk), Err(rest)) => Err(rest.context(format!("{SDK} failed as well: {sdk:#}"))),
        (sdk, rest) => sdk.and(rest).map(|_| String::new()),
    }
}

/// `cargo test` for Windows, whose programs Wine runs.
fn under_wine(root: &Path) -> Result<Command> {
    let mut command = on_windows(root);
    command.args(["test", "--locked", "--no-fail-fast", "--target", WINDOWS]);
    // One registry and one SCM for all tests of a program, and some compare the whole of either.
    command.env("RUST_TEST_THREADS", "1");
    // A path may have spaces, which a variable could not carry.
    let runner = serde_json::to_string(&root.join("tests/beds/wine"))?;
    command.arg("--config").arg(format!("target.{WINDOWS}.runner=[{runner}]"));
    Ok(command)
}

/// A whole guard as a service of Windows, under Wine: the tests of `tests/wine`, which run here and start programs there.
pub fn scm(root: &Path) -> Result<String> {
    make(root, &["wine"])?;
    run(on_windows(root).args(["build", "--locked", "--bins", "--target", WINDOWS, "-p", "tutela", "-p", SCM_TESTS]))?;
    let mut command = cargo(root);
    // Some tell figures, which are for people.
    command.args(["test", "--locked", "--no-fail-fast", "-p", SCM_TESTS, "--", "--show-output"]);
    run(command.env("TUTELA_WINE", root.join("tests/beds/wine")))?;
    Ok(String::new())
}

/// The programs as they are given away: the Linux one static, both small enough.
pub fn programs(root: &Path) -> Result<String> {
    let build = ["build", "--locked", "--profile", PROFILE, "--package", "tutela", "--target"];
    run(cargo(root).args(build).arg(STATIC))?;
    run(on_windows(root).args(build).arg(WINDOWS))?;

    let built = |target: &str, name: &str| folder(root).join(target).join(PROFILE).join(name);
    let linux = built(STATIC, "tutela");
    must_be_static(&linux)?;
    let sizes = [("linux", weigh(&linux)?), ("windows", weigh(&built(WINDOWS, "tutela.exe"))?)];
    let told: Vec<String> = sizes.iter().map(|(name, size)| format!("{name} {size:.1} MiB")).collect();
    let told = told.join(", ");
    if sizes.iter().any(|(_, size)| *size > LARGEST_MIB) {
        bail!("larger than {LARGEST_MIB} MiB: {told}");
    }
    println!("{told}, at most {LARGEST_MIB} MiB");
    Ok(told)
}

/// The program of `tests/beds`.
fn beds(root: &Path) -> Command {
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--locked", "--package", "tutela-beds", "--bin", "beds", "--"]);
    command
}

/// Cargo with the linker of the Windows build.
fn on_windows(root: &Path) -> Command {
    let mut command = cargo(root);
    command.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", "x86_64-w64-mingw32-gcc");
    command
}

/// Where cargo puts what it builds.
fn folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn weigh(program: &Path) -> Result<f64> {
    let size = std::fs::metadata(program).with_context(|| format!("failed to look at {}", program.display()))?.len();
    Ok(size as f64 / f64::from(1 << 20))
}

/// Neither an interpreter nor a library may be named in it: then it runs on any Linux of its architecture.
fn must_be_static(program: &Path) -> Result<()> {
    let output = Command::new("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(program).output();
    let output = output.context("failed to start readelf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wants = text.lines().filter(|line| line.contains("INTERP") || line.contains("(NEEDED)"));
    let wants: Vec<&str> = wants.map(str::trim).collect();
    if !output.status.success() || !wants.is_empty() {
        bail!("{} is not static: {}", program.display(), wants.join("; "));
    }
    Ok(())
}
