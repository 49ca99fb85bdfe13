//! The guard's own signals: not here yet.
pub(crate) use crate::absent::signals::{Calm, Signals};
