//! Programs with their descendants.

use crate::ward::{block_on, eventually, runs, understudy, ward};
use tutela_os::process::{Exit, MemberState, Signal};

pub fn a_tree_of_grandchildren_is_known_and_ended() {
    let ward = ward();
    let part = ward.start(&["chain", "3"]);
    let mut pids = part.pids(4);
    let tree = part.child.tree();
    let members = tree.members().unwrap();
    pids.sort_unstable();
    assert_eq!(members.iter().map(|member| member.pid).collect::<Vec<_>>(), pids);
    let own = std::env::current_exe().unwrap();
    let own = own.file_name().unwrap().to_str().unwrap();
    assert!(members.iter().all(|member| member.name.eq_ignore_ascii_case(own)), "{members:?}");
    assert!(members.iter().all(|member| member.state == MemberState::Alive));
    assert!(tree.contains(pids[3]) && !tree.contains(std::process::id()));
    assert!(!tree.is_empty().unwrap());
    tree.remove().unwrap_err();
    ward.end(&part.child);
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert!(tree.is_empty().unwrap() && tree.members().unwrap().is_empty());
    tree.remove().unwrap();
}

pub fn the_end_of_the_first_process_leaves_the_tree() {
    let ward = ward();
    let part = ward.start(&["leave"]);
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(0));
    let left = part.pids(1)[0];
    assert!(!part.child.tree().is_empty().unwrap());
    assert!(part.child.tree().contains(left) && runs(left));
    let waiting = block_on(async {
        tokio::time::timeout(std::time::Duration::from_millis(50), part.child.tree().emptied()).await.is_err()
    });
    assert!(waiting);
    ward.end(&part.child);
    assert!(!runs(left));
}

pub fn an_empty_tree_is_told_without_waiting() {
    let ward = ward();
    let part = ward.start(&["exit", "0"]);
    block_on(part.child.tree().emptied()).unwrap();
    ward.end_of(&part.child);
    part.child.tree().kill().unwrap();
    part.child.signal(Signal::KILL).unwrap();
    part.child.tree().remove().unwrap();
    assert_eq!(part.child.tree().label(), "part");
}

pub fn a_killed_program_is_told_as_killed() {
    let ward = ward();
    let killed = Exit::Signal { signal: Signal::KILL, core_dumped: false };
    let part = ward.start(&["sleep"]);
    part.child.signal(Signal::KILL).unwrap();
    assert_eq!(ward.end_of(&part.child).exit, killed);
    let part = ward.start(&["sleep"]);
    part.child.tree().kill().unwrap();
    assert_eq!(ward.end_of(&part.child).exit, killed);
    // The same number from a program that nobody killed is its own.
    let part = ward.start(&["exit", "137"]);
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(137));
}

pub fn two_runs_of_one_label_are_never_mixed() {
    let ward = ward();
    let first = ward.start(&["leave"]);
    let stray = first.pids(1)[0];
    ward.end_of(&first.child);
    let second = ward.start(&["sleep"]);
    assert!(first.child.tree().contains(stray) && !second.child.tree().contains(stray));
    first.child.tree().kill().unwrap();
    block_on(first.child.tree().emptied()).unwrap();
    assert!(runs(second.child.pid()) && !runs(stray));
    ward.end(&second.child);
}

pub fn the_owner_of_a_grandchild_is_known() {
    let ward = ward();
    let part = ward.start(&["chain", "1"]);
    let pids = part.pids(2);
    for pid in pids {
        assert_eq!(ward.nursery.owner_of(pid), Some(part.child.token()));
    }
    assert_eq!(ward.nursery.owner_of(std::process::id()), None);
    ward.end(&part.child);
}

pub fn usage_grows_with_work() {
    let ward = ward();
    let part = ward.start(&["work"]);
    part.lines(1);
    let usage = part.child.tree().usage().unwrap();
    assert_eq!(usage.processes, 1);
    assert!(usage.threads >= 1 && usage.memory_bytes > 0 && usage.open_files.is_some(), "{usage:?}");
    assert!(usage.cpu.as_millis() > 50, "{usage:?}");
    part.child.tree().kill().unwrap();
    let end = ward.end_of(&part.child);
    assert!(end.usage.cpu.as_millis() > 50, "{end:?}");
}

pub fn starts_and_ends_race_without_losing_one() {
    let ward = ward();
    let tokens = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let ward = &ward;
                scope.spawn(move || {
                    let start = |at: u32| {
                        let request = understudy(&format!("race.{thread}"), &["exit", &at.to_string()]);
                        let child = ward.nursery.spawn(&request).unwrap_or_else(|error| panic!("{error}"));
                        (child.token(), at)
                    };
                    (0..50).map(start).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(tokens.len(), 200);
    eventually("every end is told", || tokens.iter().all(|(token, _)| ward.times_told(*token) >= 1));
    assert!(tokens.iter().all(|(token, _)| ward.times_told(*token) == 1));
}

pub fn a_killed_guard_leaves_nobody() {
    let ward = ward();
    let part = ward.start(&["guard"]);
    let kept = part.pids(1)[0];
    assert!(runs(kept));
    // Only the guard: what it keeps is in a job of its own within ours.
    part.child.signal(Signal::KILL).unwrap();
    ward.end_of(&part.child);
    eventually("its program is gone", || !runs(kept));
    block_on(part.child.tree().emptied()).unwrap();
}
