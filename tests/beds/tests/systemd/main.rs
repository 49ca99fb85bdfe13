//! A guard as a service of systemd: the static program, installed from a spec, on Debian booted in a container.
//!
//! Each test boots a system of its own. What is asserted is what an operator sees: `systemctl`, the journal, files and
//! exit codes. Deliberately absent: limits, which want a whole machine (`tests/machine`).

mod installing;
mod living;
mod outliving;
mod people;
mod refusals;
mod sinks;
mod stage;
