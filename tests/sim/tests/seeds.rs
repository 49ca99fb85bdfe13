//! A few hundred seeds with every `cargo test`; the command line runs ten thousand.

use tutela_sim::campaign::campaign;

#[test]
fn two_hundred_seeds_keep_every_law() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcome = campaign(0..200, None, threads);
    assert!(outcome.failure.is_none(), "{}", outcome.failure.map(|failure| failure.to_string()).unwrap_or_default());
    assert_eq!(outcome.runs, 200);
}
