//! `thread-per-request`: a server that makes a thread for each request, and requests that do not end.

use super::{MANY, Scene, at};
use crate::diagnose::{python::Role, report::Hint, source::Kind};

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let requests = scene.threads().iter().filter(|thread| thread.role() == Role::Request).count();
    if requests < MANY {
        return None;
    }
    let site = scene.site(|it| *it == Kind::Server)?;
    let evidence =
        vec![format!("{requests} threads of socketserver answer one request each, at the same time")];
    Some(at("thread-per-request", site, &evidence))
}
