//! `floor.c`: fork, exec, wait, again. What no supervisor can be faster than. Of logs: `cat > file`.

use super::{Layout, Line, Load, text};
use crate::options::Options;
use anyhow::Result;
use std::fmt::Write;

pub(super) fn lay(load: &Load, options: &Options, shell: bool) -> Result<Layout> {
    if let Some(output) = &load.output {
        let mut script = String::new();
        for (name, words) in load.services() {
            write!(script, "{} | cat > {}/out.log & ", words.join(" "), output.of(&name)?)?;
        }
        let line = Line::new(["/bin/sh".to_owned(), "-c".to_owned(), script + "wait"]);
        return Ok(Layout { start: line, stop: Line::new(["/bin/true"]) });
    }
    let mut words = vec![text(&options.floor), load.count.to_string()];
    if shell {
        let program = load.words("$0").join(" ");
        words.extend(["/bin/sh".to_owned(), "-c".to_owned(), format!("exec {program}"), "@".to_owned()]);
    } else {
        words.extend(load.words("@"));
    }
    // The least that an operator types. It comes back at once: the floor has nobody to tell when it is done.
    let stop = "kill -TERM \"$0\"";
    Ok(Layout { start: Line::new(words), stop: Line::new(["/bin/sh", "-c", stop, "@root"]) })
}
