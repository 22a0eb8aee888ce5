//! `timer-chain`: `threading.Timer`s that are made faster than they end; each is a thread.

use super::{MANY, Scene, at};
use crate::diagnose::{
    python::Role,
    report::Hint,
    source::{Kind, last_part},
};

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let timers = scene.threads().iter().filter(|thread| thread.role() == Role::Timer).count();
    if timers < MANY {
        return None;
    }
    let site = scene.site(|it| *it == Kind::Timer)?;
    let mut evidence = vec![format!("{timers} timers live, each a thread")];
    let target = site.creation.as_ref().and_then(|it| it.target.as_deref()).map(last_part);
    if target == Some(last_part(&site.function)) {
        evidence.push(format!("{} sets a timer for itself", site.function));
    }
    Some(at("timer-chain", site, &evidence))
}
