//! Process trees: not here yet.
pub(crate) use crate::absent::container::Tree;
