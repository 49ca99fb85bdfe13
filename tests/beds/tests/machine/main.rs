//! A guard on a whole machine: boot, power cut, and the limits that only a kernel with every controller keeps.
//!
//! The machine is emulated, so everything is slow here: bounds are wide, and what is measured over time is compared with
//! wide margins. What a power cut here can show and what not stands in [`tutela_beds::Machine`].

mod limits;
mod power;
mod stage;
