//! Tutela.
fn main() {}
