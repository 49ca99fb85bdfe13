//! A Rust program as a native service: of the Windows service control manager, systemd, launchd, a guard of Tutela, and
//! in a terminal while you write it.
//!
//! ```no_run
//! use std::{process::ExitCode, time::Duration};
//! use tutela_service::Service;
//!
//! fn main() -> ExitCode {
//!     Service::new("sweeper").verbs().run(|context| {
//!         context.ready();
//!         while !context.stopping().wait_for(Duration::from_secs(60)) {
//!             println!("sweeping");
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! `run` finds out who started the process and speaks to it in its own way:
//!
//! | started by | ready and status | stops | also |
//! |---|---|---|---|
//! | SCM | START_PENDING with checkpoints, RUNNING | stop, shutdown, preshutdown | pause, paramchange, power, session, exit codes as service-specific |
//! | systemd | `READY`, `STATUS`, `RELOADING`, `EXTEND_TIMEOUT_USEC` | SIGTERM | SIGHUP reloads, the watchdog is fed |
//! | a guard of Tutela | the same words, on Windows too | as its spec says | the same |
//! | launchd | none there | SIGTERM | SIGHUP reloads |
//! | a terminal | lines for you | Ctrl-C; a second one hurries, a third one ends | |
//!
//! In reading order: [`Service`] is the builder, [`Context`] what the program has in its hands, [`StopToken`] what it
//! waits for, [`Drained`] how a drain ended; [`Program`] and `AsyncProgram` are for programs with a method per control;
//! [`Watched`] is configuration that changes; [`Registration`] installs; `health` answers load balancers, and
//! `HostLayer` brings `tracing` into the log of the host.
//!
//! # What is promised
//! - The host is told that the service runs when the program says so, not before.
//! - Nothing ends in silence: an error or a panic of the program, of a tracked task or of a thread is logged and becomes
//!   the exit code.
//! - No wait without a bound: a start that does not become ready and a stop that does not end are failures that say what
//!   they waited for.
//! - Nothing that the program does keeps us from answering the host: it has threads of its own.
//!
//! # Exit codes
//! 0 as asked; [`FAILED`] after an error, or the code of an [`ExitWith`]; [`PANICKED`]; [`NOT_READY`]; [`NOT_STOPPED`].
//! The SCM shows them as service-specific.
//!
//! # Processes that you start
//! [`HOST_VARIABLES`] are meant for you alone: leave them out of the environment of every process that you start, or it
//! speaks to the host in your name.
//!
//! # Features
//! `tokio` (default) for async programs, `health`, `tracing`, `config` for TOML. `docs/sdk.md` counts what each costs.

mod body;
mod context;
mod drain;
mod event;
mod exit;
#[cfg(feature = "health")]
pub mod health;
mod heartbeat;
mod journal;
mod life;
mod program;
pub mod registration;
mod runner;
mod service;
mod token;
#[cfg(feature = "tracing")]
mod tracing;
mod verbs;
mod voice;
mod wall;
mod watched;

pub use context::Context;
pub use drain::{Drained, Left, Tracked};
pub use event::{Controls, Event, PowerChange, SessionChange, StopReason};
pub use exit::{ExitWith, FAILED, Failure, NOT_READY, NOT_STOPPED, Outcome, PANICKED};
pub use heartbeat::Heartbeat;
#[cfg(feature = "tokio")]
pub use program::AsyncProgram;
pub use program::Program;
pub use registration::{Registration, RegistrationError};
pub use service::Service;
pub use token::StopToken;
#[cfg(feature = "tracing")]
pub use tracing::HostLayer;
pub use tutela_os::host::StartedBy;
pub use tutela_os::notify::HOST_VARIABLES;
pub use watched::{Change, Follower, Refused, Watched};
