//! Which frame of a creation is the program's own.

use crate::diagnose::{report::StackFrame, runtime::file_name};

/// Libraries that make threads for others, by the beginning of their names.
const LIBRARIES: [&str; 15] = [
    "libc.so",
    "libc-2",
    "libc.musl",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "libstdc++.so",
    "libc++.so",
    "libgcc_s.so",
    "libglib-2.0.so",
    "libgthread-2.0.so",
    "libgomp.so",
    "libomp.so",
    "libjvm.so",
    "libjava.so",
];
/// Functions that make threads for others, wherever they are linked to.
const FUNCTIONS: [&str; 24] = [
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__clone_internal",
    "__clone_internal_fallback",
    "create_thread",
    "pthread_create",
    "thrd_create",
    "g_thread_new",
    "g_thread_try_new",
    "syscall",
    "start_thread",
    "_start",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "call_init",
    "GOMP_parallel",
    "runtime.asmcgocall",
    "runtime.asmcgocall.abi0",
    "__restore_rt",
    "mstart",
    "_dl_call_libc_early_init",
];
/// The same by the beginnings of their names.
const PREFIXES: [&str; 22] = [
    "pthread_create@",
    "__pthread_create",
    "thrd_create@",
    "std::thread::",
    "std::thread<",
    "std::jthread::",
    "std::sys::",
    "std::sys_common::",
    "std::panicking::",
    "std::panic::",
    "std::rt::",
    "std::io::",
    "std::__",
    "std::_",
    "std::async",
    "std::make_",
    "std::vector<",
    "std::construct_at",
    "core::",
    "alloc::",
    "__gnu_cxx::",
    "__rust_",
];
/// The same for a trait of Rust's own that is implemented by anything.
const RUST_TRAITS: [&str; 4] = ["<core::", "<alloc::", "<std::", "<&mut core::"];

/// The index of the innermost frame that is the program's own.
pub(super) fn creator(frames: &[StackFrame]) -> Option<usize> {
    frames.iter().position(|frame| !is_runtime(frame))
}

fn is_runtime(frame: &StackFrame) -> bool {
    let module = frame.module.as_ref().map(|module| String::from_utf8_lossy(module.as_bytes()).into_owned());
    let library = module.as_deref().map(file_name).unwrap_or_default();
    if library == "[vdso]" || LIBRARIES.iter().any(|name| library.starts_with(name)) {
        return true;
    }
    let function = String::from_utf8_lossy(frame.function.as_bytes());
    is_runtime_function(&function)
}

fn is_runtime_function(function: &str) -> bool {
    // Templates are shown with the type that they return.
    let name = function.strip_prefix("void ").unwrap_or(function);
    FUNCTIONS.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || RUST_TRAITS.iter().any(|prefix| name.starts_with(prefix))
        || is_go_runtime(name)
}

/// `runtime.newosproc`; but not a function of a package that is called runtime elsewhere.
fn is_go_runtime(name: &str) -> bool {
    let rest = name.strip_prefix("runtime.").or_else(|| name.strip_prefix("runtime/internal/"));
    rest.is_some() || name.starts_with("syscall.") || name.starts_with("internal/runtime/")
}

/// Whether the frame is of the Python interpreter: then its Python frames tell more.
pub(super) fn is_python(frame: &StackFrame) -> bool {
    let module = frame.module.as_ref().map(|module| String::from_utf8_lossy(module.as_bytes()).into_owned());
    let name = module.as_deref().map(file_name).unwrap_or_default();
    name.starts_with("libpython")
        || name.strip_prefix("python").is_some_and(|rest| rest.starts_with(['3', '2']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;

    fn frame(function: &str, module: &str) -> StackFrame {
        StackFrame {
            function: Text::from(function),
            file: None,
            line: None,
            module: Some(Text::from(module)),
            offset: None,
            build_id: None,
        }
    }

    fn creator_of(frames: &[(&str, &str)]) -> Option<usize> {
        creator(&frames.iter().map(|(function, module)| frame(function, module)).collect::<Vec<_>>())
    }

    #[test]
    fn the_c_library_is_passed_over() {
        let libc = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(
            creator_of(&[("clone3", libc), ("", libc), ("spawn_worker", "/a"), ("main", "/a")]),
            Some(2)
        );
        assert_eq!(
            creator_of(&[("clone3", "/a"), ("pthread_create@@GLIBC_2.34", "/a"), ("grow", "/a")]),
            Some(2)
        );
        assert_eq!(creator_of(&[("clone3", libc)]), None);
    }

    #[test]
    fn the_standard_libraries_of_cpp_and_rust_are_passed_over() {
        for name in [
            "std::thread::_M_start_thread(std::unique_ptr<std::thread::_State>, void (*)())",
            "std::thread::thread<void (&)(), void>(void (&)())",
            "void std::_Construct<std::thread, void (&)()>(std::thread*, void (&)())",
            "std::thread::Builder::spawn_unchecked_::<app::main::{closure#0}, ()>",
            "std::sys::thread::unix::Thread::new",
            "core::ops::function::FnOnce::call_once",
            "<alloc::boxed::Box<F> as core::ops::function::FnOnce<A>>::call_once",
            "runtime.newosproc",
        ] {
            assert!(is_runtime_function(name), "{name}");
        }
        for name in ["standard::thread", "app::spawn", "create_thread_pool", "clone_item", "runtime_start"] {
            assert!(!is_runtime_function(name), "{name}");
        }
    }

    #[test]
    fn python_is_known_by_its_file() {
        assert!(is_python(&frame("do_start_new_thread", "/usr/bin/python3.11")));
        assert!(is_python(&frame("", "/usr/lib/libpython3.12.so.1.0 (deleted)")));
        assert!(!is_python(&frame("f", "/opt/pythonic")));
    }
}
