//! The only part that touches aya: offsets, loading, maps, rings and the task iterator.

pub mod agent_maps;
mod attach;
pub mod btf;
pub mod carry;
pub mod creators;
mod error;
pub mod fields;
pub mod loss;
pub mod object;
pub mod picture;
pub mod placement;
pub mod probe;
pub mod ring;
mod set;
pub mod threads;
mod trial;

pub use error::KernelError;
pub use object::{Kernel, Setup, TRACEPOINTS};
pub use ring::RingReader;
