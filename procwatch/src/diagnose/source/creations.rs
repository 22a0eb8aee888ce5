//! Which calls make threads.

use super::{Call, Class, Function, last_part, scopes::innermost};

/// How a thread comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `threading.Thread(…)`, and its start.
    Thread,
    /// An instance of a class of the file that is a `Thread`, and its start.
    Subclass(String),
    /// `threading.Timer(…)`, and its start.
    Timer,
    /// `_thread.start_new_thread(…)`.
    StartNew,
    /// `ThreadPoolExecutor(…)`; its threads are made by `submit` and `map`.
    Executor,
    /// `asyncio.to_thread(…)`.
    ToThread,
    /// `loop.run_in_executor(…)`.
    RunInExecutor,
    /// `multiprocessing.pool.ThreadPool(…)`; it makes its threads at once.
    Pool,
    /// A server that makes a thread for each request.
    Server,
    /// An observer of files, and its start.
    Observer,
}

/// A place that makes threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// How.
    pub kind: Kind,
    /// Line of the call that names the kind, such as `Thread(…)`.
    pub made: u32,
    /// Line of the call that makes the thread run, such as `.start()`; the same as `made` where that is one.
    pub line: u32,
    /// The function that this line is in; `None` at the top level of the file.
    pub function: Option<usize>,
    /// What the thread is told to run, dotted, or `lambda`.
    pub target: Option<String>,
    /// It is in a loop.
    pub in_loop: bool,
}

pub(super) fn creations(calls: &[Call], classes: &[Class], functions: &[Function]) -> Vec<Creation> {
    let threads = subclasses(classes);
    let mut all: Vec<Creation> = Vec::new();
    for call in calls {
        let Some((kind, target)) = kind(call, &threads) else {
            continue;
        };
        // The class calls its own base: that is no creation.
        let runs = run_by(&kind, call, calls, classes, functions);
        let (line, function) = runs.map_or((call.line, call.function), |it| (it.line, it.function));
        let in_loop = call.in_loop || runs.is_some_and(|it| it.in_loop);
        all.push(Creation {
            kind,
            made: call.line,
            line,
            function,
            target: target.map(str::to_owned),
            in_loop,
        });
    }
    for class in
        classes.iter().filter(|class| class.bases.iter().any(|base| last_part(base) == "ThreadingMixIn"))
    {
        let serves = calls.iter().find(|call| call.last() == "serve_forever");
        let line = serves.map_or(class.line, |call| call.line);
        let function = innermost(functions, line);
        all.push(Creation {
            kind: Kind::Server,
            made: class.line,
            line,
            function,
            target: None,
            in_loop: true,
        });
    }
    all.sort_by_key(|creation| creation.line);
    all
}

/// Classes that are threads, by way of each other; each with what it is at last: `Thread` or `Timer`.
fn subclasses(classes: &[Class]) -> Vec<&str> {
    let mut known: Vec<&str> = Vec::new();
    loop {
        let before = known.len();
        for class in classes {
            let is_thread = |base: &String| {
                let base = last_part(base);
                base == "Thread" || base == "Timer" || known.contains(&base)
            };
            if !known.contains(&class.name.as_str()) && class.bases.iter().any(is_thread) {
                known.push(&class.name);
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

/// Which kind a call is of, and what it is told to run.
fn kind<'a>(call: &'a Call, threads: &[&str]) -> Option<(Kind, Option<&'a str>)> {
    let target = |found: Option<&'a str>| found.map(named);
    Some(match call.last() {
        "Thread" => (Kind::Thread, target(call.keyword("target").or_else(|| call.positional(1)))),
        "Timer" => (Kind::Timer, target(call.keyword("function").or_else(|| call.positional(1)))),
        "start_new_thread" | "start_new" => (Kind::StartNew, target(call.positional(0))),
        "ThreadPoolExecutor" => (Kind::Executor, None),
        "to_thread" => (Kind::ToThread, target(call.positional(0))),
        "run_in_executor" => (Kind::RunInExecutor, target(call.positional(1))),
        "ThreadPool" => (Kind::Pool, None),
        "ThreadingHTTPServer" | "ThreadingTCPServer" | "ThreadingUDPServer" => (Kind::Server, None),
        "Observer" | "PollingObserver" | "InotifyObserver" => (Kind::Observer, None),
        name if threads.contains(&name) => (Kind::Subclass(name.to_owned()), None),
        _ => return None,
    })
}

/// The name that an argument is, or begins with: `self.work`, `lambda`.
fn named(argument: &str) -> &str {
    super::scopes::dotted(argument)
}

/// The call that makes what `made` is run: the nearest behind it on the same name, or on anything in its function.
fn run_by<'a>(
    kind: &Kind,
    made: &Call,
    calls: &'a [Call],
    classes: &[Class],
    functions: &[Function],
) -> Option<&'a Call> {
    let runs: &[&str] = match kind {
        Kind::Thread | Kind::Timer | Kind::Subclass(_) | Kind::Observer => &["start"],
        Kind::Executor => &["submit", "map"],
        Kind::Server => &["serve_forever"],
        Kind::StartNew | Kind::ToThread | Kind::RunInExecutor | Kind::Pool => return None,
    };
    let behind =
        |call: &&Call| runs.contains(&call.last()) && (call.line, call.end) >= (made.line, made.line);
    let in_function = |call: &&Call| call.function == made.function;
    // `Thread(…).start()`: the bracket that closes one stands before the name of the other.
    let on_result = |call: &&Call| call.name.starts_with('.') && call.line == made.end;
    let candidates = || calls.iter().filter(|call| runs.contains(&call.last()));
    if let Some(found) = candidates().filter(behind).find(on_result) {
        return Some(found);
    }
    if let Some(bound) = &made.bound {
        let on_name = |call: &&Call| call.receiver() == Some(bound);
        let is_attribute = bound.contains('.');
        let found = candidates().filter(behind).filter(in_function).find(on_name);
        if let Some(found) = found.or_else(|| candidates().filter(|_| is_attribute).find(on_name)) {
            return Some(found);
        }
    }
    // A class that starts itself.
    if let Kind::Subclass(name) = kind {
        let own = |call: &&Call| call.name == "self.start" && class_of(call.line, classes) == Some(name);
        if let Some(found) = candidates().find(own) {
            return Some(found);
        }
    }
    let same_function = candidates().filter(behind).find(in_function);
    same_function.or_else(|| match kind {
        // Its user has it by another name; the only one in the file is meant.
        Kind::Server | Kind::Executor => only(candidates()).filter(|_| functions.len() < 64),
        _ => None,
    })
}

fn class_of(line: u32, classes: &[Class]) -> Option<&String> {
    let holds = |class: &&Class| (class.line..=class.end).contains(&line);
    classes.iter().filter(holds).max_by_key(|class| class.line).map(|class| &class.name)
}

fn only<'a>(mut calls: impl Iterator<Item = &'a Call>) -> Option<&'a Call> {
    let first = calls.next()?;
    calls.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::{super::Module, *};

    fn found(code: &str) -> Vec<(Kind, u32, u32)> {
        Module::scan(code).creations.into_iter().map(|it| (it.kind, it.made, it.line)).collect()
    }

    #[test]
    fn a_thread_is_made_where_it_is_started() {
        assert_eq!(found("t = Thread(target=f)\nt.daemon = True\nt.start()"), [(Kind::Thread, 1, 3)]);
        assert_eq!(found("threading.Thread(target=f).start()"), [(Kind::Thread, 1, 1)]);
        assert_eq!(
            found("ts = [Thread(target=f) for _ in x]\nfor t in ts:\n    t.start()"),
            [(Kind::Thread, 1, 3)]
        );
        let two = "a = Thread(target=f)\nb = Thread(target=g)\nb.start()\na.start()";
        assert_eq!(found(two), [(Kind::Thread, 2, 3), (Kind::Thread, 1, 4)]);
    }

    #[test]
    fn a_subclass_is_one_through_others() {
        let code = "class A(threading.Thread):\n    pass\nclass B(A):\n    pass\ndef f():\n    B().start()\n";
        assert_eq!(found(code), [(Kind::Subclass("B".into()), 6, 6)]);
        let own = "class A(Thread):\n    def __init__(self):\n        self.start()\nA()\n";
        assert_eq!(found(own), [(Kind::Subclass("A".into()), 4, 3)]);
    }

    #[test]
    fn an_executor_makes_threads_at_submit() {
        let code = "\
class C:
    def __init__(self):
        self.pool = ThreadPoolExecutor(4)
    def go(self):
        self.pool.submit(f)
";
        assert_eq!(found(code), [(Kind::Executor, 3, 5)]);
        assert_eq!(found("with ThreadPoolExecutor() as ex:\n    ex.map(f, x)"), [(Kind::Executor, 1, 2)]);
    }

    #[test]
    fn targets_are_named() {
        let target = |code: &str| Module::scan(code).creations[0].target.clone();
        assert_eq!(target("Thread(target=self.work, args=(1,)).start()").as_deref(), Some("self.work"));
        assert_eq!(target("Thread(target=lambda: f()).start()").as_deref(), Some("lambda"));
        assert_eq!(target("Timer(1.0, tick).start()").as_deref(), Some("tick"));
        assert_eq!(target("loop.run_in_executor(None, job)").as_deref(), Some("job"));
        assert_eq!(target("_thread.start_new_thread(run, ())").as_deref(), Some("run"));
    }

    #[test]
    fn servers_are_classes_and_calls() {
        let code = "class S(ThreadingMixIn, TCPServer):\n    pass\ns = S()\ns.serve_forever()\n";
        assert_eq!(found(code), [(Kind::Server, 1, 4)]);
        assert_eq!(found("ThreadingHTTPServer(a, b).serve_forever()"), [(Kind::Server, 1, 1)]);
    }
}
