//! s6: `s6-svscan` over a folder of services, one `s6-supervise` each.
//!
//! The script says ready at once (`notification-fd`): without, s6 waits a second before every restart.
//! There is no command for many services, so the stop is a loop of `s6-svc` and one `s6-svwait`, as its users write it.

use super::{Layout, Line, Load, ROTATE_BYTES, age, folder, text, write, write_script};
use anyhow::Result;

/// What `s6-svscan` may keep besides the services.
const SPARE: u32 = 8;

pub(super) fn lay(load: &Load) -> Result<Layout> {
    let services = folder(&load.folder.join("service"))?;
    for (name, words) in load.services() {
        let service = folder(&services.join(&name))?;
        write_script(&service.join("run"), &format!("#!/bin/sh\necho >&3\nexec 3>&- {}\n", words.join(" ")))?;
        write(&service.join("notification-fd"), "3\n")?;
        if let Some(output) = &load.output {
            let stamp = if output.is_stamped() { "t " } else { "" };
            let (keep, folder_of_files) = (output.speech.keep, output.of(&name)?);
            let log = folder(&service.join("log"))?;
            let script = format!("#!/bin/sh\nexec s6-log n{keep} s{ROTATE_BYTES} {stamp}{folder_of_files}\n");
            write_script(&log.join("run"), &script)?;
        }
    }
    age(&services)?;
    let services = text(&services);
    // A service with a logger counts twice.
    let most = (2 * load.count + SPARE).to_string();
    let stop = "cd \"$0\" && for s in *; do s6-svc -d \"$s\"; done; exec s6-svwait -D *";
    Ok(Layout {
        start: Line::new(["s6-svscan", "-c", most.as_str(), services.as_str()]),
        stop: Line::new(["/bin/sh", "-c", stop, services.as_str()]),
    })
}
