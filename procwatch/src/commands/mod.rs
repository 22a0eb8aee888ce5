//! The subcommands.

mod act;
pub mod check;
pub mod contain;
pub mod diagnose;
pub mod events;
pub mod history;
pub mod install;
pub mod keep;
pub mod layout;
pub mod orphans;
pub mod outlet;
pub mod place;
pub mod recover;
pub mod replay;
pub mod report;
pub mod run;
pub mod schema;
pub mod show;
pub mod stage;
pub mod status;
pub mod stop;
pub mod top;
pub mod undo;
pub mod uninstall;
pub mod watch;
