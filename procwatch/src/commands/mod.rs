//! The subcommands.

pub mod check;
pub mod place;
pub mod run;
pub mod schema;
pub mod watch;
