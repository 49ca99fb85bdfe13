//! Starts the rings of proof that are no `cargo test`: the seeded simulator and the fuzzer.

use crate::cargo::{cargo, need_subcommand, run};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// What is fuzzed: a folder of seeds and a target of the same name in `fuzz/`.
const FUZZ_TARGETS: [&str; 6] = ["spec", "logs", "syslog", "recovery", "kept", "strangers"];

/// How long the fuzzer runs, all targets together, unless told: enough for some hundred thousand inputs, short enough for each change.
pub const FUZZ_SECONDS: u32 = 60;

/// An input that keeps a target busy for longer than this is a finding: a spec is read while people wait.
const FUZZ_INPUT_SECONDS: u32 = 5;

/// More memory than this for one input is a finding. The sanitizer itself takes some hundred megabytes of it.
const FUZZ_MEMORY_MIB: u32 = 1024;

/// Runs the simulator: all seeds, or what the words say.
pub fn sim(root: &Path, words: &[&str]) -> Result<String> {
    run(cargo(root).args(["run", "--quiet", "--locked", "--package", "tutela-sim", "--"]).args(words))?;
    Ok(String::new())
}

/// Fuzzes every target, for `seconds` together.
///
/// The sanitizer's flags are unstable, but the compiler that builds everything else knows them: one variable
/// spares every machine a second toolchain.
pub fn fuzz(root: &Path, seconds: u32) -> Result<String> {
    if !root.join("fuzz/Cargo.toml").exists() {
        bail!("there is no fuzz/Cargo.toml: the fuzz targets are missing");
    }
    need_subcommand(root, "fuzz")?;
    let each = (seconds / FUZZ_TARGETS.len() as u32).max(1);
    for target in FUZZ_TARGETS {
        let mut command = cargo(root);
        command.env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "run", target]);
        // The first folder is where new inputs are kept, untracked; the others are only read. They have to exist.
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        std::fs::create_dir_all(root.join(&corpus)).with_context(|| format!("failed to make {corpus}"))?;
        command.arg(&corpus);
        if root.join(&seeds).is_dir() {
            command.arg(&seeds);
        }
        command.arg("--").args([
            format!("-max_total_time={each}"),
            format!("-timeout={FUZZ_INPUT_SECONDS}"),
            format!("-rss_limit_mb={FUZZ_MEMORY_MIB}"),
        ]);
        run(&mut command)?;
    }
    Ok(format!("{each} s each of {} without a finding", FUZZ_TARGETS.join(", ")))
}
