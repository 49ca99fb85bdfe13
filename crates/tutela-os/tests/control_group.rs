//! Trees in control groups, on a host that has them. On one that has not, these fail: the promise that a
//! tree cannot be left has to be tested somewhere.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{GUARD, ward};
use tutela_os::process::ContainerKind;

const FORCE_WALK: bool = false;

#[test]
fn this_host_has_control_groups_and_the_tree_folders_go_when_they_are_removed() {
    let ward = ward(FORCE_WALK);
    let ContainerKind::ControlGroup { path, .. } = ward.nursery.container() else {
        panic!("no control groups here: {:?}", ward.nursery.container());
    };
    assert!(path.file_name().unwrap().to_str().unwrap().starts_with(&format!("tutela-{GUARD}-")));
    let script = ward.script("folder", "cat /proc/self/cgroup");
    ward.end_of(&script.child);
    assert!(script.output().lines().any(|line| line.ends_with("/folder")), "{}", script.output());
    assert!(path.join("folder").is_dir());
    script.child.tree().remove().unwrap();
    assert!(!path.join("folder").exists());
}

tree_tests!(FORCE_WALK =>
    an_exit_is_told_with_its_code_and_owner,
    a_signal_reaches_the_first_process_and_is_told,
    a_deaf_stray_in_its_own_session_is_found_and_ended,
    an_orphan_is_collected_as_a_stranger,
    hundreds_of_forks_are_ended,
    a_tree_can_be_halted_and_go_on,
    a_halted_member_is_shown_as_such_and_can_be_ended,
    usage_grows_with_work,
    limits_that_cannot_be_enforced_are_told,
    limits_of_processes_change_while_they_run,
    a_program_starts_again_after_its_tree_was_killed,
    two_runs_of_one_tree_are_never_mixed,
    starts_and_ends_race_without_losing_one,
    starts_of_one_tree_at_the_same_time_do_not_disturb_each_other,
    a_failed_start_is_told_to_nobody_else,
    waiting_for_an_empty_tree_returns_at_once,
);
