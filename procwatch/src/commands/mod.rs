//! The subcommands.

pub mod check;
pub mod layout;
pub mod run;
pub mod schema;
pub mod watch;
