//! runit: `runsvdir` over a folder of services, one `runsv` each.
//!
//! A `run` file is a shell script, as its manual shows; `sv stop` waits for each service by looking every 0.4 s.

use super::output::ROTATE_BYTES_OF_MULTILOG;
use super::{Layout, Line, Load, ROTATE_BYTES, age, folder, text, write, write_script};
use anyhow::Result;
use std::path::Path;

/// Who writes files where output is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Logger {
    /// Its own.
    Svlogd,
    /// That of daemontools, with the largest size of a file that it takes.
    Multilog,
}

/// The largest buffer that helps svlogd, and a line limit above every line that is written here.
const SVLOGD: &str = "svlogd -b 65536 -l 4096";

pub(super) fn lay(load: &Load, logger: Logger) -> Result<Layout> {
    let services = folder(&load.folder.join("service"))?;
    let mut stop: Vec<String> = ["sv", "-w", "30", "stop"].map(String::from).to_vec();
    for (name, words) in load.services() {
        let service = folder(&services.join(&name))?;
        write_script(&service.join("run"), &format!("#!/bin/sh\nexec {}\n", words.join(" ")))?;
        if let Some(output) = &load.output {
            let files = output.of(&name)?;
            let keep = output.speech.keep;
            let command = match (logger, output.is_stamped()) {
                (Logger::Svlogd, stamped) => {
                    write(&Path::new(&files).join("config"), &format!("s{ROTATE_BYTES}\nn{keep}\n"))?;
                    format!("{SVLOGD}{} {files}", if stamped { " -t" } else { "" })
                }
                (Logger::Multilog, stamped) => {
                    let stamp = if stamped { "t " } else { "" };
                    format!("multilog {stamp}s{ROTATE_BYTES_OF_MULTILOG} n{keep} {files}")
                }
            };
            let log = folder(&service.join("log"))?;
            write_script(&log.join("run"), &format!("#!/bin/sh\nexec {command}\n"))?;
        }
        stop.push(text(&service));
    }
    age(&services)?;
    Ok(Layout { start: Line::new(["runsvdir".to_owned(), text(&services)]), stop: Line::new(stop) })
}
