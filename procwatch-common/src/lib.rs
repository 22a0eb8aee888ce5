//! What the kernel programs and the agent of procwatch agree on.
//!
//! Everything here is `repr(C)`, explicitly padded, made of plain integers and byte arrays, and [`bytemuck::Pod`]:
//! any bit pattern is a value, and no byte is left uninitialised on its way out of the kernel. Meaning is given to
//! the integers by the agent's decoder alone.
#![no_std]

pub mod creators;
pub mod fields;
pub mod growth;
pub mod picture;
pub mod place;
pub mod policy;
pub mod stats;
pub mod wire;
