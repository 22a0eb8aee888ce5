//! `psutil-process-iter`: `psutil.process_iter()` in a hot loop. It reads all of /proc at each round, and code around it
//! that starts a thread for each process is a common explosion.

use super::Scene;
use crate::{
    diagnose::{
        python::{Frame, Origin, Thread},
        report::Hint,
    },
    text::Text,
};

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let inside: Vec<&Frame> =
        scene.looks.iter().filter_map(|threads| threads.iter().find_map(caller)).collect();
    // Once may be chance; in each second look it is what the process does.
    if inside.len() < 2 || inside.len() * 2 < scene.looks.len() {
        return None;
    }
    let caller = inside.last()?;
    Some(Hint {
        name: "psutil-process-iter".to_owned(),
        file: Some(Text::from(caller.file.as_str())),
        line: Some(caller.line),
        function: Some(Text::from(caller.function.as_str())),
        evidence: vec![format!(
            "a thread was inside psutil.process_iter in {} looks of {}",
            inside.len(),
            scene.looks.len()
        )],
    })
}

/// The application's frame that iterates.
fn caller(thread: &Thread) -> Option<&Frame> {
    let inside = thread.frames.iter().rposition(|frame| frame.is("process_iter", "psutil/__init__.py"))?;
    thread.frames[inside..].iter().find(|frame| frame.origin == Origin::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::python::testing::thread;

    fn hint(looks: &[Vec<Thread>]) -> Option<Hint> {
        find(&Scene { pid: 1, looks, sites: &[] })
    }

    #[test]
    fn a_hot_loop_is_seen_again_and_again() {
        const PSUTIL: &str = "/usr/lib/python3/dist-packages/psutil/__init__.py";
        let hot =
            || vec![thread(1, &[("add", PSUTIL, 9), ("process_iter", PSUTIL, 1400), ("scan", "/a.py", 5)])];
        let idle = || vec![thread(1, &[("scan", "/a.py", 6)])];
        assert_eq!(hint(&[hot(), idle(), idle()]), None);
        let found = hint(&[hot(), hot(), idle()]).unwrap();
        assert_eq!((found.line, found.file), (Some(5), Some(Text::from("/a.py"))));
        assert_eq!(found.evidence, ["a thread was inside psutil.process_iter in 2 looks of 3"]);
    }
}
