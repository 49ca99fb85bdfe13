//! Debian with systemd, booted in a container of its own: what a test of units and the journal holds in its hand.
//!
//! It starts in two seconds, so each test has one, and finds nothing that another test left. Commands run inside as
//! root, in every namespace of the container, though in no unit; what has to be in one is started with `systemd-run`.
//! A test that fails shows the failed units and the end of the journal.
//!
//! Deliberately absent: limits. Control groups are of version 2, but which controllers there are is up to the machine
//! below; [`crate::Machine`] has all of them.

use crate::ended::Ended;
use crate::make;
use crate::place::Place;
use crate::room::inside::{CONSOLE, group_of};
use crate::room::{Kind, Room, enter, wait_for};
use crate::root;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long anything may take that has no bound of its own. Generous: it is only ever reached by a failure.
const BOUND: Duration = Duration::from_secs(60);

/// Exit code for what could not even be started.
const NOT_STARTED: i32 = 127;

/// Lines of the journal that a failed test shows.
const JOURNAL_LINES: u32 = 80;

/// A booted system. Dropping it ends every process in it and forgets every change.
#[derive(Debug)]
pub struct Booted {
    room: Room,
    /// Its init, as seen from here.
    init: u32,
    /// The control group inside it that commands run in, as seen from here.
    group: Option<PathBuf>,
}

impl Booted {
    /// Boots one, and waits until it has started everything.
    ///
    /// # Panics
    /// It does not come up; the message has its console.
    pub fn boot() -> Self {
        let place = Place::of_checkout().expect("the folder of beds");
        make::ensure(&place, Kind::Systemd).expect("the bed");
        let room = Room::open(&place, Kind::Systemd).expect("a room");
        let init = wait_for(BOUND, || init_below(room.first()));
        let Some(init) = init else { panic!("no init came up\n{}", console(&room, &place)) };
        let mut booted = Booted { room, init, group: None };
        let up = wait_for(BOUND, || {
            let state = booted.run("systemctl is-system-running").out;
            (state.trim() == "running" || state.trim() == "degraded").then_some(state)
        });
        match up {
            Some(state) if state.trim() == "running" => {
                booted.group = booted.group_for_commands();
                booted
            }
            state => panic!("it does not run but is {state:?}\n{}\n{}", booted.story(), console(&booted.room, &place)),
        }
    }

    /// Runs a script of bash as root.
    pub fn run(&self, script: &str) -> Ended {
        self.run_with(script, &[])
    }

    /// Runs a script of bash as another account, with a session bus if that account has one.
    pub fn run_as(&self, account: &str, script: &str) -> Ended {
        let mut command = self.command();
        command.args(["setpriv", "--init-groups", "--inh-caps=-all"]);
        command.arg(format!("--reuid={account}")).arg(format!("--regid={account}"));
        command.args(["bash", "-c"]);
        command.arg(format!("export HOME=~{account} USER={account} XDG_RUNTIME_DIR=/run/user/$(id -u); cd; {script}"));
        finish(command, script, &[])
    }

    fn run_with(&self, script: &str, input: &[u8]) -> Ended {
        let mut command = self.command();
        command.args(["bash", "-c", script]);
        finish(command, script, input)
    }

    /// A group beside those of units: programs that ask who they are find no answer in one outside of the container.
    fn group_for_commands(&self) -> Option<PathBuf> {
        let init = group_of(&self.init.to_string())?;
        let group = init.parent()?.join("bed");
        root::command("mkdir").arg("--parents").arg(&group).status().ok()?.success().then_some(group)
    }

    /// A command inside, ended when it takes too long.
    fn command(&self) -> Command {
        let mut command = match &self.group {
            Some(group) => {
                let mut command = root::command("sh");
                command.args(["-c", "echo 0 >\"$0\" && exec nsenter \"$@\""]).arg(group.join("cgroup.procs"));
                command
            }
            None => root::command("nsenter"),
        };
        command.arg(format!("--target={}", self.init));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--"]);
        command.args(["/usr/bin/env", "-i", "-C", "/", "HOME=/root", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["timeout", "--kill-after=5"]).arg(BOUND.as_secs().to_string());
        command
    }

    /// Writes a file, and makes the folders above it.
    ///
    /// # Panics
    /// It can not be written.
    #[track_caller]
    pub fn put(&self, path: &str, text: &str) {
        self.run_with(&format!("mkdir -p \"$(dirname '{path}')\" && cat >'{path}'"), text.as_bytes()).ok();
    }

    /// Copies a program in.
    ///
    /// # Panics
    /// It can not be read or written.
    #[track_caller]
    pub fn put_program(&self, from: &Path, to: &str) {
        let mut command = self.command();
        let script = format!("mkdir -p \"$(dirname '{to}')\" && cat >'{to}' && chmod 755 '{to}'");
        command.args(["bash", "-c", &script]);
        let file = File::open(from).unwrap_or_else(|error| panic!("failed to open {}: {error}", from.display()));
        let status = command.stdin(file).status().expect("nsenter starts");
        assert!(status.success(), "failed to copy {}: {status}", from.display());
    }

    /// Waits until a script answers with success, and returns its output.
    ///
    /// # Panics
    /// It never did; the message has its last answer.
    #[track_caller]
    pub fn wait_until(&self, what: &str, script: &str) -> String {
        let mut last = None;
        let done = wait_for(BOUND, || {
            let ended = self.run(script);
            let code = ended.code;
            last = Some(ended.clone());
            (code == 0).then_some(ended.out)
        });
        match done {
            Some(out) => out.trim_end().to_owned(),
            None => panic!("waited in vain until {what}: {}", last.map(|ended| ended.story()).unwrap_or_default()),
        }
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// It never did.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        match wait_for(BOUND, || look(self)) {
            Some(found) => found,
            None => panic!("waited in vain until {what}"),
        }
    }

    /// What a failed test wants to know about the system.
    pub fn story(&self) -> String {
        let script = format!(
            "systemctl --no-pager --failed; systemctl --no-pager list-units 'tutela*' --all; \
             journalctl --no-pager --lines={JOURNAL_LINES} --output=short-precise"
        );
        self.run(&script).out
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.story());
        }
    }
}

/// Runs a command to its end. Its input is small enough for a pipe, or is read while it runs.
fn finish(mut command: Command, script: &str, input: &[u8]) -> Ended {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("nsenter starts");
    if let Some(mut pipe) = child.stdin.take() {
        // Whoever does not read its input has answered without it.
        let _ = pipe.write_all(input);
    }
    let output = child.wait_with_output().expect("the end of nsenter");
    Ended {
        code: output.status.code().unwrap_or(NOT_STARTED),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        script: script.to_owned(),
    }
}

/// The first process of the namespace that a child of a child of `first` began: the container's init.
fn init_below(first: u32) -> Option<u32> {
    let processes: Vec<(u32, u32, bool)> = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
            // In its innermost namespace it is the first process, and that is two below the room's.
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            Some((number, parent, numbers.split_whitespace().next_back() == Some("1")))
        })
        .collect();
    let is_child_of =
        |number: u32, above: u32| processes.iter().any(|(own, parent, _)| (*own, *parent) == (number, above));
    let nspawn = processes.iter().filter(|(_, parent, _)| *parent == first).map(|(number, ..)| *number);
    let inits: Vec<u32> = nspawn
        .flat_map(|nspawn| {
            processes.iter().filter(move |(number, _, is_first)| *is_first && is_child_of(*number, nspawn))
        })
        .map(|(number, ..)| *number)
        .collect();
    let init = inits.into_iter().next()?;
    // Until its own root folder is in place there is nothing to enter; systemd is its name from then on.
    let name = std::fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
    (name.trim() == "systemd").then_some(init)
}

/// What the container printed.
fn console(room: &Room, place: &Place) -> String {
    let output = enter(room.first()).arg("cat").arg(place.mount_point().join(CONSOLE)).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
