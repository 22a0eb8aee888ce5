//! The service manager's D-Bus. Nothing else of the agent talks to it.
//!
//! All calls are plain ones that return when the work is done, and each has an end: a systemd that hangs does not hang
//! the agent for ever.

mod bus;
mod error;
mod job;
mod manager;
mod names;

pub use bus::Waits;
pub use error::BusError;
pub use manager::{Manager, Property};
pub use zbus::zvariant::{OwnedValue, Value};

/// Whether the service manager stops this process only to start its unit again. False when it cannot be asked.
/// To be called where waiting is allowed.
pub fn restarts_us() -> bool {
    let asked = Manager::connect(Waits::Here).and_then(|manager| {
        let unit = manager.unit_by_pid(std::process::id())?;
        unit.map_or(Ok(false), |unit| manager.is_restarting(&unit))
    });
    asked.unwrap_or(false)
}
