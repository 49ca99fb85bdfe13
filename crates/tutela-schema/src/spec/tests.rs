//! Tests of the reading of specs.
