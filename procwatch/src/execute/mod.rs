//! Actions: each has an effect, and returns what was measured after it.

pub mod cgroupfs;
pub mod place;

pub use place::{Backend, MoveError};
