//! The only part that touches aya: offsets, loading, maps, rings and the task iterator.

pub mod btf;
pub mod fields;
pub mod loss;
pub mod object;
pub mod picture;
pub mod probe;
pub mod ring;
mod trial;

pub use object::{Kernel, KernelError, Setup};
pub use ring::RingReader;
