//! `floor.c`: fork, exec, wait, again. What no supervisor can be faster than.

use super::{Layout, Line, Load, text};
use crate::options::Options;
use anyhow::Result;

pub(super) fn lay(load: &Load, options: &Options, shell: bool) -> Result<Layout> {
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
