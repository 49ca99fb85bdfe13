//! Control sockets: not here yet.
pub(crate) use crate::absent::endpoint::{Listener, Stream, connect, list};
