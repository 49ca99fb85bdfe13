//! Which guarantees hold: none that needs a program to be started.

use crate::Os;
use crate::capabilities::CapabilityReport;
use crate::process::Nursery;

pub(crate) fn report(_nursery: Option<&Nursery>) -> Vec<CapabilityReport> {
    let missing = |name| CapabilityReport {
        name,
        holds: false,
        detail: format!("this version of Tutela does not know how on {}", Os::CURRENT.name()),
    };
    let mut report: Vec<_> = [
        "tree_containment",
        "limits",
        "notify",
        "peer_identity",
        "open_file_limit",
        "read_only_paths",
        "programs_outlive_guard",
    ]
    .map(missing)
    .into();
    report.push(CapabilityReport {
        name: "suspend_aware_clock",
        holds: true,
        detail: "the OS's clock since boot counts suspensions".into(),
    });
    report
}
