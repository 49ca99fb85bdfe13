//! What is measured, one file each. Rounds are interleaved: every subject once, then every subject again, each round
//! beginning with another one, so that a slow minute of the machine does not hit one subject alone.

mod cold;
mod fleet;
mod logs;
mod outlive;
mod probes;
mod restart;
mod soak;
mod stop;
mod storm;

use crate::kernel;
use crate::options::{Measure, Options};
use crate::record::Book;
use crate::subject::Subject;
use anyhow::Result;
use serde_json::Value;
use std::time::Duration;

/// How long the rig looks, before each subject, whether somebody else works on the machine.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// Measures everything that is asked for; how many measurements failed.
///
/// # Errors
/// The lines cannot be written. A subject that fails is a line, and no error.
pub fn all(options: &Options, book: &mut Book) -> Result<u32> {
    let mut failures = 0;
    for measure in &options.measures {
        let (rounds, realtime) = match measure {
            Measure::Restart | Measure::Fleet | Measure::Stop => (options.dose.rounds, options.realtime),
            Measure::Cold | Measure::Outlive | Measure::LogsRaw | Measure::LogsStamped | Measure::LogsJson => {
                (options.dose.rounds, false)
            }
            // Scheduled like everything else: what is asked here is how a busy guard shares the machine.
            Measure::Storm
            | Measure::Probes
            | Measure::Soak
            | Measure::LogsCrowd
            | Measure::LogsMemory
            | Measure::LogsSince => (1, false),
        };
        let cast: Vec<Subject> = options.subjects.iter().copied().filter(|one| takes_part(*measure, *one)).collect();
        for round in 1..=rounds {
            let mut order = cast.clone();
            order.rotate_left(usize::try_from(round - 1)? % cast.len().max(1));
            for subject in order {
                eprintln!("{} {}/{rounds} {}", measure.word(), round, subject.word());
                let others = kernel::busy_cores(LOOK_AROUND);
                if realtime {
                    kernel::schedule(true);
                }
                kernel::prefer(options.realtime && measure.word().starts_with("logs-"));
                for (name, mut found) in once(*measure, subject, round == rounds, options) {
                    match &mut found {
                        Ok(values) => values["others_busy_cores"] = Value::from(others),
                        Err(error) => {
                            failures += 1;
                            eprintln!("  failed: {error:#}");
                        }
                    }
                    book.line(measure.word(), &name, round, &found)?;
                }
                kernel::schedule(false);
                kernel::prefer(false);
            }
        }
    }
    Ok(failures)
}

/// The peers give up or wait a second between crashes, and none of them probes over HTTP.
fn takes_part(measure: Measure, subject: Subject) -> bool {
    match measure {
        Measure::Restart | Measure::Fleet | Measure::Stop => subject != Subject::Multilog,
        Measure::LogsRaw | Measure::LogsCrowd => subject != Subject::FloorShell,
        // supervisord puts none on the lines of a program.
        Measure::LogsStamped => !matches!(subject, Subject::FloorShell | Subject::Supervisord),
        Measure::LogsMemory => !matches!(subject, Subject::Floor | Subject::FloorShell),
        Measure::Storm => matches!(subject, Subject::Floor | Subject::Tutela),
        // The C program beside it is started in the same breath; no peer takes anything back.
        Measure::Probes | Measure::Cold | Measure::Outlive | Measure::Soak => subject == Subject::Tutela,
        // None of the peers reads what it keeps.
        Measure::LogsJson | Measure::LogsSince => subject == Subject::Tutela,
    }
}

fn once(measure: Measure, subject: Subject, last: bool, options: &Options) -> Vec<(String, Result<Value>)> {
    let name = subject.word().to_owned();
    let each = |found: Vec<Result<Value>>| found.into_iter().map(|one| (name.clone(), one)).collect();
    match measure {
        Measure::LogsRaw => each(logs::raw(subject, options)),
        Measure::LogsStamped => each(logs::stamped(subject, options)),
        Measure::LogsJson => each(logs::json(subject, options)),
        Measure::LogsCrowd => vec![(name, logs::crowd(subject, options))],
        Measure::LogsMemory => vec![(name, logs::memory(subject, options))],
        Measure::LogsSince => vec![(name, logs::since(options))],
        Measure::Restart => vec![(name, restart::once(subject, options))],
        Measure::Fleet => vec![(name, fleet::once(subject, last, options))],
        Measure::Storm => vec![(name, storm::once(subject, options))],
        Measure::Probes => vec![(name, probes::once(options))],
        Measure::Cold => cold::once(options),
        Measure::Outlive => vec![(name, outlive::once(options))],
        Measure::Soak => vec![(name, soak::once(options))],
        Measure::Stop => {
            let mut found = vec![(name, stop::by_command(subject, options))];
            if matches!(subject, Subject::Floor | Subject::Tutela) {
                found.push((format!("{} (asked directly)", subject.word()), stop::directly(subject, options)));
            }
            found
        }
    }
}
