//! Tables in Markdown out of the lines of one run: the goals first, then everything that was measured.

mod goals;
mod tables;

use crate::figures::{percentile, short};
use crate::record::Record;
use anyhow::{Result, bail};
use serde_json::Value;
use std::fmt::Write;

/// What the reader has to know besides the figures.
const HOW: &str = "\
## How to read this

- Everybody keeps the same program: a static one without a C library whose first act is to read the clock
  (`bench/child.c`). Work folders are in memory (`/dev/shm`), output of programs is thrown away, except that Tutela
  captures it as it always does. The environment has 33 variables, as a login's has.
- A cell is the median of the rounds and, in brackets, the least and the most. Rounds are interleaved: every subject
  once, then every subject again, beginning with another one. A ratio in the tables is the median of the ratios within
  each round; among the goals p50 and p99 are of the samples of all rounds together, and a ratio is of the two
  figures shown.
- **floor** is `bench/floor.c`: fork, exec, wait, again. **floor:sh** is the same with a shell script between, which
  runit and s6 need for each service; it is their floor.
- Peers have their fastest settings: s6 is told ready at once (else it waits a second), supervisord has `startsecs=0`,
  circus looks for deaths each 10 ms (by default each 5 s; as by default in the table of start and memory).
- Memory and idle CPU are of everything that keeps the programs, helper processes included, and not of the programs.
- With `SCHED_RR` the rig and the subject go before other work on the machine in the tables of restart, start and stop; in
  those of logs they have the best niceness (-20), as some of them keep a core busy for longer than is right in real time.
- Of logs, the floor is `cat > file`: as it is, not rotated. A program writes blocks of whole lines of up to 64 KiB
  (`bench/writer.c`) or, where it says *one a call*, each line with a write of its own; MB are of its bytes, from its first
  write to the last change of a file. Files are in memory. Then every line is looked for: *missing* are those
  that are whole in no file, *pieces* what is left of them. CPU is of everything but the program. svlogd has its buffer
  raised to 64 KiB, multilog rotates at 16 MiB (it takes no more), pm2 does not rotate.
- `bench/run` measures it again; `bench/run report` writes this file.
";

/// Writes the whole text.
///
/// # Errors
/// There is nothing to write about.
pub fn write(record: &Record) -> Result<String> {
    if record.facts.is_empty() {
        bail!("the lines do not begin with the facts of a machine");
    }
    let mut text = String::from("# Speed, side by side\n\n");
    head(record, &mut text)?;
    goals::write(record, &mut text)?;
    text.push_str(HOW);
    tables::write(record, &mut text)?;
    Ok(text)
}

/// Puts the numbers of this run into `{fleet}`, `{crowd}`, `{idle_s}`, `{load_s}` and `{lines}`.
fn fill(title: &str, record: &Record) -> String {
    ["fleet", "survivors", "crowd", "idle_s", "load_s", "lines"].iter().fold(title.to_owned(), |title, name| {
        let number = record.facts.get(*name).and_then(Value::as_u64).unwrap_or(0);
        title.replace(&format!("{{{name}}}"), &number.to_string())
    })
}

fn head(record: &Record, text: &mut String) -> Result<()> {
    let fact = |name: &str| match record.facts.get(name) {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Number(number)) => number.as_f64().map_or_else(String::new, short),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let others: Vec<f64> = record.lines.iter().map(|line| line.figure("others_busy_cores")).collect();
    let others: Vec<f64> = others.into_iter().filter(|cores| !cores.is_nan()).collect();
    if record.facts.get("quick") == Some(&Value::Bool(true)) {
        text.push_str("**A quick run: it shows that everything works, its figures mean little.**\n\n");
    }
    writeln!(
        text,
        "{}. {} cores ({}), {} GiB, {}; {}; rounds: {}. Other work kept {} of the\n\
         cores busy (median of looks before each subject), at most {}.\n",
        fact("date"),
        fact("cores"),
        fact("processor"),
        fact("memory_gib"),
        fact("kernel"),
        fact("scheduling"),
        fact("rounds"),
        short(percentile(&others, 0.5)),
        short(percentile(&others, 1.0)),
    )?;
    let versions = record.facts.get("versions").and_then(Value::as_object);
    let named: Vec<String> = versions
        .into_iter()
        .flatten()
        .map(|(name, version)| {
            let version = version.as_str().unwrap_or_default();
            let version = version.strip_prefix(name.as_str()).unwrap_or(version).trim();
            format!("{name} {}", if version.is_empty() { "(version unknown)" } else { version })
        })
        .collect();
    writeln!(text, "{}.\n", named.join(", "))?;
    Ok(())
}
