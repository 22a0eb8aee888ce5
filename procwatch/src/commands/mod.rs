//! The subcommands.

mod act;
pub mod check;
pub mod contain;
pub mod diagnose;
pub mod history;
pub mod keep;
pub mod layout;
pub mod orphans;
pub mod place;
pub mod recover;
pub mod replay;
pub mod report;
pub mod run;
pub mod schema;
pub mod undo;
pub mod watch;
