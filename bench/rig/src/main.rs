//! Tutela and its peers under the same loads, in one run. `bench/run` builds and calls this.
//!
//! In reading order:
//! - [`options`]: the words after `bench/run`;
//! - [`arena`]: a work folder in memory and the pipe through which programs report their births;
//! - [`subject`]: how each supervisor is told to keep the same programs;
//! - [`stage`]: one subject on its feet, and its certain end;
//! - [`measure`]: what is measured, one file each;
//! - [`kernel`], [`control`], [`origin`]: what the kernel says about processes, what a guard says over its socket,
//!   and the web server that is probed;
//! - [`figures`], [`record`], [`facts`], [`report`]: numbers, lines of JSON, the machine, tables.
//!
//! The rig is the reaper of everything that it starts (`PR_SET_CHILD_SUBREAPER`), so what belongs to a subject is
//! simply every descendant of the rig, and nothing outlives a measurement. Only Linux: it measures through `/proc`.

mod arena;
mod control;
mod facts;
mod figures;
mod kernel;
mod measure;
mod options;
mod origin;
mod record;
mod report;
mod stage;
mod subject;

use anyhow::{Context, Result};
use options::{Options, Order};
use record::Book;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("failed to bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    match options::parse(std::env::args().skip(1))? {
        Order::Help => {
            print!("{}", options::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Order::Report { lines, to } => {
            let text = report::write(&record::read(&lines)?)?;
            std::fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
            eprintln!("wrote {} from {}", to.display(), lines.display());
            Ok(ExitCode::SUCCESS)
        }
        Order::Measure(options) => measure(&options),
    }
}

fn measure(options: &Options) -> Result<ExitCode> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).context("cannot become the reaper of what is started")?;
    kernel::allow_many_files()?;
    kernel::bound_realtime()?;

    let mut book = Book::open(&options.results)?;
    book.facts(facts::gather(options)?)?;
    let failures = measure::all(options, &mut book)?;

    let table = report::write(&record::read(book.path())?)?;
    let beside = book.path().with_extension("md");
    std::fs::write(&beside, &table).with_context(|| format!("cannot write {}", beside.display()))?;
    print!("{table}");
    eprintln!("\nlines:  {}\ntables: {}", book.path().display(), beside.display());
    if failures > 0 {
        eprintln!("{failures} measurements failed; the tables name them");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
