//! The subcommands.

pub mod check;
pub mod orphans;
pub mod run;
pub mod schema;
pub mod watch;
