//! Programs on the real Windows, or on Wine: starting, stopping, ending and limiting them.
//!
//! This binary plays every part: the tests, the programs that they start ([`understudy`]), and the messenger
//! that carries requests to stop, which has to be the first thing in `main`. So it has no harness; the one
//! below runs the tests whose names contain an argument, or all, one after the other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unsafe_code, reason = "an understudy misbehaves where only the OS itself can")]

#[cfg(windows)]
mod freezing;
#[cfg(windows)]
mod starting;
#[cfg(windows)]
mod stopping;
#[cfg(windows)]
mod streams;
#[cfg(windows)]
mod taking_back;
#[cfg(windows)]
mod trees;
#[cfg(windows)]
mod understudy;
#[cfg(windows)]
mod ward;

#[cfg(not(windows))]
fn main() {}

#[cfg(windows)]
type Test = (&'static str, fn());

/// Names a function by itself, so that a test is written once.
#[cfg(windows)]
macro_rules! tests {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        const TESTS: &[Test] = &[$($((stringify!($name), $module::$name)),+),+];
    };
}

#[cfg(windows)]
tests! {
    starting:
        arguments_come_back_as_they_were_given,
        a_batch_file_gets_its_arguments_and_its_exit_code_is_told,
        a_batch_file_is_not_given_what_cmd_would_run,
        the_environment_is_the_requests_own,
        only_named_handles_are_inherited,
        a_listening_socket_is_handed_over,
        exit_codes_keep_their_bits,
        the_step_that_failed_is_named,
        a_file_that_is_no_program_is_told,
        another_account_is_refused_with_advice,
        paths_with_blanks_and_other_alphabets_work,
        what_cannot_be_enforced_is_told;
    streams:
        ten_megabytes_come_through_a_pipe,
        a_grandchild_that_holds_the_pipe_blocks_nobody,
        a_pipe_ends_with_its_last_writer;
    trees:
        a_tree_of_grandchildren_is_known_and_ended,
        the_end_of_the_first_process_leaves_the_tree,
        an_empty_tree_is_told_without_waiting,
        a_killed_program_is_told_as_killed,
        two_runs_of_one_label_are_never_mixed,
        the_owner_of_a_grandchild_is_known,
        usage_grows_with_work,
        starts_and_ends_race_without_losing_one,
        a_killed_guard_leaves_nobody;
    taking_back:
        a_program_is_taken_back_with_its_tree_and_its_end_is_told,
        how_a_program_ended_is_told_to_who_takes_it_back_later,
        what_is_given_up_is_a_leftover_until_it_is_ended;
    stopping:
        a_ctrl_c_reaches_a_program_on_its_hidden_console,
        a_ctrl_break_reaches_everybody_on_the_console,
        a_program_without_a_handler_ends_by_ctrl_c,
        a_request_to_a_program_that_has_ended_is_none,
        a_program_without_windows_says_so,
        signals_without_a_counterpart_are_refused,
        the_rest_of_a_tree_can_be_asked;
    freezing:
        a_tree_is_halted_and_goes_on,
        a_halted_tree_can_be_ended,
        an_alarm_fires_at_its_moment,
        figures_of_the_computer_are_told;
}

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    if let Some(code) = tutela_os::process::console_event_main(std::env::args_os()) {
        return code;
    }
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == understudy::CUE) {
        return understudy::play(&args[1..]);
    }
    let filters: Vec<String> =
        args.iter().filter_map(|arg| arg.to_str()).filter(|arg| !arg.starts_with('-')).map(str::to_owned).collect();
    if args.iter().any(|arg| arg == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut failed = Vec::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        let began = std::time::Instant::now();
        let outcome = std::panic::catch_unwind(test);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:?})", began.elapsed());
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    ward::close();
    println!("{} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
