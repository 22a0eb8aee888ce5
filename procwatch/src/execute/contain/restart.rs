//! Restarts the service that a process is the main process of.

use std::{thread, time::Duration};

use super::{freeze::shown, hands::Hands, target::Target, work::Measured};
use crate::{
    record::{ActResult, RefusedFor},
    systemd::BusError,
};

/// How long the new process is given before its threads are counted.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The service of which a process is the main process.
///
/// # Errors
/// What the action came to when there is none.
pub(super) fn service_of(hands: &Hands<'_>, target: &Target) -> Result<String, Measured> {
    let unavailable = |why: String| Measured::new(ActResult::Unavailable, why);
    let told = |error: BusError| unavailable(error.to_string());
    let manager = hands.manager().map_err(unavailable)?;
    let unit = manager.unit_by_pid(target.pid()).map_err(told)?;
    let refused = |what: String| Measured::refused(RefusedFor::NotMainProcess, what);
    let Some(unit) = unit else {
        return Err(refused("it belongs to no unit".to_owned()));
    };
    if unit.strip_suffix(".service").is_none() {
        return Err(refused(format!("it belongs to {}, which is no service", named(&unit))));
    }
    let main: u32 = manager.type_property(&unit, "MainPID").map_err(told)?;
    if main != target.pid() {
        return Err(refused(format!("the main process of {} is {main}", named(&unit))));
    }
    Ok(unit)
}

/// Restarts the service, waits until its new main process has settled, and counts its threads.
pub(super) fn restart(hands: &Hands<'_>, target: &Target, unit: &str) -> (Measured, Option<u32>) {
    let failed = |why: String| (Measured::new(ActResult::Failed, why), None);
    let manager = match hands.manager() {
        Ok(manager) => manager,
        Err(why) => return failed(why),
    };
    if let Err(error) = manager.restart(unit) {
        return failed(error.to_string());
    }
    let main = || manager.type_property::<u32>(unit, "MainPID").ok().filter(|pid| *pid != 0);
    let Some(first) = main() else {
        return unsettled(format!("{} was restarted, and has no main process", named(unit)));
    };
    thread::sleep(SETTLED_AFTER);
    let new = Target::of_pid(first).filter(|_| main() == Some(first));
    match new {
        Some(new) if new.key() != target.key() => {
            let threads = new.threads();
            let detail = format!(
                "{}: new main pid {first}, {threads} threads after {}",
                named(unit),
                shown(SETTLED_AFTER)
            );
            (Measured::new(ActResult::Verified, detail), Some(threads))
        }
        Some(_) => failed(format!("{}: its main process is still the old one", named(unit))),
        None => unsettled(format!("{}: its new main process {first} ended at once", named(unit))),
    }
}

fn unsettled(why: String) -> (Measured, Option<u32>) {
    (Measured::new(ActResult::Unverified, why), None)
}

fn named(unit: &str) -> std::borrow::Cow<'_, str> {
    crate::text::escape(unit.as_bytes())
}
