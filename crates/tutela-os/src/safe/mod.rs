//! The safe: what keeps a guard's descriptors when the guard itself is gone.
//!
//! A small process beside the guard, made of the same program. The guard deposits in it what must not close with the
//! guard's own end: the pipes of its programs, the descriptors of their processes, the memory in which it notes down
//! what it is about. A guard that ends in order ends its safe too; one that crashes leaves it, and the next guard of
//! that name takes everything out of it again.
//!
//! - [`link`]: the guard's side;
//! - [`message`]: what the two say to each other;
//! - in the folder of the OS: how they say it, and the safe's own side.
//!
//! Deliberately absent: what is deposited, and what it means. That is the business of the guard's own rooms.

// Where descriptors end with their guard there is nothing to link.
#[cfg(any(target_os = "linux", windows))]
pub(crate) mod link;
#[cfg(any(target_os = "linux", windows))]
pub(crate) mod message;

use crate::handle::Handle;
use crate::{Error, platform};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The longest name of a deposit, in bytes: a service, an instance and a run have a sixth of it.
pub const DEPOSIT_NAME_BYTES_MAX: usize = 512;

/// The longest note of a deposit, in bytes: what tells a process tree from others is two paths at the most.
pub const DEPOSIT_NOTE_BYTES_MAX: usize = 16 * 1024;

/// Descriptors of one deposit at the most: a process, its streams, and what belongs to each.
pub const DEPOSIT_HANDLES_MAX: usize = 16;

/// What a guard keeps in its safe under one name.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// Its name; a later deposit of this name takes its place. One that [`Deposit::of_program`] made is known to be a
    /// program's.
    pub name: String,
    /// Any text, for the guard that takes it out.
    pub note: String,
    /// The descriptors, in an order that the two guards agree on.
    pub handles: Vec<Handle>,
}

/// How names of programs' deposits begin.
pub(crate) const PROGRAM: &str = "program ";

impl Deposit {
    /// The deposit of a program, the first handle of which is its process. A safe whose guard is gone waits for the next
    /// one at least as long as any of these lives.
    pub fn of_program(id: &str, note: String, handles: Vec<Handle>) -> Deposit {
        Deposit { name: Deposit::name_of_program(id), note, handles }
    }

    /// The name of a program's deposit.
    pub fn name_of_program(id: &str) -> String {
        format!("{PROGRAM}{id}")
    }

    /// Whose it is, where it is a program's.
    pub fn program(&self) -> Option<&str> {
        self.name.strip_prefix(PROGRAM)
    }
}

/// Who is told of troubles.
pub(crate) type OnTrouble = Box<dyn Fn(String) + Send + Sync>;

/// A guard's safe. Cheap to clone. Dropping it, and the end of the process in any way, leaves the safe and what is in
/// it; [`Safe::end`] does not.
#[derive(Debug, Clone)]
pub struct Safe(Arc<platform::safe::Safe>);

impl Safe {
    /// Whether an earlier guard left a safe at `socket`, as far as can be seen without opening it.
    pub fn is_left(socket: &Path) -> bool {
        platform::safe::is_left(socket)
    }

    /// Takes over the safe that an earlier guard left at `socket`, with everything in it, or begins an empty one there.
    /// `guard` is shown in the list of processes. When the safe ends while this guard lives (somebody killed it), a new
    /// one is begun and everything is deposited again; `on_trouble` is told, on a thread of the safe's.
    ///
    /// # Errors
    /// This host has none ([`Error::Unsupported`]), or the process could not be started.
    pub fn open(
        socket: &Path,
        guard: &str,
        on_trouble: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<(Safe, Vec<Deposit>), Error> {
        let (safe, deposits) = platform::safe::Safe::open(socket, guard, Box::new(on_trouble))?;
        Ok((Safe(safe), deposits))
    }

    /// Keeps a deposit. Returns when the safe has it: some 10 µs, and a second at the most. Not for the conductor's thread.
    ///
    /// # Errors
    /// The safe does not take it. It is tried again by itself, together with everything else.
    pub fn keep(&self, deposit: Deposit) -> Result<(), Error> {
        self.0.keep(deposit)
    }

    /// Keeps a deposit soon. Never waits.
    pub fn keep_soon(&self, deposit: Deposit) {
        self.0.keep_soon(deposit);
    }

    /// Gives the deposit of this name up, soon: the safe closes its descriptors. Never waits.
    pub fn release(&self, name: &str) {
        self.0.release(name);
    }

    /// Ends the safe with everything in it: nothing is to outlive this guard any more.
    pub fn end(&self) {
        self.0.end();
    }
}

/// If this process was started to be a safe, it is one, and the answer is its exit code; to be called first in `main`,
/// with the arguments.
pub fn safe_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    platform::safe::safe_main(args.into_iter().skip(1))
}
