//! Which guarantees hold on this host.

use crate::capabilities::CapabilityReport;
use crate::platform::container::would_be;
use crate::process::{ContainerKind, Nursery};
use rustix::thread::CapabilitySet;

pub(crate) fn report(nursery: Option<&Nursery>) -> Vec<CapabilityReport> {
    let kind = nursery.map_or_else(would_be, |nursery| nursery.container().clone());
    let one = |name, holds, detail: &str| CapabilityReport { name, holds, detail: detail.into() };
    let mut report = vec![containment(&kind)];
    report.extend(
        [("memory_limit", "memory"), ("cpu_limit", "cpu"), ("processes_limit", "pids")]
            .map(|(name, controller)| limit(name, controller, &kind)),
    );
    let privileged = super::accounts::is_privileged();
    let holds = |capability| rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability));
    report.push(one("open_files_limit", true, "a limit per process"));
    report.push(one("notify", true, "NOTIFY_SOCKET, senders vouched for by the kernel"));
    report.push(one("peer_identity", true, "the kernel names the user of every connection to the control socket"));
    report.push(one("suspend_aware_clock", true, "CLOCK_BOOTTIME counts suspensions, and alarms keep to it"));
    report.push(one(
        "other_users",
        holds(CapabilitySet::SETUID) && holds(CapabilitySet::SETGID),
        if privileged { "programs can run as any user" } else { "programs run as this account; run the guard as root" },
    ));
    let alone = std::process::id() == 1;
    report.push(one(
        "programs_outlive_guard",
        !alone,
        if alone {
            "with process 1 everything ends"
        } else {
            "a guard that is killed leaves its programs and their output to the next one, unless the spec says survive = false"
        },
    ));
    let mounts = holds(CapabilitySet::SYS_ADMIN);
    report.push(one(
        "read_only_paths",
        mounts,
        if mounts { "a mount namespace per program" } else { "mounting needs CAP_SYS_ADMIN; run the guard as root" },
    ));
    let bounding = holds(CapabilitySet::SETPCAP);
    report.push(one(
        "capability_limits",
        bounding,
        if bounding { "taken from the bounding set" } else { "taking them needs CAP_SETPCAP; run the guard as root" },
    ));
    report
}

fn containment(kind: &ContainerKind) -> CapabilityReport {
    let (holds, detail) = match kind {
        ContainerKind::ControlGroup { path, .. } => {
            (true, format!("a control group per program in {}", path.display()))
        }
        ContainerKind::JobObject { .. } => (true, "a job object per program".into()),
        ContainerKind::Walk { reason } => (
            false,
            format!("descendants are found by descent, session and a mark, which a hostile one can escape: {reason}"),
        ),
    };
    CapabilityReport { name: "tree_containment", holds, detail }
}

fn limit(name: &'static str, controller: &str, kind: &ContainerKind) -> CapabilityReport {
    let (holds, detail) = match kind {
        ContainerKind::ControlGroup { controllers, .. } if controllers.iter().any(|has| has == controller) => {
            (true, format!("the {controller} controller"))
        }
        ContainerKind::ControlGroup { .. } => {
            (false, format!("the {controller} controller is not available to the guard's control group"))
        }
        ContainerKind::JobObject { .. } => (true, "the limits of a job object".to_owned()),
        ContainerKind::Walk { reason } => (false, format!("there is no control group: {reason}")),
    };
    CapabilityReport { name, holds, detail }
}
