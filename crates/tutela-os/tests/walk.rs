//! Trees found by a walk over the process table.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::ward;
use tutela_os::process::ContainerKind;

const FORCE_WALK: bool = true;

#[test]
fn a_walk_says_why() {
    assert!(
        matches!(ward(FORCE_WALK).nursery.container(), ContainerKind::Walk { reason } if reason == "it was asked for")
    );
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
