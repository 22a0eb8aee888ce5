//! The subcommands.

pub mod check;
pub mod keep;
pub mod layout;
pub mod orphans;
pub mod place;
pub mod replay;
pub mod run;
pub mod schema;
pub mod watch;
