//! supervisord, with `startsecs=0`: a start counts as good at once. It reaps in one turn of its loop of a second and
//! starts again in the next; nothing can be set about that.

use super::{Layout, Line, Load, ROTATE_BYTES, text, write};
use crate::options::Options;
use anyhow::Result;
use std::fmt::Write;

pub(super) fn lay(load: &Load, options: &Options) -> Result<Layout> {
    let home = text(&load.folder);
    let mut conf = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={home}/pid\nminfds=8192\n\
         [unix_http_server]\nfile={home}/sock\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{home}/sock\n"
    );
    for (name, words) in load.services() {
        let out = match &load.output {
            None => "NONE".to_owned(),
            Some(output) => format!(
                "{}/out.log\nstdout_logfile_maxbytes={ROTATE_BYTES}\nstdout_logfile_backups={}",
                output.of(&name)?,
                output.speech.keep
            ),
        };
        write!(
            conf,
            "[program:{name}]\ncommand={}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n\
             stdout_logfile={out}\nstderr_logfile=NONE\n",
            words.join(" ")
        )?;
    }
    let path = load.folder.join("supervisord.conf");
    write(&path, &conf)?;
    let tool = |name: &str| text(&options.peers.join("py/bin").join(name));
    Ok(Layout {
        start: Line::new([tool("supervisord"), "-n".into(), "-c".into(), text(&path)]),
        stop: Line::new([tool("supervisorctl"), "-c".into(), text(&path), "stop".into(), "all".into()]),
    })
}
