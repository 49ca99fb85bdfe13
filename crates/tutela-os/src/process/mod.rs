//! Starts programs, hears of their end, and holds on to everything that they start in turn.
//!
//! One [`Nursery`] per guard process. [`Nursery::spawn`] blocks until the program runs or is known not to
//! and belongs on a thread of its own; everything else is quick or asynchronous. Every program gets a
//! [`Tree`]: the container of all its descendants, which is a control group where the host lets us have
//! one, and else a walk over the process table that finds them by descent, session and a mark in their
//! environment. On Windows it is a job object. [`Nursery::container`] says which, and why.
//!
//! Who learns of an end: [`ChildSignal::ready`] wakes the reaper, [`Nursery::reap`] collects every ended
//! child of this process, our programs and strangers alike. Nothing else in the guard may wait for a
//! child; `std::process::Command` in the same process would lose its exit status to the reaper.
//!
//! Dropping a nursery, a child or a tree ends no process. The end of the guard's own process does on Windows,
//! where the kernel ends a job with its last handle; unless a [safe](crate::safe) has another one.

mod nursery;
mod request;
mod signal;
mod spawn_error;
mod stop;
mod tree;

pub use nursery::{
    Child, ChildSignal, ChildToken, ContainerKind, Exit, Leftover, Nursery, NurseryOptions, ProcessUsage, Reaped,
};
pub use request::{Identity, SpawnRequest, Stdio, same_variable, variable};
pub use signal::Signal;
pub(crate) use signal::number_in;
pub use spawn_error::{ProgramNotFound, SpawnError, SpawnStep, find_program};
pub use stop::{Asked, Delivery, StopRequest, console_event_main};
pub use tree::{Member, MemberState, Tree, TreeUsage};
