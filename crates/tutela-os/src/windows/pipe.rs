//! Output pipes: not here yet.
pub(crate) use crate::absent::pipe::{IdleReadEnd, ReadEnd, idle_output_pipe, output_pipe};
