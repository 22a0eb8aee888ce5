//! The subcommands.

pub mod run;
pub mod schema;
pub mod watch;
