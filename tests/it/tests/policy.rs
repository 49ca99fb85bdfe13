//! Programs that end, and what the policy makes of it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tutela_it::Guard;

#[test]
fn a_program_that_exits_zero_under_never_is_done() {
    let guard = Guard::start(
        "[services.a]\ncommand = [\"understudy\", \"await=go\", \"exit=0\"]\nrestart.when = \"never\"\n[services.b]\ncommand = [\"understudy\", \"hang\"]",
    );
    guard.wait_state("a", "running");
    guard.write("go", "");
    guard.wait_state("a", "done");
}
