//! Testbeds: the real parts that Tutela is tried on where a plain process is not enough.
//!
//! | bed | what it is | what it can prove | what it can not |
//! |---|---|---|---|
//! | `wine` | Wine 10 in a Debian folder | the Windows build runs; the SCM's protocol, job objects, named pipes | what Windows Server does differently |
//! | `systemd` | Debian with systemd, booted in a container | units, `Type=notify`, watchdog, journal | limits: memory, cpu and pids may lack controllers there |
//! | `machine` | a whole machine in QEMU | boot, reboot, power cut, control groups of version 2 | a disk that loses what it acknowledged: what QEMU wrote, this machine's kernel keeps |
//!
//! `cargo xtask beds` makes them, once per checkout; tests and `tests/beds/wine` do so too when one is missing. They
//! lie in the folder of built things ([`place`]), stand in rooms of their own ([`room`]), and nothing of a run is left
//! when it ends. Root is needed, or sudo without a password.
//!
//! [`Booted`] and [`Machine`] are what tests hold in their hands. Deliberately absent: types of the product, which is
//! looked at through its commands and files alone.
#![allow(clippy::missing_panics_doc, reason = "the harness of tests may panic")]

pub mod debian;
pub mod make;
pub mod place;
pub mod room;
pub mod root;
pub mod wine;

mod booted;
mod ended;
mod machine;

pub use booted::Booted;
pub use ended::{Ended, program, tutela};
pub use machine::Machine;
