//! Tends the house: every check and tool of this repository behind one door, `cargo xtask`.
//!
//! People, `./test` and CI call it; nothing in the product does. A *step* is a named check with one answer,
//! ok or failed; `check` runs all of them, goes on after a failure and ends with a table. The checks on our own
//! text (`floors`, `tidy`) read the tree and decide in plain functions, so that their tests plant a violation and
//! see it found; everything else runs a well-known tool.
//!
//! Deliberately absent: anything that installs OS packages (that is `./test`) and any dependency beyond
//! `anyhow` and `serde_json`, so that the first `cargo xtask` on a fresh clone starts within seconds.

mod beds;
mod cargo;
mod deny;
mod floors;
mod generated;
mod limits;
mod proof;
mod report;
mod tidy;
mod tree;

use anyhow::{Context as _, Result, bail};
use report::Step;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Every step of `check`, cheapest first: a slip of the pen is told before a compiler is started.
const STEPS: [Step; 9] = [
    Step { name: "fmt", about: "rustfmt would change nothing", run: cargo::fmt },
    Step { name: "tidy", about: "module docs, no OS cfg outside tutela-os, names, links, length", run: tidy::step },
    Step { name: "floors", about: "dependencies between our crates only go down", run: floors::step },
    Step {
        name: "limits",
        about: "each limit has its row in docs/design/limits.md, each queue a bound",
        run: limits::step,
    },
    Step { name: "clippy", about: "no warning in any target, on this OS", run: cargo::clippy },
    Step { name: "clippy-windows", about: "no warning in the product, built for Windows", run: cargo::clippy_windows },
    Step { name: "check-macos", about: "all crates but `tutela` compile for macOS", run: cargo::check_macos },
    Step { name: "generated", about: "schemas and references are what the code generates", run: generated::compare },
    Step { name: "deny", about: "licences, bans, sources and advisories of dependencies", run: deny::step },
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the words ask for; `false`: a step failed, and the table has said which.
fn run(words: Vec<String>) -> Result<bool> {
    let root = root()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{}", help());
            Ok(true)
        }
        ["check"] => Ok(report::run_all(&root, &STEPS)),
        ["beds", kinds @ ..] => report::one("beds", || beds::make(&root, kinds)),
        ["scm"] => report::one("scm", || beds::scm(&root)),
        ["programs"] => report::one("programs", || beds::programs(&root)),
        ["windows", arguments @ ..] => report::one("windows", || beds::windows(&root, arguments)),
        // Its exit code is the program's, so no table follows.
        ["wine", program @ ..] => std::process::exit(beds::wine(&root, program)?),
        ["generate"] => report::one("generate", || generated::write(&root)),
        ["sim", seed @ ..] => report::one("sim", || proof::sim(&root, seed)),
        ["fuzz"] => report::one("fuzz", || proof::fuzz(&root, proof::FUZZ_SECONDS)),
        ["fuzz", seconds] => {
            let seconds = seconds.parse().with_context(|| format!("`{seconds}` is no number of seconds"))?;
            report::one("fuzz", || proof::fuzz(&root, seconds))
        }
        names => {
            let chosen: Vec<Step> = names.iter().map(|name| step_called(name)).collect::<Result<_>>()?;
            Ok(report::run_all(&root, &chosen))
        }
    }
}

fn step_called(name: &str) -> Result<Step> {
    match STEPS.iter().find(|step| step.name == name) {
        Some(step) => Ok(*step),
        None => bail!("refused: `{name}` is no command of xtask; `cargo xtask help` lists them"),
    }
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask COMMAND\n\n  check              every step below, then a table\n  generate           write what `generated` compares\n  \
         beds [KIND]        make the testbeds that are missing: wine, systemd, machine\n  \
         programs           build what is given away, and see that it is static and small\n  \
         windows [ARGS…]    tests of the Windows build under Wine; ARGS choose others, as of `cargo test`\n  \
         scm                a guard as a Windows service, under Wine\n  \
         wine PROGRAM ARGS… run a Windows program\n  \
         sim [SEED|ARGS…]   the seeded simulator: 10,000 runs, or one seed\n  \
         fuzz [SECONDS]     fuzz the spec parser, 60 seconds unless told\n\nsteps, each a command too; several may be named:\n",
    );
    for step in &STEPS {
        text.push_str(&format!("  {:<18} {}\n", step.name, step.about));
    }
    text
}

/// The repository's root: xtask is a folder directly below it.
///
/// Cargo says at run time which checkout it runs; what was known at compile time would be wrong where two checkouts
/// share one folder of built things.
fn root() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&folder).parent().context("failed to find the folder above xtask")?;
    Ok(root.to_path_buf())
}
