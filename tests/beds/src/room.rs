//! A room: mounts and processes of one run, which end together with it, whatever happens.
//!
//! [`Room::open`] starts this crate's program `beds` as the first process of namespaces of its own, one for mounts and
//! one for processes. It lays the bed out ([`inside`]), says so, and then waits for the end of its standard input. That
//! pipe's other end belongs to whoever opened the room: when that process ends in any way, even by `kill -9`, the pipe
//! closes, the first process ends, and the kernel ends every process and undoes every mount of the room. So there is
//! nothing to clean up, and nothing that a clean-up could miss.
//!
//! A bed is laid out as an overlay over a folder that nobody changes: what is written goes into memory and is gone
//! with the room. Several rooms may stand on one bed at a time.

use crate::place::Place;
use crate::root;
use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

pub mod inside;

/// What the first process prints when everything is laid out; its process number follows.
const READY: &str = "room ready ";

/// What a room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Windows programs: the checkout and the folder for temporary files are where they are outside.
    Wine,
    /// Debian with systemd, booted.
    Systemd,
    /// QEMU and its tools; the folder of beds is where it is outside.
    Machine,
}

impl Kind {
    const ALL: [(Kind, &'static str); 3] =
        [(Kind::Wine, "wine"), (Kind::Systemd, "systemd"), (Kind::Machine, "machine")];

    /// The word for it on the command line, which is the name of its bed as well.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind that is called so.
    pub fn called(word: &str) -> Option<Kind> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// An open room. Dropping it ends everything in it.
#[derive(Debug)]
pub struct Room {
    keeper: Child,
    door: Option<ChildStdin>,
    first: u32,
    root: PathBuf,
}

impl Room {
    /// Opens a room on the bed of this kind, which has to be made.
    ///
    /// # Errors
    /// It could not be laid out; the message has what the first process said.
    pub fn open(place: &Place, kind: Kind) -> Result<Room> {
        let mut command = in_namespaces(&["room", kind.word()])?;
        let mut keeper = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start a room")?;
        let door = keeper.stdin.take();
        let mut room = Room { keeper, door, first: 0, root: place.mount_point().join("root") };
        let mut said = String::new();
        if let Some(output) = room.keeper.stdout.take() {
            let mut output = BufReader::new(output);
            while output.read_line(&mut said)? > 0 {
                if let Some(number) = said.lines().last().and_then(|line| line.strip_prefix(READY)) {
                    room.first = number.trim().parse().context("a room without a process number")?;
                    return Ok(room);
                }
            }
        }
        if let Some(mut errors) = room.keeper.stderr.take() {
            errors.read_to_string(&mut said)?;
        }
        bail!("failed to lay out the bed {}: {}", kind.word(), said.trim())
    }

    /// A command inside, in front of the bed's own root folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = enter(self.first);
        command.arg("chroot").arg(&self.root).arg(program);
        command
    }

    /// The process number of the first process, as seen from here.
    pub fn first(&self) -> u32 {
        self.first
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.door = None;
        // The first process ends at once when its door is closed, and everything else with it.
        let _ = self.keeper.wait();
    }
}

/// The command that goes into the room of `first`; what to run there follows.
pub fn enter(first: u32) -> Command {
    let mut command = root::command("nsenter");
    command.arg(format!("--target={first}")).args(["--mount", "--pid", "--"]);
    command
}

/// This crate's program with these words, as the first process of namespaces of its own.
///
/// # Errors
/// The program is not there.
pub fn in_namespaces(words: &[&str]) -> Result<Command> {
    let mut command = root::command("unshare");
    command.args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL", "--"]);
    command.arg(program()?).args(words);
    Ok(command)
}

/// This crate's program: ourselves, or what lies beside the test that runs.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program")?;
    if own.file_name() == Some(OsStr::new("beds")) {
        return Ok(own);
    }
    // …/debug/deps/systemd-0123 lies beside …/debug/beds.
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("beds"));
    beside.filter(|path| path.is_file()).context("the program `beds` is missing: cargo build -p tutela-beds")
}

/// Waits until `look` finds something, or answers `None` when that takes longer than `bound`.
pub fn wait_for<T>(bound: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    /// Between two looks.
    const LOOK: Duration = Duration::from_millis(20);
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > bound {
            return None;
        }
        std::thread::park_timeout(LOOK);
    }
}
