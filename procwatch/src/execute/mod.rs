//! Actions: each has an effect, and returns what was measured after it.

pub mod backend;
pub mod cgroupfs;
pub mod held;
pub mod session;

pub use backend::{Backend, Home, MoveError, PrepareError, Refusal};
pub use held::HeldProcess;
pub use session::SessionName;
