//! Actions: each has an effect, and returns what was measured after it.

pub mod affinity;
pub mod backend;
pub mod cgroupfs;
pub mod choose;
pub mod contain;
pub mod held;
mod keeper;
mod leaves;
pub mod scope;
pub mod session;
pub mod systemd;

pub use backend::{Backend, Home, MoveError, PrepareError, Refusal};
pub use choose::backend_for;
pub use held::HeldProcess;
pub use keeper::is_unit_of_ours;
pub use session::SessionName;
