//! What procwatch has to do with the service manager that runs it. Where nobody does, nothing here has any effect.

pub mod journal;
pub mod log;
pub mod notify;
mod watchdog;

pub use watchdog::Watchdog;
