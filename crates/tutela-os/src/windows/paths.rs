//! Where things live on Windows.

use crate::paths::{Logs, Paths};
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) fn discover(lookup: &impl Fn(&str) -> Option<OsString>) -> Paths {
    let program_data = lookup("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
    let root = program_data.join("Tutela");
    Paths {
        specs: root.join("specs"),
        state: root.join("state"),
        logs: Logs::Root(root.join("logs")),
        runtime: root.join("run"),
    }
}
