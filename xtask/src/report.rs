//! Runs steps one after the other and tells how they went: the only place that prints a verdict.
//!
//! `main` calls it; `./test` reads its last line, `N passed, N failed`, so that line is a contract.

use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// A named check with one answer.
#[derive(Clone, Copy)]
pub struct Step {
    /// The word on the command line.
    pub name: &'static str,
    /// What holds when it passes.
    pub about: &'static str,
    /// The check. What it returns is a note for the table, such as what could not be checked.
    pub run: fn(&Path) -> Result<String>,
}

struct Outcome {
    name: &'static str,
    took: Duration,
    passed: bool,
    note: String,
}

/// Runs every step, also after a failure, and prints the table; `true` when all passed.
pub fn run_all(root: &Path, steps: &[Step]) -> bool {
    let outcomes: Vec<Outcome> = steps.iter().map(|step| run_step(step.name, || (step.run)(root))).collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    print!("{}", table(&outcomes));
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    failed == 0
}

/// Runs one command that is no part of `check`.
pub fn one(name: &'static str, run: impl FnOnce() -> Result<String>) -> Result<bool> {
    let outcome = run_step(name, run);
    print!("{}", table(std::slice::from_ref(&outcome)));
    Ok(outcome.passed)
}

fn run_step(name: &'static str, run: impl FnOnce() -> Result<String>) -> Outcome {
    println!("── {name}");
    let began = Instant::now();
    let (passed, note) = match run() {
        Ok(note) => (true, note),
        Err(error) => {
            println!("{error:#}");
            // The table has one line a step; the whole story stands above it.
            (false, format!("{error:#}").lines().next().unwrap_or_default().to_owned())
        }
    };
    Outcome { name, took: began.elapsed(), passed, note }
}

fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max().unwrap_or_default();
    let mut text = String::from("\n");
    for Outcome { name, took, passed, note } in outcomes {
        let verdict = if *passed { "ok" } else { "FAILED" };
        let line = format!("{name:<width$}  {:>7.1} s  {verdict:<6}  {note}", took.as_secs_f64());
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_failed_step_does_not_keep_the_next_one_from_running() {
        fn fails(_: &Path) -> Result<String> {
            bail!("a reason")
        }
        fn passes(root: &Path) -> Result<String> {
            Ok(root.display().to_string())
        }
        let steps = [Step { name: "first", about: "", run: fails }, Step { name: "second", about: "", run: passes }];
        assert!(!run_all(Path::new("."), &steps));
        assert!(run_all(Path::new("."), &steps[1..]));
    }

    #[test]
    fn the_table_shows_the_first_line_of_an_error() {
        let outcome = run_step("step", || bail!("one\ntwo"));
        let text = table(&[outcome]);
        assert!(text.contains("FAILED  one\n"), "{text}");
        assert!(!text.contains("two"), "{text}");
    }
}
