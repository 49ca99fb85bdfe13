//! circus, which looks for deaths every `check_delay`: 5 s by default, 10 ms where latency is measured.

use super::{Layout, Line, Load, ROTATE_BYTES, text, write};
use crate::options::Options;
use anyhow::Result;
use std::fmt::Write;

pub(super) fn lay(load: &Load, options: &Options) -> Result<Layout> {
    let home = text(&load.folder);
    let delay = if load.eager { "0.01" } else { "5" };
    let mut conf = format!(
        "[circus]\ncheck_delay={delay}\nwarmup_delay=0\nstatsd=false\n\
         endpoint=ipc://{home}/ep\npubsub_endpoint=ipc://{home}/ps\n"
    );
    for (name, words) in load.services() {
        write!(conf, "[watcher:{name}]\ncmd={}\nnumprocesses=1\nwarmup_delay=0\nmax_retry=-1\n", words.join(" "))?;
        if let Some(output) = &load.output {
            write!(
                conf,
                "stdout_stream.class=FileStream\nstdout_stream.filename={}/out.log\n\
                 stdout_stream.max_bytes={ROTATE_BYTES}\nstdout_stream.backup_count={}\n",
                output.of(&name)?,
                output.speech.keep
            )?;
            if output.is_stamped() {
                writeln!(conf, "stdout_stream.time_format=%Y-%m-%dT%H:%M:%S.%f")?;
            }
        }
    }
    let path = load.folder.join("circus.ini");
    write(&path, &conf)?;
    let tool = |name: &str| text(&options.peers.join("py/bin").join(name));
    let endpoint = format!("ipc://{home}/ep");
    Ok(Layout {
        start: Line::new([tool("circusd"), "--log-output".into(), "/dev/null".into(), text(&path)]),
        stop: Line::new([
            tool("circusctl"),
            "--timeout".into(),
            "60".into(),
            "--endpoint".into(),
            endpoint,
            "stop".into(),
            "--waiting".into(),
        ]),
    })
}
