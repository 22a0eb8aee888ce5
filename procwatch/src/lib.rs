//! The agent of procwatch: from kernel records to decisions, and from decisions to verified outcomes.

pub mod decode;
pub mod event;
pub mod kernel;
pub mod record;
pub mod text;
