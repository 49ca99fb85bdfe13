//! The simulator's command line: a campaign over many seeds, or the story of one.

use std::process::ExitCode;
use std::time::Instant;
use tutela_sim::campaign::campaign;
use tutela_sim::link::Mutation;
use tutela_sim::run::run;

/// How many seeds a campaign has unless told: what every change has to survive.
const RUNS: u64 = 10_000;

const USAGE: &str = "usage: tutela-sim [--runs N] [--from SEED] [--threads N] [--bug NAME]
       tutela-sim --seed SEED [--bug NAME]

  --runs N       run N seeds on every core (10000); exit code 1 when one breaks a law
  --from SEED    the first of them (0)
  --threads N    on so many threads (one a core)
  --seed SEED    tell the story of one seed, line by line
  --bug NAME     with a bug planted between the guard and its world";

#[derive(Debug)]
struct Words {
    seed: Option<u64>,
    from: u64,
    runs: u64,
    threads: usize,
    bug: Option<Mutation>,
}

fn read_words(mut words: impl Iterator<Item = String>) -> Result<Words, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut read = Words { seed: None, from: 0, runs: RUNS, threads, bug: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seed" => read.seed = Some(number(value()?)?),
            "--from" => read.from = number(value()?)?,
            "--runs" => read.runs = number(value()?)?,
            "--threads" => read.threads = usize::try_from(number(value()?)?).map_err(|error| error.to_string())?,
            "--bug" => {
                let name = value()?;
                let bug = Mutation::ALL.into_iter().find(|bug| bug.word() == name);
                let known: Vec<String> = Mutation::ALL.into_iter().map(Mutation::word).collect();
                read.bug = Some(bug.ok_or_else(|| format!("{name} is none of {}", known.join(", ")))?);
            }
            other => return Err(format!("{other} is not known here")),
        }
    }
    Ok(read)
}

fn main() -> ExitCode {
    let words = match read_words(std::env::args().skip(1)) {
        Ok(words) => words,
        Err(wrong) => {
            eprintln!("refused: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match words.seed {
        Some(seed) => story(seed, words.bug),
        None => many(&words),
    }
}

fn story(seed: u64, bug: Option<Mutation>) -> ExitCode {
    match run(seed, bug, Some(&mut |line| println!("{line}"))) {
        Ok(figures) => {
            println!("seed {seed} keeps every law: {} steps in {:?} of virtual time", figures.steps, figures.lived);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn many(words: &Words) -> ExitCode {
    let begun = Instant::now();
    let outcome = campaign(words.from..words.from.saturating_add(words.runs), words.bug, words.threads);
    let figures = outcome.figures;
    println!(
        "{} runs, {:.0} simulated hours, {} events, {} starts, {} commands, {:.1} s on {} threads",
        outcome.runs,
        figures.lived.as_secs_f64() / 3_600.0,
        figures.steps,
        figures.starts,
        figures.commands,
        begun.elapsed().as_secs_f64(),
        words.threads,
    );
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
