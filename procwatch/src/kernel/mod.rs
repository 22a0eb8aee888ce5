//! The only part that touches aya: offsets, loading, maps, rings and the task iterator.

pub mod agent_maps;
mod attach;
pub mod btf;
pub mod carry;
pub mod creators;
pub mod detach;
mod error;
pub mod fields;
mod load;
pub mod loss;
mod maps;
pub mod object;
pub mod picture;
pub mod pins;
pub mod placement;
pub mod probe;
pub mod ring;
mod ring_memory;
mod set;
mod start;
mod status;
pub mod threads;
mod trial;

pub use error::KernelError;
pub use object::{Kernel, Setup, TRACEPOINTS};
pub use ring::RingReader;
