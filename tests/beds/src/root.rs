//! Acting as root: namespaces, mounts and containers want it.
//!
//! Whoever is root already acts as such. Others need `sudo` without a password, as `.ci/install` does.

use std::ffi::OsStr;
use std::process::Command;

/// The command that runs `program` as root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    // What a bed is made of and where it lies comes in variables.
    command.args(["--non-interactive", "--preserve-env", "--"]).arg(program);
    command
}
