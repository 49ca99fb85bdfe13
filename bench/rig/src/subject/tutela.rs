//! Ours: one spec file, restarts without a wait and without a limit, everything else as it is by default, so with
//! the output of every program captured.

use super::{Form, Layout, Line, Load, ROTATE_BYTES, folder, text, write};
use crate::options::Options;
use anyhow::Result;
use std::fmt::Write;

/// The guard's name.
pub const NAME: &str = "bench";

pub(super) fn lay(load: &Load, options: &Options) -> Result<Layout> {
    let home = text(&folder(&load.folder.join("home"))?);
    let mut spec = format!("name = \"{NAME}\"\n");
    for (index, (name, words)) in load.services().enumerate() {
        let command: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        write!(
            spec,
            "\n[services.{name}]\ncommand = [{}]\nrestart = {{ delay = \"0s\", burst = 0 }}\n",
            command.join(", ")
        )?;
        if let Some(output) = &load.output {
            let form = match output.speech.form {
                Form::Raw => "timestamps = false",
                Form::Stamped => "timestamps = true",
                Form::Json => "format = \"json\"",
            };
            writeln!(
                spec,
                "logs = {{ dir = {:?}, rotate_size = \"{ROTATE_BYTES}B\", keep = {}, {form} }}",
                output.of(&name)?,
                output.speech.keep
            )?;
        }
        if let Some(port) = load.probed {
            writeln!(
                spec,
                "live = {{ http = \"http://127.0.0.1:{port}/{index}\", every = \"1s\", timeout = \"1s\" }}"
            )?;
        }
    }
    let path = load.folder.join("bench.toml");
    write(&path, &spec)?;
    let line = |words: &[&str]| {
        let words = std::iter::once(text(&options.tutela)).chain(words.iter().map(|word| (*word).to_owned()));
        Line::new(words).env("TUTELA_HOME", home.as_str())
    };
    let path = text(&path);
    // No peer shows on its own output what it keeps in files, nor does a guard that is a service of the OS.
    let start = if load.output.is_some() { line(&["run", "--quiet", &path]) } else { line(&["run", &path]) };
    Ok(Layout { start, stop: line(&["stop", NAME]) })
}
