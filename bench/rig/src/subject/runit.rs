//! runit: `runsvdir` over a folder of services, one `runsv` each.
//!
//! A `run` file is a shell script, as its manual shows; `sv stop` waits for each service by looking every 0.4 s.

use super::{Layout, Line, Load, age, folder, text, write_script};
use anyhow::Result;

pub(super) fn lay(load: &Load) -> Result<Layout> {
    let services = folder(&load.folder.join("service"))?;
    let mut stop: Vec<String> = ["sv", "-w", "30", "stop"].map(String::from).to_vec();
    for (name, words) in load.services() {
        let service = folder(&services.join(name))?;
        write_script(&service.join("run"), &format!("#!/bin/sh\nexec {}\n", words.join(" ")))?;
        stop.push(text(&service));
    }
    age(&services)?;
    Ok(Layout { start: Line::new(["runsvdir".to_owned(), text(&services)]), stop: Line::new(stop) })
}
