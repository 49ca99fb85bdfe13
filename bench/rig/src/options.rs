//! The words after `bench/run`: what is measured, of whom, how long.

use crate::subject::Subject;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const HELP: &str = "\
bench/run [OPTIONS]            measure; lines and tables go to bench/results/
bench/run report [LINES]       write bench/RESULTS.md from LINES (default: the latest in bench/results/)

  --only a,b        measurements: cold restart fleet stop storm probes outlive soak, and those of logs:
                    logs-raw logs-stamped logs-json logs-crowd logs-memory logs-since, or logs for all of these
                    (default: all)
  --subjects a,b    floor floor:sh tutela runit s6 multilog supervisord circus pm2             (default: all)
  --quick           small and short: shows that everything works, its figures mean little
  --sched rr|other  scheduling of rig and subject in restart, fleet and stop; rr: -20 in those of logs
                    (default: rr where allowed)
  --rounds N        interleaved rounds                                 (default: 5, quick: 1)
  --idle SECONDS    the window of idle CPU                             (default: 60, quick: 5)

  These are filled in by bench/run:
  --tutela PATH --child PATH --floor PATH --peers FOLDER --results FOLDER
";

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Size, first words and readiness of the binary.
    Cold,
    /// SIGKILL to the first instruction of the successor.
    Restart,
    /// Start of a thousand, memory and idle CPU with them.
    Fleet,
    /// Stop of two hundred.
    Stop,
    /// Two hundred that crash at once, for ever.
    Storm,
    /// A thousand HTTP probes a second.
    Probes,
    /// The guard's own death, and its upgrade.
    Outlive,
    /// Memory over a million restarts and a hundred gigabytes.
    Soak,
    /// Capture as it is, with rotation.
    LogsRaw,
    /// Capture with a timestamp on each line.
    LogsStamped,
    /// Capture of JSON records.
    LogsJson,
    /// Two hundred programs that write at a steady rate.
    LogsCrowd,
    /// Memory of the capture, silent and flooded.
    LogsMemory,
    /// One minute out of ten gigabytes.
    LogsSince,
}

impl Measure {
    /// All, in the order of the report.
    pub const ALL: [Measure; 14] = [
        Measure::Cold,
        Measure::Restart,
        Measure::Fleet,
        Measure::Stop,
        Measure::Storm,
        Measure::Probes,
        Measure::Outlive,
        Measure::Soak,
        Measure::LogsRaw,
        Measure::LogsStamped,
        Measure::LogsJson,
        Measure::LogsCrowd,
        Measure::LogsMemory,
        Measure::LogsSince,
    ];

    /// Its word on the command line and in lines of JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Measure::Cold => "cold",
            Measure::Restart => "restart",
            Measure::Fleet => "fleet",
            Measure::Stop => "stop",
            Measure::Storm => "storm",
            Measure::Probes => "probes",
            Measure::Outlive => "outlive",
            Measure::Soak => "soak",
            Measure::LogsRaw => "logs-raw",
            Measure::LogsStamped => "logs-stamped",
            Measure::LogsJson => "logs-json",
            Measure::LogsCrowd => "logs-crowd",
            Measure::LogsMemory => "logs-memory",
            Measure::LogsSince => "logs-since",
        }
    }
}

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Dose {
    /// Interleaved rounds of `restart`, `fleet` and `stop`.
    pub rounds: u32,
    /// Services of `fleet` and `probes`.
    pub fleet: u32,
    /// Services of `outlive`.
    pub survivors: u32,
    /// Services of `stop` and `storm`.
    pub crowd: u32,
    /// The window in which idle CPU is counted.
    pub idle: Duration,
    /// The windows of `storm` and `probes`.
    pub load: Duration,
    /// Kills per service and round in `restart`.
    pub kills: u32,
    /// Lines of `logs-raw`, `logs-stamped` and `logs-json`.
    pub lines: u32,
    /// Restarts of `soak`.
    pub restarts: u64,
    /// Bytes of output of `soak`.
    pub output: u64,
    /// Bytes among which `logs-since` finds a minute.
    pub haystack: u64,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is measured.
    pub measures: Vec<Measure>,
    /// Of whom.
    pub subjects: Vec<Subject>,
    /// How much.
    pub dose: Dose,
    /// Whether the dose is the small one.
    pub quick: bool,
    /// Whether rig and subject ask for `SCHED_RR` where latency is measured.
    pub realtime: bool,
    /// The guard's program.
    pub tutela: PathBuf,
    /// The program that is kept alive.
    pub child: PathBuf,
    /// The floor's program.
    pub floor: PathBuf,
    /// Where `bench/run` installed what apt does not have.
    pub peers: PathBuf,
    /// Where lines and tables go.
    pub results: PathBuf,
}

impl Options {
    /// A program that `bench/run` built beside the one that is kept alive.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.child.with_file_name(name)
    }
}

/// What the rig is asked to do.
#[derive(Debug)]
pub enum Order {
    /// Print [`HELP`].
    Help,
    /// Make tables of lines.
    Report {
        /// The lines of one run.
        lines: PathBuf,
        /// The file that is written.
        to: PathBuf,
    },
    /// Measure.
    Measure(Box<Options>),
}

/// Reads the words.
///
/// # Errors
/// A word that is unknown, or lacks its value.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Order> {
    let mut words = words.peekable();
    if words.peek().is_some_and(|word| word == "report") {
        words.next();
        let lines = words.next().context("report needs the file with the lines")?;
        let to = words.next().context("report needs the file to write")?;
        return Ok(Order::Report { lines: lines.into(), to: to.into() });
    }
    let (mut quick, mut rounds, mut idle, mut realtime) = (false, None, None, true);
    let mut measures = Measure::ALL.to_vec();
    let mut subjects = Subject::ALL.to_vec();
    let mut paths: [Option<PathBuf>; 5] = [const { None }; 5];
    const PATHS: [&str; 5] = ["--tutela", "--child", "--floor", "--peers", "--results"];
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "-h" | "--help" => return Ok(Order::Help),
            "--quick" => quick = true,
            "--only" => {
                let all_of_logs =
                    || Measure::ALL.map(Measure::word).into_iter().filter(|word| word.starts_with("logs-"));
                let list: Vec<String> = (value()?.split(','))
                    .map(|word| if word == "logs" { all_of_logs().collect::<Vec<_>>().join(",") } else { word.into() })
                    .collect();
                measures = pick(&list.join(","), &Measure::ALL, Measure::word)?;
            }
            "--subjects" => subjects = pick(&value()?, &Subject::ALL, Subject::word)?,
            "--rounds" => rounds = Some(value()?.parse::<u32>().context("--rounds takes a number")?.max(1)),
            "--idle" => idle = Some(value()?.parse::<u64>().context("--idle takes seconds")?.max(1)),
            "--sched" => {
                realtime = match value()?.as_str() {
                    "rr" => true,
                    "other" => false,
                    odd => bail!("--sched takes rr or other, not {odd}"),
                }
            }
            path => match PATHS.iter().position(|known| *known == path) {
                Some(place) => paths[place] = Some(value()?.into()),
                None => bail!("unknown word {path}; see bench/run --help"),
            },
        }
    }
    let mut dose = if quick {
        Dose {
            rounds: 1,
            fleet: 100,
            survivors: 50,
            crowd: 50,
            idle: secs(5),
            load: secs(4),
            kills: 1,
            lines: 100_000,
            restarts: 20_000,
            output: 2_000_000_000,
            haystack: 200_000_000,
        }
    } else {
        Dose {
            rounds: 5,
            fleet: 1000,
            survivors: 500,
            crowd: 200,
            idle: secs(60),
            load: secs(20),
            kills: 2,
            lines: 1_000_000,
            restarts: 1_000_000,
            output: 100_000_000_000,
            haystack: 10_000_000_000,
        }
    };
    dose.rounds = rounds.unwrap_or(dose.rounds);
    dose.idle = idle.map_or(dose.idle, secs);
    let [tutela, child, floor, peers, results] = paths;
    let need = |path: Option<PathBuf>, name: &str| path.with_context(|| format!("{name} is missing; call bench/run"));
    Ok(Order::Measure(Box::new(Options {
        measures,
        subjects,
        dose,
        quick,
        realtime,
        tutela: need(tutela, PATHS[0])?,
        child: need(child, PATHS[1])?,
        floor: need(floor, PATHS[2])?,
        peers: need(peers, PATHS[3])?,
        results: need(results, PATHS[4])?,
    })))
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pick<T: Copy>(list: &str, all: &[T], word: fn(T) -> &'static str) -> Result<Vec<T>> {
    let known = || all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(" ");
    list.split(',')
        .map(|wanted| {
            let found = all.iter().copied().find(|one| word(*one) == wanted);
            found.with_context(|| format!("{wanted} is none of: {}", known()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split(' ').map(String::from).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn an_unknown_subject_is_refused_with_the_known_ones() {
        let refusal = parse(words("--subjects floor,upstart")).unwrap_err().to_string();
        assert!(refusal.contains("upstart is none of: floor floor:sh tutela"), "{refusal}");
    }

    #[test]
    fn rounds_given_by_hand_win_over_quick() {
        let line = "--quick --rounds 3 --tutela t --child c --floor f --peers p --results r";
        let Order::Measure(options) = parse(words(line)).unwrap() else { panic!("not a run") };
        assert_eq!((options.dose.rounds, options.dose.fleet), (3, 100));
    }
}
