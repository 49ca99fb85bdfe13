//! What holds for a tree in either kind of container.

use super::{BOUND, Hold, block_on, eventually, runs, shell};
use std::time::Instant;
use tutela_core::spec::{Limits, Priority};
use tutela_os::process::{Exit, MemberState, Signal};

/// Makes a test of each scenario for one kind of container.
#[macro_export]
macro_rules! tree_tests {
    ($force_walk:expr => $($scenario:ident),+ $(,)?) => {
        $(
            #[test]
            fn $scenario() {
                $crate::support::scenarios::$scenario(&$crate::support::ward($force_walk));
            }
        )+
    };
}

/// A shell command that leaves a process in a session of its own, twice forked, deaf to TERM, and writes
/// its number.
const STRAY: &str = "setsid sh -c '(trap \"\" TERM; echo $$ >/dev/null; exec sh -c \"echo \\$\\$; trap : USR2; \
                     trap \\\"\\\" TERM; while :; do sleep 1000; done\") &' ; ";

pub fn an_exit_is_told_with_its_code_and_owner(ward: &Hold) {
    let script = ward.script("code", "exit 7");
    let end = ward.end_of(&script.child);
    assert_eq!((end.exit, end.owner, end.pid), (Exit::Code(7), Some(script.child.token()), script.child.pid()));
    assert!(end.usage.memory_peak_bytes > 0);
}

pub fn a_signal_reaches_the_first_process_and_is_told(ward: &Hold) {
    let script = ward.script("signalled", "exec sleep 1000");
    script.child.signal(Signal::TERM).unwrap();
    let end = ward.end_of(&script.child);
    assert_eq!(end.exit, Exit::Signal { signal: Signal::TERM, core_dumped: false });
    // The process is gone: nothing to signal, and no error.
    script.child.signal(Signal::TERM).unwrap();
}

pub fn a_deaf_stray_in_its_own_session_is_found_and_ended(ward: &Hold) {
    let script = ward.script("stray", &format!("{STRAY} exec sleep 1000"));
    let stray: u32 = script.lines(1)[0].parse().unwrap();
    let tree = script.child.tree();
    script.child.signal(Signal::KILL).unwrap();
    ward.end_of(&script.child);
    assert!(!tree.is_empty().unwrap(), "the stray is a member");
    eventually("the stray is a member", || tree.members().unwrap().iter().any(|member| member.pid == stray));
    assert!(tree.contains(stray));
    assert!(!tree.contains(std::process::id()));
    assert_eq!(ward.nursery.owner_of(stray), Some(script.child.token()));
    tree.signal_all(Signal::TERM).unwrap();
    assert!(runs(stray), "it is deaf to TERM");
    tree.kill().unwrap();
    block_on(tree.emptied()).unwrap();
    assert!(!runs(stray));
    assert!(tree.is_empty().unwrap());
    tree.remove().unwrap();
}

pub fn an_orphan_is_collected_as_a_stranger(ward: &Hold) {
    let script = ward.script("orphan", "(sleep 0 & sh -c 'echo $PPID' ; exec sleep 0.01) & echo $!");
    let orphan: u32 = script.lines(1)[0].parse().unwrap_or(0);
    ward.end_of(&script.child);
    let seen: Vec<u32> = script.output().lines().filter_map(|line| line.parse().ok()).chain([orphan]).collect();
    eventually("nobody of the script runs", || seen.iter().all(|pid| !runs(*pid)));
    eventually("the tree is empty", || script.child.tree().is_empty().unwrap());
    assert!(ward.stranger(orphan).is_some());
}

pub fn hundreds_of_forks_are_ended(ward: &Hold) {
    let script = ward.script("forks", "i=0; while [ $i -lt 300 ]; do setsid sleep 1000 & i=$((i+1)); done; echo; wait");
    script.lines(1);
    let tree = script.child.tree();
    let began = Instant::now();
    tree.kill().unwrap();
    block_on(tree.emptied()).unwrap();
    assert!(began.elapsed() < BOUND);
    ward.end_of(&script.child);
    assert!(tree.members().unwrap().is_empty());
}

pub fn a_tree_can_be_halted_and_go_on(ward: &Hold) {
    let script = ward.script("halt", "while :; do echo; sleep 0.01; done");
    script.lines(2);
    let tree = script.child.tree();
    tree.freeze().unwrap();
    eventually("it stands still", || {
        let before = script.output().len();
        std::thread::park_timeout(std::time::Duration::from_millis(40));
        before == script.output().len()
    });
    let before = script.output().len();
    tree.thaw().unwrap();
    eventually("it goes on", || script.output().len() > before);
    tree.kill().unwrap();
    block_on(tree.emptied()).unwrap();
}

pub fn a_halted_member_is_shown_as_such_and_can_be_ended(ward: &Hold) {
    let script = ward.script("stopped", "exec sleep 1000");
    script.child.signal(Signal::STOP).unwrap();
    eventually("it is halted", || {
        script.child.tree().members().unwrap().first().map(|member| member.state) == Some(MemberState::Halted)
    });
    script.child.tree().kill().unwrap();
    assert!(matches!(ward.end_of(&script.child).exit, Exit::Signal { signal: Signal::KILL, .. }));
}

pub fn usage_grows_with_work(ward: &Hold) {
    let script = ward.script("usage", "sleep 1000 & i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; wait");
    script.lines(1);
    let usage = script.child.tree().usage().unwrap();
    assert_eq!((usage.processes, usage.threads), (2, 2));
    assert!(usage.cpu.as_millis() > 10 && usage.memory_bytes > 0, "{usage:?}");
    assert!(usage.open_files.is_some_and(|files| (6..20).contains(&files)), "{usage:?}");
    ward.end(&script.child);
}

pub fn limits_that_cannot_be_enforced_are_told(ward: &Hold) {
    let all = Limits { memory: Some(1 << 30), cpu_percent: Some(100), processes: Some(100), ..Limits::default() };
    let script = ward.script_with("limits", "echo; exec sleep 1000", |request| request.limits = all);
    let missing = script.child.unenforced().to_vec();
    assert_eq!(script.child.tree().set_limits(&all).unwrap(), missing);
    let wanted = match ward.nursery.container() {
        tutela_os::process::ContainerKind::ControlGroup { controllers, .. } => 3 - controllers.len(),
        tutela_os::process::ContainerKind::JobObject { limits } => 3 - limits.len(),
        tutela_os::process::ContainerKind::Walk { .. } => 3,
    };
    assert_eq!(missing.len(), wanted, "{missing:?}");
    assert!(missing.iter().all(|unsupported| !unsupported.reason.is_empty()));
    ward.end(&script.child);
}

pub fn limits_of_processes_change_while_they_run(ward: &Hold) {
    let script = ward.script("live-limits", "sleep 1000 & echo $!; wait");
    let sleeper = script.lines(1)[0].clone();
    let limits = Limits { open_files: Some(77), core: Some(0), priority: Priority::Low, ..Limits::default() };
    assert_eq!(script.child.tree().set_limits(&limits).unwrap(), []);
    let shown = std::fs::read_to_string(format!("/proc/{sleeper}/limits")).unwrap();
    let open_files = shown.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().filter(|word| *word == "77").count(), 2, "{open_files}");
    let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap();
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(16), Some("10"));
    ward.end(&script.child);
}

pub fn a_program_starts_again_after_its_tree_was_killed(ward: &Hold) {
    for _ in 0..3 {
        let script = ward.script("again", "echo; exec sleep 1000");
        script.lines(1);
        ward.end(&script.child);
        let script = ward.script("again", "exit 3");
        assert_eq!(ward.end_of(&script.child).exit, Exit::Code(3));
    }
}

pub fn two_runs_of_one_tree_are_never_mixed(ward: &Hold) {
    let first = ward.script("same", &format!("{STRAY} exec sleep 1000"));
    let stray: u32 = first.lines(1)[0].parse().unwrap();
    first.child.signal(Signal::KILL).unwrap();
    ward.end_of(&first.child);
    let second = ward.script("same", "exec sleep 1000");
    assert!(!second.child.tree().contains(stray));
    assert!(first.child.tree().contains(stray));
    ward.end(&second.child);
    assert!(runs(stray));
    first.child.tree().kill().unwrap();
    block_on(first.child.tree().emptied()).unwrap();
    for _ in 0..3 {
        let next = ward.script("same", "exec sleep 1000");
        let over = first.child.tree();
        assert!(over.is_empty().unwrap() && !over.contains(next.child.pid()) && over.members().unwrap().is_empty());
        over.kill().unwrap();
        assert!(runs(next.child.pid()), "what is done to a run that is over does not touch the next");
        ward.end(&next.child);
    }
}

pub fn starts_and_ends_race_without_losing_one(ward: &Hold) {
    let tokens = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let tree = format!("race.{thread}");
                    (0..100)
                        .map(|_| {
                            let mut request = shell(&tree, "");
                            request.program = "/bin/true".into();
                            let child = ward.nursery.spawn(&request).unwrap();
                            // Not waited for, so that starts meet ends.
                            child.token()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(tokens.len(), 400);
    eventually("every end is told", || tokens.iter().all(|token| ward.times_told(*token) >= 1));
    assert!(tokens.iter().all(|token| ward.times_told(*token) == 1));
}

pub fn starts_of_one_tree_at_the_same_time_do_not_disturb_each_other(ward: &Hold) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let script = ward.script("together", "exec sleep 1000");
                    assert_eq!(script.child.tree().members().unwrap().len(), 1);
                    ward.end(&script.child);
                }
            });
        }
    });
}

pub fn a_failed_start_is_told_to_nobody_else(ward: &Hold) {
    let mut request = shell("failing", "");
    request.program = "/no/such/program".into();
    for _ in 0..50 {
        ward.nursery.spawn(&request).unwrap_err();
    }
    let script = ward.script("failing", "exit 0");
    ward.end_of(&script.child);
    assert_eq!(script.child.tree().label(), "failing");
}

pub fn waiting_for_an_empty_tree_returns_at_once(ward: &Hold) {
    let script = ward.script("over", "exit 0");
    ward.end_of(&script.child);
    block_on(script.child.tree().emptied()).unwrap();
    script.child.tree().kill().unwrap();
    script.child.tree().remove().unwrap();
}
