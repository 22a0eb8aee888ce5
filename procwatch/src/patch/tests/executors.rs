//! `ThreadPoolExecutor` made per call.

use super::*;

const HINT: &str = "executor-per-call";

fn rewrite(source: &str, function: &str) -> Result<String, NoPatch> {
    after(HINT, source, line_of(source, "ThreadPoolExecutor("), function)
}

fn runs_alike(before: &str, after: &str) {
    let folder = tempfile::tempdir().unwrap();
    let printed_before = printed(before, folder.path());
    assert_eq!(printed_before, printed(after, folder.path()), "{after}");
    assert!(!printed_before.is_empty());
}

/// Calls the function, and tells what came of it.
const CALLS: &str = "
print([handle(number).result() for number in range(20)])
";

#[test]
fn a_never_ended_executor_becomes_one_for_all_calls() {
    let before = "\
'''A service.'''
from __future__ import annotations
import sys
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2 + 2


def work(x):
    return x * x


# Answers a request.
def handle(x):
    executor = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix='a    b')
    return executor.submit(work, x)
";
    let wanted = "\
'''A service.'''
from __future__ import annotations
import os
import sys
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2 + 2


def work(x):
    return x * x


_handle_executors = {}


def _handle_executor():
    # One for all calls. By process, because a forked child has none of its parent's threads.
    pid = os.getpid()
    if pid not in _handle_executors:
        _handle_executors.setdefault(pid, ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix='a    b'))
    return _handle_executors[pid]


# Answers a request.
def handle(x):
    executor = _handle_executor()
    return executor.submit(work, x)
";
    assert_eq!(rewrite(before, "handle").unwrap(), wanted);
    runs_alike(&format!("{before}{CALLS}"), &format!("{wanted}{CALLS}"));
    // The frame that makes the thread is where the task is submitted.
    assert_eq!(after(HINT, before, line_of(before, "executor.submit"), "handle").unwrap(), wanted);
    assert_eq!(after(HINT, before, line_of(before, "def handle"), "handle"), Err(NoPatch::NotThere));
}

#[test]
fn leaving_a_with_block_still_waits_for_its_own_tasks() {
    let before = "\
import concurrent.futures
import os
import time

class Server:
  done = []

  def work(self, x):
    time.sleep(0.05)
    self.done.append(x)
    return -x

  def handle(self, xs):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      pool.submit(self.work, 100)
      squares = list(pool.map(self.work, xs))
    return squares, sorted(self.done)

server = Server()
print(server.handle([1, 2, 3]))
print(server.handle([4]))
try:
  server.handle([None])
except TypeError as error:
  print(error, len(server.done))
";
    let rewritten = rewrite(before, "handle").unwrap();
    let shared = "\
_handle_executors = {}


def _handle_executor():
  # One for all calls. By process, because a forked child has none of its parent's threads.
  pid = os.getpid()
  if pid not in _handle_executors:
    _handle_executors.setdefault(pid, concurrent.futures.ThreadPoolExecutor(8))
  return _handle_executors[pid]


class _HandleTasks(concurrent.futures.Executor):
  # The tasks of one with block: leaving it waits for them, and for no others.
  def __init__(self, executor):
    self._executor = executor
    self._futures = []

  def submit(self, fn, /, *args, **kwargs):
    future = self._executor.submit(fn, *args, **kwargs)
    self._futures.append(future)
    return future

  def shutdown(self, wait=True, *, cancel_futures=False):
    concurrent.futures.wait(self._futures)


";
    let wanted = before
        .replace("class Server", &format!("{shared}class Server"))
        .replace("with concurrent.futures.ThreadPoolExecutor(8)", "with _HandleTasks(_handle_executor())");
    assert_eq!(rewritten, wanted);
    runs_alike(before, &rewritten);
}

#[test]
fn threads_do_not_grow_with_the_calls() {
    let source = "\
from concurrent.futures import ThreadPoolExecutor
import threading

gate = threading.Semaphore(0)

def work(x):
    gate.release()

def handle(x):
    pool = ThreadPoolExecutor(max_workers=3)
    return pool, [pool.submit(work, x) for _ in range(3)]

kept = [handle(number) for number in range(20)]
for _ in range(60):
    gate.acquire()
print(threading.active_count() - 1)
";
    // As it is kept by its caller it is none that can be shared, so that is taken away where it is rewritten.
    assert_eq!(rewrite(source, "handle"), Err(NoPatch::ExecutorEscapes));
    let submitting = source.replace("return pool, [", "return [");
    let folder = tempfile::tempdir().unwrap();
    let threads = |source: &str| printed(source, folder.path()).trim().parse::<i32>().unwrap();
    assert!(threads(source) >= 20);
    assert!((1..=3).contains(&threads(&rewrite(&submitting, "handle").unwrap())));
}

#[test]
fn a_forked_child_gets_workers_of_its_own() {
    let source = "\
import os
from concurrent.futures import ThreadPoolExecutor

def handle(x):
    return ThreadPoolExecutor(1).submit(abs, x).result()

print(handle(-1), flush=True)
child = os.fork()
if child == 0:
    print(handle(-2), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
";
    let rewritten = rewrite(source, "handle").unwrap();
    assert!(rewritten.contains("return _handle_executor().submit(abs, x).result()"), "{rewritten}");
    runs_alike(source, &rewritten);
}

#[test]
fn an_event_loop_may_use_it() {
    let source = "\
import asyncio
import os
import time
from concurrent import futures

async def __handle__(loop, x):
\tawait loop.run_in_executor(futures.ThreadPoolExecutor(), time.sleep, x)
\treturn x

async def main():
\tprint(await __handle__(asyncio.get_running_loop(), 0))

asyncio.run(main())
";
    let rewritten = rewrite(source, "__handle__").unwrap();
    assert!(
        rewritten.contains("\tawait loop.run_in_executor(_handle_executor(), time.sleep, x)\n"),
        "{rewritten}"
    );
    assert!(
        rewritten.contains("\t\t_handle_executors.setdefault(pid, futures.ThreadPoolExecutor())\n"),
        "{rewritten}"
    );
    runs_alike(source, &rewritten);
}

#[test]
fn an_import_that_comes_too_late_is_made_before() {
    let source = "\
from concurrent.futures import ThreadPoolExecutor

def handle(x):
    return ThreadPoolExecutor(1).submit(abs, x).result()

print(handle(-1))
import os
print(os.path.basename('/a/b'))
";
    let rewritten = rewrite(source, "handle").unwrap();
    assert!(rewritten.starts_with("import os\nfrom concurrent.futures"), "{rewritten}");
    runs_alike(source, &rewritten);
    let other = source.replace("import os\n", "os = 3\n").replace("os.path.basename('/a/b')", "os");
    assert_eq!(rewrite(&other, "handle"), Err(NoPatch::Rebound));
}

#[test]
fn line_ends_and_taken_names_are_respected() {
    let source = "from concurrent.futures import ThreadPoolExecutor\r\n\r\n_f_executor = 1\r\ndef f(x):\r\n    ThreadPoolExecutor().submit(print, x)\r\n";
    let rewritten = rewrite(source, "f").unwrap();
    assert!(rewritten.contains("import os\r\nfrom concurrent"), "{rewritten:?}");
    assert!(rewritten.contains("    _f_executor2().submit(print, x)\r\n"), "{rewritten:?}");
    assert_eq!(rewritten.matches('\n').count(), rewritten.matches("\r\n").count());
}

/// A function with this body, and what is needed around it.
fn function(body: &str) -> String {
    let body = indented(body, 1);
    format!(
        "import threading, queue, time, requests\nfrom concurrent.futures import ThreadPoolExecutor\nN = 3\nM = 3\nM = 4\n\
         def work(x):\n    return x\n\
         def nested(x):\n    return other(x)\n\
         def other(x):\n    return f(x, x)\n\
         def forever(q):\n    while True:\n        time.sleep(1)\n\
         def waiting(q):\n    return q.get()\n\
         def f(x, y):\n{body}"
    )
}

#[test]
fn what_is_not_known_to_mean_the_same_is_refused() {
    for (body, reason) in [
        ("e = ThreadPoolExecutor(x)\ne.submit(work, x)", NoPatch::NotConstant),
        ("e = ThreadPoolExecutor(max_workers=len(x))\ne.submit(work, x)", NoPatch::NotConstant),
        ("e = ThreadPoolExecutor(M)\ne.submit(work, x)", NoPatch::NotConstant),
        ("e = ThreadPoolExecutor(2, initializer=work)\ne.submit(work, x)", NoPatch::NotConstant),
        ("e = ThreadPoolExecutor(2, f'{x}')\ne.submit(work, x)", NoPatch::NotConstant),
        ("e = ThreadPoolExecutor(2)\ne.submit(work, x)\ne.shutdown()", NoPatch::ExecutorEscapes),
        ("e = ThreadPoolExecutor(2)\ne.submit(work, x)\nreturn e", NoPatch::ExecutorEscapes),
        ("e = ThreadPoolExecutor(2)\ny(e)\ne.submit(work, x)", NoPatch::ExecutorEscapes),
        ("e = ThreadPoolExecutor(2)\ne = e.submit(work, x)", NoPatch::ExecutorEscapes),
        ("global e\ne = ThreadPoolExecutor(2)\ne.submit(work, x)", NoPatch::ExecutorEscapes),
        ("x.e = ThreadPoolExecutor(2)\nx.e.submit(work, x)", NoPatch::ExecutorEscapes),
        ("return ThreadPoolExecutor(2)", NoPatch::ExecutorEscapes),
        ("e = ThreadPoolExecutor(2)", NoPatch::UnknownForm),
        (
            "with ThreadPoolExecutor(2) as e:\n    e.submit(work, x)\ne.submit(work, x)",
            NoPatch::ExecutorEscapes,
        ),
        ("with ThreadPoolExecutor(2):\n    pass", NoPatch::ExecutorEscapes),
        ("with ThreadPoolExecutor(2) as e:\n    e.submit(work, x).add_done_callback(y)", NoPatch::TaskWaits),
        ("ThreadPoolExecutor(2).submit(x)", NoPatch::TaskUnknown),
        ("ThreadPoolExecutor(2).submit(y.run)", NoPatch::TaskUnknown),
        ("ThreadPoolExecutor(2).submit(*x)", NoPatch::TaskUnknown),
        ("ThreadPoolExecutor(2).submit(f, x)", NoPatch::TaskReenters),
        ("ThreadPoolExecutor(2).submit(nested, x)", NoPatch::TaskReenters),
        ("ThreadPoolExecutor(2).submit(time.sleep, nested)", NoPatch::TaskReenters),
        ("ThreadPoolExecutor(2).submit(lambda: nested(x))", NoPatch::TaskReenters),
        ("ThreadPoolExecutor(2).submit(forever, x)", NoPatch::TaskWaits),
        ("ThreadPoolExecutor(2).submit(waiting, x)", NoPatch::TaskWaits),
        ("ThreadPoolExecutor(2).submit(lambda: x.wait())", NoPatch::TaskWaits),
        ("ThreadPoolExecutor(2).submit(work, threading.current_thread())", NoPatch::ThreadsMatter),
        ("ThreadPoolExecutor(2).submit(work, 1); ThreadPoolExecutor(2).submit(work, 2)", NoPatch::Ambiguous),
        ("os = 1\nThreadPoolExecutor(2).submit(work, os)", NoPatch::Rebound),
        ("ThreadPoolExecutor = x\nThreadPoolExecutor(2).submit(work, 1)", NoPatch::Rebound),
    ] {
        assert_eq!(rewrite(&function(body), "f").unwrap_err(), reason, "{body}");
    }
    assert!(rewrite(&function("ThreadPoolExecutor(N).submit(work, requests.get(x))"), "f").is_ok());
    let at_top = function("pass") + "ThreadPoolExecutor(N).submit(work, 1)\n";
    assert_eq!(rewrite(&at_top, "<module>"), Err(NoPatch::NotPerCall));
    let local = "def f(x):\n    from concurrent.futures import ThreadPoolExecutor\n    ThreadPoolExecutor().submit(print, x)\n";
    assert_eq!(rewrite(local, "f"), Err(NoPatch::Rebound));
}

#[test]
fn other_hints_have_no_patch() {
    for hint in ["timer-chain", "inotify-watches", "thread-per-request", "asyncio-to-thread", ""] {
        assert_eq!(after(hint, "x = 1\n", 1, "f"), Err(NoPatch::NoTransformation));
    }
}
