//! Scenarios of one instance.
