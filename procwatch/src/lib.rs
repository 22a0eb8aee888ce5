//! The agent of procwatch: from kernel records to decisions, and from decisions to verified outcomes.

pub mod clock;
pub mod decode;
pub mod event;
pub mod record;
pub mod text;
pub mod users;
