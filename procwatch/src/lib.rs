//! The agent of procwatch: from kernel records to decisions, and from decisions to verified outcomes.

pub mod agent;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod convert;
pub mod cpus;
pub mod creators;
pub mod decode;
pub mod detect;
pub mod diagnose;
pub mod duration;
pub mod event;
pub mod execute;
pub mod explain;
pub mod feature;
pub mod filter;
pub mod host;
pub mod inspect;
pub mod kernel;
pub mod layout;
pub mod lock;
pub mod orphans;
pub mod patch;
pub mod record;
pub mod replay;
pub mod rulebook;
#[cfg(test)]
mod samples;
pub mod schema;
pub mod sink;
pub mod systemd;
pub mod table;
pub mod text;
pub mod users;
