//! Figures: not here yet, except the name of the computer.

pub(crate) use crate::absent::usage::{disk, host, own};

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
