//! What Linux and macOS have in common to the letter. Their own rooms name it; nobody else does.

pub(crate) mod files;
pub(crate) mod paths;
pub(crate) mod secret;
mod spot;
pub(crate) mod terminal;
mod trust;
mod way;
