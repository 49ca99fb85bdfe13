//! The simulator's command line: a campaign over many seeds, or the story of one.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Instant;
use tutela_sim::campaign::campaign;
use tutela_sim::link::Mutation;
use tutela_sim::run::run;

/// How many seeds a campaign has unless told: what every change has to survive.
const RUNS: u64 = 10_000;

/// Seeds by which the speed is measured: some seconds.
const SPEED_RUNS: u64 = 2_000;

/// Simulated hours a minute that one core has to do: 100,000 seeds are some 50,000 hours, and have half an hour.
const SPEED_LEAST: f64 = 2_000.0;

const USAGE: &str = "usage: tutela-sim [--runs N] [--from SEED] [--threads N] [--bug NAME]
       tutela-sim [--seed] SEED [--bug NAME] [--tail N] [--of WORD]
       tutela-sim --speed

  --runs N       run N seeds on every core (10000); exit code 1 when one breaks a law
  --from SEED    the first of them (0)
  --threads N    on so many threads (one a core)
  --seed SEED    tell the story of one seed, line by line
  --tail N       only its last N lines
  --of WORD      only lines with this word in them, and what operators and guards did as a whole
  --speed        simulated hours a minute on one core; exit code 1 below 2000
  --bug NAME     with a bug planted between the guard and its world";

#[derive(Debug)]
struct Words {
    seed: Option<u64>,
    from: u64,
    runs: u64,
    threads: usize,
    bug: Option<Mutation>,
    tail: usize,
    of: Option<String>,
    speed: bool,
}

fn read_words(mut words: impl Iterator<Item = String>) -> Result<Words, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (tail, speed) = (usize::MAX, false);
    let mut read = Words { seed: None, from: 0, runs: RUNS, threads, bug: None, tail, of: None, speed };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seed" => read.seed = Some(number(value()?)?),
            "--tail" => read.tail = usize::try_from(number(value()?)?).map_err(|error| error.to_string())?,
            "--of" => read.of = Some(value()?),
            "--speed" => read.speed = true,
            "--from" => read.from = number(value()?)?,
            "--runs" => read.runs = number(value()?)?,
            "--threads" => read.threads = usize::try_from(number(value()?)?).map_err(|error| error.to_string())?,
            "--bug" => {
                let name = value()?;
                let bug = Mutation::ALL.into_iter().find(|bug| bug.word() == name);
                let known: Vec<String> = Mutation::ALL.into_iter().map(Mutation::word).collect();
                read.bug = Some(bug.ok_or_else(|| format!("{name} is none of {}", known.join(", ")))?);
            }
            seed if seed.bytes().all(|byte| byte.is_ascii_digit()) => read.seed = Some(number(seed.to_owned())?),
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
        Some(seed) => story(seed, &words),
        None if words.speed => speed(),
        None => many(&words),
    }
}

/// What concerns everybody in a story.
const OF_ALL: [&str; 6] = ["operator:", "the guard is killed", "another guard", "sleeps for", "everybody", "BROKEN"];

fn story(seed: u64, words: &Words) -> ExitCode {
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut tell = |line: String| {
        let told = words.of.as_ref().is_none_or(|word| line.contains(word.as_str()));
        if !told && !OF_ALL.iter().any(|word| line.contains(word)) {
            return;
        }
        if words.tail == usize::MAX {
            println!("{line}");
            return;
        }
        lines.push_back(line);
        if lines.len() > words.tail {
            lines.pop_front();
        }
    };
    let end = run(seed, words.bug, Some(&mut tell));
    lines.iter().for_each(|line| println!("{line}"));
    match end {
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

fn speed() -> ExitCode {
    let begun = Instant::now();
    let outcome = campaign(0..SPEED_RUNS, None, 1);
    if let Some(failure) = outcome.failure {
        println!("{failure}");
        return ExitCode::FAILURE;
    }
    let (hours, took) = (outcome.figures.lived.as_secs_f64() / 3_600.0, begun.elapsed().as_secs_f64());
    let rate = hours / took * 60.0;
    println!("{rate:.0} simulated hours a minute on one core ({hours:.0} in {took:.1} s); at least {SPEED_LEAST:.0}");
    if rate < SPEED_LEAST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
    println!(
        "{} guards killed, {} of them with all that was noted; {} programs went on with the next one",
        figures.deaths, figures.boots, figures.heirs,
    );
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
