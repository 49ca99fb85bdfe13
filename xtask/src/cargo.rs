//! Runs cargo and the tools behind it: formatting, lints, and compiling for OSes that this machine is not.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::Command;

/// What ships. Tests, bench and xtask are Linux programs and are linted on Linux alone.
const PRODUCT: [&str; 6] = ["tutela-core", "tutela-schema", "tutela-os", "tutela-logs", "tutela-service", "tutela"];

/// The product without `tutela`, whose TLS has C code that wants a macOS compiler.
const PRODUCT_FOR_MACOS: [&str; 5] = ["tutela-core", "tutela-schema", "tutela-os", "tutela-logs", "tutela-service"];

/// rustfmt would change nothing, in the workspace and in the fuzz crate, which is a workspace of its own.
pub fn fmt(root: &Path) -> Result<String> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    if root.join("fuzz/Cargo.toml").exists() {
        run(cargo(root).args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    }
    Ok(String::new())
}

/// No warning anywhere, tests included.
pub fn clippy(root: &Path) -> Result<String> {
    run(cargo(root).args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(String::new())
}

/// No warning in what ships, compiled for Windows.
pub fn clippy_windows(root: &Path) -> Result<String> {
    let mut command = cargo(root);
    command.args(["clippy", "--locked", "--target", "x86_64-pc-windows-gnu"]);
    for package in PRODUCT {
        command.args(["-p", package]);
    }
    run(command.args(["--", "-D", "warnings"]))?;
    Ok(String::new())
}

/// What ships compiles for macOS, as far as that can be known without a macOS compiler.
pub fn check_macos(root: &Path) -> Result<String> {
    let mut command = cargo(root);
    command.args(["check", "--locked", "--target", "aarch64-apple-darwin"]);
    for package in PRODUCT_FOR_MACOS {
        command.args(["-p", package]);
    }
    // Nothing is linked, so whatever a C compiler for this OS makes of C code will do.
    let stand_in = root.join("xtask/cc-for-check");
    run(command.env("CC_aarch64_apple_darwin", stand_in))?;
    Ok("without `tutela`: its TLS needs a macOS C compiler".to_owned())
}

/// A cargo that works on this workspace; the one that started us, so that toolchains never mix.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Whether `cargo NAME` can be called; when not, `install` is asked to change that.
pub fn need_subcommand(root: &Path, name: &str) -> Result<()> {
    let present = cargo(root).args([name, "--version"]).output().is_ok_and(|output| output.status.success());
    if present {
        return Ok(());
    }
    println!("cargo-{name} is missing: installing it");
    run(cargo(root).args(["install", "--locked", &format!("cargo-{name}")]))
}

/// Runs a command with our own output; an error names the command, so that it can be pasted.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command.status().with_context(|| format!("failed to start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// The command as one would type it.
fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy();
    let mut words = vec![program.into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
