//! pm2: a client that leaves a daemon behind, told what to keep by one JSON file. Its files are not rotated: that is a
//! module of its own.

use super::{Layout, Line, Load, text, write};
use crate::options::Options;
use anyhow::Result;
use serde_json::{Value, json};

pub(super) fn lay(load: &Load, options: &Options) -> Result<Layout> {
    let mut apps: Vec<Value> = Vec::new();
    for (name, words) in load.services() {
        let mut app = json!({
            "name": name, "script": words[0], "args": words[1..], "interpreter": "none", "exec_mode": "fork",
            "restart_delay": 0, "max_restarts": 1_000_000, "out_file": "/dev/null", "error_file": "/dev/null",
        });
        if let Some(output) = &load.output {
            app["out_file"] = Value::from(format!("{}/out.log", output.of(&name)?));
            if output.is_stamped() {
                app["log_date_format"] = Value::from("YYYY-MM-DDTHH:mm:ss.SSS");
            }
        }
        apps.push(app);
    }
    let path = load.folder.join("ecosystem.json");
    write(&path, &json!({ "apps": apps }).to_string())?;
    let pm2 = text(&options.peers.join("node/node_modules/pm2/bin/pm2"));
    let home = text(&load.folder.join("pm2"));
    let line = |tail: [&str; 2]| {
        Line::new(["node", pm2.as_str(), tail[0], tail[1]]).env("PM2_HOME", home.as_str()).env("PM2_DISCRETE_MODE", "1")
    };
    Ok(Layout { start: line(["start", &text(&path)]), stop: line(["stop", "all"]) })
}
