//! Moves into a scope of systemd's for each session.
//!
//! The first process of a session is handed to systemd, which makes the scope around it. Further ones are written into
//! the scope's cgroup: it is delegated to us, which is what makes a write of ours legal there, and it has no cgroups
//! below it, so that the kernel accepts it.

use super::{
    Backend, HeldProcess, Home, MoveError, PrepareError, Refusal, SessionName, keeper::Keepers,
    leaves::Leaves,
};
use crate::{
    cgroup::{CgroupPath, Mount, SliceRef},
    inspect,
    systemd::{BusError, Manager, Property, Value},
    users::UserNames,
};

/// The back end that shows each session as a unit.
#[derive(Debug)]
pub struct Scope {
    keepers: Keepers,
    leaves: Leaves,
    users: UserNames,
}

impl Scope {
    /// Works in the hierarchy mounted there, by orders to `manager`.
    pub fn new(mount: &Mount, manager: Manager) -> Self {
        Self {
            keepers: Keepers::new(mount.clone(), manager),
            leaves: Leaves::new(mount),
            users: UserNames::new(),
        }
    }

    /// Has systemd make the scope around its first process, and looks at what became of it.
    fn begin(&mut self, process: &HeldProcess, slice: &str, scope: &CgroupPath) -> Result<(), MoveError> {
        let refused = |what: String| MoveError { path: scope.clone(), why: Refusal::Manager(what) };
        let unit = last_name(scope);
        let user =
            self.users.name(process.uid()).map_or_else(|| process.uid().to_string(), ToString::to_string);
        let description = format!("su session of {user}, begun by process {}", process.pid());
        let started = self.keepers.manager().and_then(|manager| {
            manager.start_transient(unit, &properties(process.pid(), slice, description))
        });
        if let Err(error) = started {
            // The next move asks over a new connection.
            self.keepers.forget_broken(&error);
            process.check_alive(scope)?;
            return Err(refused(error.to_string()));
        }
        // That systemd says yes proves nothing: where the kernel refuses the move it says yes as well.
        let place = inspect::cgroup(process.key());
        if let Err(gone) = process.check_alive(scope) {
            self.end_if_empty(unit, scope);
            return Err(gone);
        }
        match place {
            Some(place) if place == *scope => Ok(()),
            place => {
                self.end_if_empty(unit, scope);
                let place = place.map_or_else(|| "an unknown place".to_owned(), |place| place.to_string());
                Err(refused(format!("systemd made the scope, but the process is in {place}")))
            }
        }
    }

    /// A scope that nobody ever was in would stay for ever: it ends when its last process does.
    fn end_if_empty(&mut self, unit: &str, scope: &CgroupPath) {
        if self.leaves.is_inhabited(scope) {
            return;
        }
        let ended: Result<(), BusError> = self.keepers.manager().and_then(|manager| manager.stop(unit));
        if let Err(error) = ended {
            tracing::warn!("{error}; it stays, empty");
        }
    }
}

impl Backend for Scope {
    fn name(&self) -> &'static str {
        "scope"
    }

    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        let home = self.keepers.keep(slice)?;
        Ok(Home { leaves: home.slice.path.clone(), ..home })
    }

    fn leaf(&self, home: &Home, session: &SessionName) -> CgroupPath {
        home.leaves.child(&session.scope())
    }

    fn place(
        &mut self,
        process: &HeldProcess,
        home: &Home,
        session: &SessionName,
    ) -> Result<CgroupPath, MoveError> {
        let scope = self.leaf(home, session);
        let Some(slice) = self.keepers.kept(&home.slice.path).map(str::to_owned) else {
            return Err(MoveError { path: scope, why: Refusal::Unkept });
        };
        match self.leaves.admit(process, &scope) {
            // There is no such scope, or no more.
            Err(error) if error.is_homeless() => self.begin(process, &slice, &scope)?,
            other => other?,
        }
        Ok(scope)
    }

    fn tidy(&mut self) {
        // Scopes go by themselves when they are empty.
        self.keepers.tidy(&mut self.leaves);
    }

    fn hand_over(&mut self) {
        self.keepers.hand_over(&mut self.leaves);
    }
}

/// What a session's scope is like. Stopping it kills nobody, as for all units of ours.
fn properties(first: u32, slice: &str, description: String) -> Vec<Property<'_>> {
    vec![
        ("Description", Value::from(description)),
        ("PIDs", Value::from(vec![first])),
        ("Slice", Value::from(slice)),
        ("CollectMode", Value::from("inactive-or-failed")),
        ("Delegate", Value::from(true)),
        ("KillMode", Value::from("process")),
        ("SendSIGKILL", Value::from(false)),
        ("TasksMax", Value::from(u64::MAX)),
    ]
}

/// The unit whose cgroup this is.
fn last_name(path: &CgroupPath) -> &str {
    path.relative().file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
