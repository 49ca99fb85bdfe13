//! Tutela.
