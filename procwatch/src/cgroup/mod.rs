//! The cgroup2 hierarchy as it is: where it is mounted, what its cgroups are called, which id each has.

pub mod favor;
pub mod ids;
pub mod mount;
pub mod path;
pub mod resolve;

pub use favor::FavorError;
pub use ids::CgroupNames;
pub use mount::{Mount, MountError};
pub use path::{CgroupPath, PathError, SliceRef};
pub use resolve::{ResolveError, ResolvedCgroup, resolve};
