//! Which of Tutela's guarantees hold on this host, for `doctor`, `status --json` and the logs.

use crate::platform;
use crate::process::Nursery;

/// One guarantee and whether it holds here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityReport {
    /// The guarantee, as a stable key: `tree_containment`.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// How it is given, or why it is not and how that can be helped.
    pub detail: String,
}

/// The guarantees of this host. With a nursery the answer is about the guard that opened it; without,
/// about what a guard started like this process would get.
pub fn report(nursery: Option<&Nursery>) -> Vec<CapabilityReport> {
    platform::capabilities::report(nursery)
}
