//! The agent of procwatch: from kernel records to decisions, and from decisions to verified outcomes.

pub mod cgroup;
pub mod config;
pub mod event;
pub mod lock;
pub mod record;
pub mod text;
