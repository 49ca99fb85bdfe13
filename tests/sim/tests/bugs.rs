//! A planted bug is found: each of them, within two thousand seeds.

use tutela_sim::campaign::campaign;
use tutela_sim::link::Mutation;

const SEEDS: u64 = 2_000;

fn is_found(bug: Mutation) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failure = campaign(0..SEEDS, Some(bug), threads).failure;
    let failure = failure.unwrap_or_else(|| panic!("{bug:?} lives through {SEEDS} seeds"));
    // What is printed has to lead to the same story again.
    let told = failure.to_string();
    assert!(
        told.ends_with(&format!("cargo run -p tutela-sim --release -- --seed {} --bug {bug:?}", failure.seed)),
        "{told}"
    );
    let again = tutela_sim::run::run(failure.seed, Some(bug), None).expect_err("the same bug");
    assert_eq!(again.law, failure.law);
    println!("{bug:?}: seed {}, {}", failure.seed, failure.law);
}

macro_rules! bugs {
    ($($test:ident: $bug:ident,)*) => {
        $(
            #[test]
            fn $test() {
                is_found(Mutation::$bug);
            }
        )*

        #[test]
        fn every_bug_has_its_test() {
            assert_eq!(Mutation::ALL, [$(Mutation::$bug),*]);
        }
    };
}

bugs! {
    a_tree_that_counts_as_empty_too_early_is_found: EarlyTreeEmpty,
    a_stop_that_is_forgotten_is_found: DroppedStop,
    a_program_that_is_started_twice_is_found: DoubleSpawn,
    a_need_that_is_not_waited_for_is_found: SkippedNeed,
    a_deadline_that_nobody_acts_on_is_found: SwallowedDeadline,
    a_wait_before_a_restart_that_is_too_short_is_found: ShortBackoff,
    a_crash_loop_that_is_not_noticed_is_found: EndlessBurst,
    a_stop_without_those_that_need_it_is_found: StopOutOfOrder,
    news_that_are_taken_for_those_of_another_run_are_found: NewsOfTheWrongRun,
    a_hurry_that_is_forgotten_is_found: DroppedHurry,
    the_end_of_a_hook_that_is_forgotten_is_found: LostHookEnd,
    sleep_that_counts_against_a_program_is_found: UncountedSleep,
    a_success_that_is_taken_for_a_failure_is_found: SuccessMisjudged,
    a_ladder_without_patience_is_found: ImpatientLadder,
    a_request_that_nobody_heard_and_nobody_noticed_is_found: UnnoticedSilence,
    a_note_that_is_forgotten_is_found: ForgottenNote,
    a_program_that_is_not_taken_back_is_found: LostHeir,
    a_leftover_that_is_not_ended_is_found: SparedLeftover,
    limits_that_die_with_a_guard_are_found: ForgottenLimits,
    a_death_that_counts_as_a_restart_is_found: CountedDeath,
    a_ladder_that_begins_again_is_found: LadderFromBelow,
    a_rung_that_lasts_longer_is_found: LongerRung,
    a_stop_that_dies_with_a_guard_is_found: ForgottenWish,
    a_spec_that_changed_between_two_guards_is_found: IgnoredStamps,
    a_restart_for_nothing_but_another_guard_is_found: RestartedHeirs,
    an_end_between_two_guards_that_nobody_hears_of_is_found: LostEnd,
    a_stop_that_no_boot_survives_is_found: UnsavedWish,
}
