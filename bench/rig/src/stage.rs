//! One subject on its feet, and its certain end.
//!
//! Dropping a stage kills every descendant of the rig, keepers first so that nothing is started again, and waits until
//! they are gone: the next subject has the machine to itself.

use crate::arena::{Arena, now};
use crate::kernel::{self, Process};
use crate::options::Options;
use crate::subject::{Layout, Line, Load, Output, Speech, Subject};
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, WaitOptions, wait};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long the end of a subject may take before the rig gives up, in nanoseconds. A thousand processes are gone
/// within a second; this is for a machine in trouble.
const END_NANOSECONDS: u64 = 20_000_000_000;

/// A command that only asks is back within milliseconds; this is for one that hangs.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

/// Variables that everybody gets besides `PATH` and `HOME`: as many as a login has. An empty environment would flatter
/// a guard that keeps one for each service.
const VARIABLES: u32 = 30;

/// What a stage is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// How many services.
    pub count: u32,
    /// Whether their program exits at once.
    pub exits: bool,
    /// Whether the subject should look for deaths as often as it can.
    pub eager: bool,
    /// The port of the web server that is probed.
    pub probed: Option<u16>,
    /// What the programs write and how it is kept; nothing is written otherwise.
    pub speech: Option<Speech>,
}

/// A subject that was started.
#[derive(Debug)]
pub struct Stage {
    /// Where births are read.
    pub arena: Arena,
    /// When its start was asked for, by [`now`].
    pub begun: u64,
    layout: Layout,
    root: Child,
}

impl Stage {
    /// Lays the subject's files and starts it; comes back at once.
    ///
    /// # Errors
    /// Its files cannot be written, or its program cannot be started.
    pub fn open(subject: Subject, cast: Cast, options: &Options) -> Result<Self> {
        let arena = Arena::new()?;
        let load = Load {
            folder: arena.folder().to_path_buf(),
            child: options.child.clone(),
            births: arena.births(),
            count: cast.count,
            exits: cast.exits,
            eager: cast.eager,
            probed: cast.probed,
            output: match cast.speech {
                Some(speech) => Some(Output::lay(speech, &arena, options)?),
                None => None,
            },
        };
        let layout = subject.lay(&load, options)?;
        let mut command = command(&layout.start, &arena, None)?;
        let begun = now();
        let root = command.spawn().with_context(|| format!("cannot start {}", layout.start.words[0]))?;
        Ok(Stage { arena, begun, layout, root })
    }

    /// The process that was started first.
    pub fn root(&self) -> u32 {
        self.root.id()
    }

    /// Collects the subject, which was killed, and starts it again in the same place.
    ///
    /// # Errors
    /// It does not end, or cannot be started.
    pub fn restart_root(&mut self) -> Result<()> {
        kernel::wait(&mut self.root, COMMAND_PATIENCE)?;
        let mut command = command(&self.layout.start, &self.arena, None)?;
        self.begun = now();
        self.root = command.spawn().with_context(|| format!("cannot start {}", self.layout.start.words[0]))?;
        Ok(())
    }

    /// What the subject said so far, for errors: the last lines.
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(self.arena.folder().join("said")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(6).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    /// Runs the subject's own command that stops every program, and waits for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn stop_command(&self) -> Result<Child> {
        let mut command = command(&self.layout.stop, &self.arena, Some(self.root.id()))?;
        command.spawn().with_context(|| format!("cannot start {}", self.layout.stop.words[0]))
    }

    /// Runs the subject's program with other words, in its environment: for Tutela's `status`.
    ///
    /// # Errors
    /// It cannot be started, or does not come back.
    pub fn ask(&self, words: &[&str]) -> Result<ExitStatus> {
        let mut line = self.layout.start.clone();
        line.words.truncate(1);
        line.words.extend(words.iter().map(|word| (*word).to_owned()));
        let mut child = command(&line, &self.arena, None)?.spawn().context("cannot start a command")?;
        kernel::wait(&mut child, COMMAND_PATIENCE)
    }

    /// The folder that the subject has as `TUTELA_HOME`, when it has one.
    pub fn home(&self) -> Option<PathBuf> {
        let mut env = self.layout.start.env.iter();
        env.find(|(name, _)| *name == "TUTELA_HOME").map(|(_, home)| home.into())
    }
}

fn command(line: &Line, arena: &Arena, root: Option<u32>) -> Result<Command> {
    let said = File::options().create(true).append(true).open(arena.folder().join("said"))?;
    let mut command = Command::new(&line.words[0]);
    for word in &line.words[1..] {
        match root {
            Some(root) if word == "@root" => command.arg(root.to_string()),
            _ => command.arg(word),
        };
    }
    command.env_clear().env("PATH", std::env::var_os("PATH").context("there is no PATH")?).env("HOME", arena.folder());
    for number in 0..VARIABLES {
        command.env(format!("BENCH_VARIABLE_{number:02}"), "/a/value/as/long/as/they/usually/are");
    }
    // The mark by which bench/run finds what is left over when the rig itself was killed.
    if let Some(mark) = std::env::var_os("TUTELA_BENCH_MARK") {
        command.env("TUTELA_BENCH_MARK", mark);
    }
    command.envs(line.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(arena.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    Ok(command)
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = clear() {
            eprintln!("failed to end a subject: {error:#}");
        }
    }
}

/// Kills every descendant, and reaps until none is left.
///
/// # Errors
/// One cannot be ended.
pub fn clear() -> Result<()> {
    let begun = now();
    loop {
        let all = kernel::descendants();
        let alive: Vec<&Process> = all.iter().filter(|one| !one.is_zombie).collect();
        let keepers_left = alive.iter().any(|one| !one.is_child);
        for process in alive.iter().filter(|one| !one.is_child || !keepers_left) {
            kernel::signal(process.pid, Signal::KILL);
        }
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        if all.is_empty() {
            return Ok(());
        }
        if now() - begun > END_NANOSECONDS {
            bail!("{} processes are left, the first is {}", all.len(), all[0].pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
