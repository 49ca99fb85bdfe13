//! `beds`: makes testbeds, runs Windows programs in one, and is the first process of their rooms.
//!
//! People and `./test` call `make` and `wine`; the other words are the crate's own. See [`tutela_beds`].

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::process::ExitCode;
use tutela_beds::place::Place;
use tutela_beds::room::Kind;
use tutela_beds::{make, room, wine};

const USAGE: &str = "\
usage: beds make [wine | systemd | machine]    makes the testbeds that are not there yet
       beds wine PROGRAM ARGS…                 runs a Windows program; its exit code is ours
";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("beds: {error:#}");
            ExitCode::from(125)
        }
    }
}

fn run(words: Vec<OsString>) -> Result<u8> {
    let place = Place::of_checkout()?;
    let (first, rest) = match words.split_first() {
        Some((first, rest)) => (first.to_str().unwrap_or_default(), rest),
        None => ("", &[][..]),
    };
    let plain: Vec<&str> = rest.iter().filter_map(|word| word.to_str()).collect();
    match (first, plain.as_slice()) {
        ("make", []) => {
            for kind in [Kind::Systemd, Kind::Wine, Kind::Machine] {
                make::ensure(&place, kind)?;
            }
        }
        ("make", [name]) => make::ensure(&place, kind(name)?)?,
        // As of every Unix program, the low eight bits are what the caller can see.
        ("wine", _) => return Ok(wine::run(&place, rest)?.to_le_bytes()[0]),
        ("make-inside", [name]) => make::inside(&place, kind(name)?)?,
        ("room", [name]) => room::inside::live(&place, kind(name)?)?,
        ("keep", [name, owner]) => wine::keep(&place, name, owner)?,
        _ => bail!("{USAGE}"),
    }
    Ok(0)
}

fn kind(name: &str) -> Result<Kind> {
    Kind::called(name).with_context(|| format!("refused: there is no bed `{name}`\n{USAGE}"))
}
