//! The subcommands.

mod act;
pub mod check;
pub mod contain;
pub mod diagnose;
pub mod keep;
pub mod layout;
pub mod orphans;
pub mod place;
pub mod recover;
pub mod replay;
pub mod run;
pub mod schema;
pub mod stop;
pub mod undo;
pub mod watch;
