//! Work that can wait: threads that take what the others leave.
//!
//! Called once, by a thread about itself. It cannot be taken back.

use crate::platform;

/// Gives the calling thread the lowest priority for processors and, where the OS knows such, for disks. What the OS
/// refuses it does without: the work is the same, only ruder.
pub fn become_background() {
    platform::background::become_background();
}
