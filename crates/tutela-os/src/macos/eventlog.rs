//! The unified log: not here yet.
pub(crate) use crate::absent::eventlog::{EventLog, output_is_journal, register, unregister};
