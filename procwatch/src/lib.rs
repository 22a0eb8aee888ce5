//! The agent of procwatch: from kernel records to decisions, and from decisions to verified outcomes.

pub mod clock;
pub mod convert;
pub mod decode;
pub mod event;
pub mod filter;
pub mod record;
#[cfg(test)]
mod samples;
pub mod schema;
pub mod sink;
pub mod text;
pub mod users;
