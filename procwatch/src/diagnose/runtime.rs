//! What a process runs on, by the files that it has mapped.

use super::{maps::Mapping, report::Runtime};

/// What the mappings tell; `is_go` is asked about the program itself.
pub(super) fn runtime(mappings: &[Mapping], exe: &str, is_go: impl FnOnce() -> bool) -> Runtime {
    let has = |is: fn(&str) -> bool| mappings.iter().any(|mapping| is(file_name(&mapping.path)));
    if has(|name| name == "libjvm.so") {
        Runtime::Jvm
    } else if has(|name| name.starts_with("libpython")) || is_python(file_name(exe)) {
        Runtime::Python
    } else if matches!(file_name(exe), "node" | "nodejs") || has(|name| name.starts_with("libnode.so")) {
        Runtime::Node
    } else if is_go() {
        Runtime::Go
    } else {
        Runtime::Native
    }
}

/// What a runtime means for the answer.
pub(super) const fn note(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Native | Runtime::Python => None,
        Runtime::Go => Some(
            "Go: its threads are made by the scheduler, for goroutines that block in system calls or C code; goroutines \
             themselves are no threads. The frames are of the goroutine that ran when one more thread was needed",
        ),
        Runtime::Jvm => Some(
            "JVM: the Java frames are not told here; thread names are, and `jcmd PID Thread.print` shows who made them",
        ),
        Runtime::Node => Some("Node.js: JavaScript frames are only told with `--perf-basic-prof`"),
    }
}

/// The last part of a path, without the kernel's mark of deleted files.
pub(super) fn file_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || ".dmtu-".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_known_by_their_files() {
        let maps = |path: &str| {
            vec![Mapping { start: 0, end: 1, offset: 0, is_executable: true, path: path.to_owned() }]
        };
        let of = |path: &str, exe: &str| runtime(&maps(path), exe, || false);
        assert_eq!(of("/usr/lib/jvm/lib/server/libjvm.so", "/usr/bin/java"), Runtime::Jvm);
        assert_eq!(of("/usr/lib/libpython3.11.so.1.0", "/opt/app"), Runtime::Python);
        assert_eq!(of("", "/usr/bin/python3.11"), Runtime::Python);
        assert_eq!(of("", "/usr/bin/python-config-editor"), Runtime::Native);
        assert_eq!(of("", "/usr/bin/node"), Runtime::Node);
        assert_eq!(runtime(&[], "/opt/app", || true), Runtime::Go);
        assert_eq!(of("/lib/libc.so.6", "/opt/app"), Runtime::Native);
    }
}
