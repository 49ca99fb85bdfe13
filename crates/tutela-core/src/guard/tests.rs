//! Scenarios of a whole guard.
