//! Which guarantees hold on this host.

use super::container::job::limits_kept;
use crate::capabilities::CapabilityReport;
use crate::process::{ContainerKind, Nursery};

pub(crate) fn report(nursery: Option<&Nursery>) -> Vec<CapabilityReport> {
    let one = |name, holds, detail: &str| CapabilityReport { name, holds, detail: detail.into() };
    let limits = match nursery.map(Nursery::container) {
        Some(ContainerKind::JobObject { limits }) => limits.clone(),
        _ => limits_kept(),
    };
    let limit = |name, word: &str, how: &str| {
        let holds = limits.iter().any(|kept| kept == word);
        let detail = if holds { how } else { "jobs of this host do not keep such a limit" };
        CapabilityReport { name, holds, detail: detail.into() }
    };
    let system = super::process::runs_as_system();
    vec![
        one("tree_containment", true, "a job object per program, which no process can leave"),
        limit("memory_limit", "memory", "a limit of the job on committed memory; beyond it memory is refused"),
        limit("cpu_limit", "cpu", "a hard cap of the job on all processors"),
        limit("processes_limit", "processes", "a limit of the job; beyond it starts fail"),
        one("open_files_limit", false, "Windows has no limit of open files per process"),
        one(
            "programs_outlive_guard",
            true,
            "where the spec says survive = true: a process beside the guard holds programs' jobs and pipes open, and the \
             next guard goes on with them; without it the kernel ends programs with their guard",
        ),
        one(
            "console_events",
            true,
            "every program has a hidden console of its own; Ctrl-C and Ctrl-Break are carried by a short-lived process",
        ),
        one("notify", true, "the NOTIFY_SOCKET protocol over a named pipe"),
        one("peer_identity", true, "the token of every client of the control pipe"),
        one("suspend_aware_clock", true, "the interrupt time counts suspensions; an alarm in one is at most 10 s late"),
        one(
            "other_users",
            system,
            if system {
                "programs can run as LocalService, NetworkService and virtual accounts; others need a guard of their own"
            } else {
                "programs run as this account; install the guard with account = \"system\" for the built-in ones"
            },
        ),
        one("read_only_paths", false, "the access lists of folders say what an account may write"),
        one("capability_limits", false, "accounts have privileges instead of capabilities"),
    ]
}
