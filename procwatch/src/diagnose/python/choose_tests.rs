use super::*;
use crate::diagnose::python::testing::{FUTURES, THREADING, started, thread};

const RUN: (&str, &str, u32) = ("Thread.run", THREADING, 975);

/// Writes a program and says where its threads are made; `threads` gets the path.
fn chosen(code: &str, threads: impl Fn(&str) -> Vec<Thread>) -> Vec<Site> {
    let folder = tempfile::tempdir().unwrap();
    let srv = folder.path().join("srv");
    std::fs::create_dir(&srv).unwrap();
    std::fs::write(srv.join("a.py"), code).unwrap();
    let files = Files::below(folder.path().to_str().unwrap().to_owned(), 0, 0);
    let looks = Looks { looks: vec![threads("/srv/a.py")], ..Looks::default() };
    sites(&looks, &Known { files: &files, creators: &[] })
}

fn main_at(file: &str, line: u32) -> Thread {
    thread(1, &[("<module>", file, line)])
}

const TWO: &str = "\
import threading

def poll():
    threading.Thread(target=watch).start()

def spawn(n):
    t = threading.Thread(target=work, args=(n,))
    t.start()

poll()
while True:
    spawn(1)
    time.sleep(1)
";

#[test]
fn a_target_that_many_threads_run_tells_which_thread_is_meant() {
    let sites = chosen(TWO, |file| {
        vec![main_at(file, 13), started(2, &[("work", file, 2), RUN]), started(3, &[("work", file, 2), RUN])]
    });
    assert_eq!((sites[0].line, sites[0].function.as_str(), sites[0].seen), (8, "spawn", 0));
    assert_eq!(sites[0].evidence[0], "2 live threads run its target work");
    assert!(sites[0].evidence[1].contains("line 13, which calls spawn"), "{:?}", sites[0].evidence);
}

#[test]
fn what_was_seen_comes_first() {
    let sites = chosen(TWO, |file| {
        let start = [("Event.wait", THREADING, 629), ("Thread.start", THREADING, 969), ("poll", file, 4)];
        let creating = thread(1, &[&start[..], &[("<module>", file, 10)]].concat());
        vec![creating, started(2, &[("work", file, 2), RUN]), started(3, &[("work", file, 2), RUN])]
    });
    assert_eq!(sites.iter().map(|it| (it.line, it.seen)).collect::<Vec<_>>(), [(4, 1), (8, 0)]);
}

#[test]
fn executors_make_threads_at_submit() {
    let code = "\
def handle(item):
    pool = ThreadPoolExecutor(2)
    return pool.submit(work, item)

while True:
    handle(1)
    time.sleep(1)
";
    let sites = chosen(code, |file| {
        let worker = |tid| started(tid, &[("_worker", FUTURES, 81), RUN]);
        vec![main_at(file, 7), worker(2), worker(3)]
    });
    let made = sites[0].creation.as_ref().unwrap().made;
    assert_eq!((sites[0].line, made, sites[0].function.as_str()), (3, 2, "handle"));
}

#[test]
fn a_decorator_makes_the_threads_of_what_it_decorates() {
    let code = "\
def other():
    threading.Thread(target=unused).start()

def in_thread(fn):
    def wrapper(*args):
        threading.Thread(target=fn, args=args).start()
    return wrapper

@in_thread
def job():
    time.sleep(600)

while True:
    job()
    time.sleep(1)
";
    let sites = chosen(code, |file| {
        let job = |tid| started(tid, &[("job", file, 11), RUN]);
        vec![main_at(file, 15), job(2), job(3)]
    });
    assert_eq!((sites[0].line, sites[0].function.as_str()), (6, "in_thread.<locals>.wrapper"));
}

#[test]
fn a_lambda_is_known_by_its_line() {
    let code = "\
def go():
    Thread(target=lambda: work(1)).start()
    Thread(target=lambda: work(2)).start()
";
    let sites = chosen(code, |file| {
        let lambda = |tid| started(tid, &[("go.<locals>.<lambda>", file, 3), RUN]);
        vec![lambda(2), lambda(3)]
    });
    assert_eq!(sites[0].line, 3);
}

#[test]
fn what_starts_itself_comes_before_what_started_it_once() {
    let code = "\
def relay(hop):
    threading.Thread(target=relay, args=(hop + 1,)).start()
    time.sleep(600)

threading.Thread(target=relay, args=(1,)).start()
sys.stdin.read()
";
    let sites = chosen(code, |file| {
        let relay = |tid| started(tid, &[("relay", file, 3), RUN]);
        vec![main_at(file, 6), relay(2), relay(3)]
    });
    assert_eq!(sites.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn who_gives_work_to_an_executor_comes_before_who_made_it() {
    let code = "\
async def answer(message):
    await asyncio.to_thread(respond, message)

async def main():
    loop.set_default_executor(ThreadPoolExecutor(5000))
    while True:
        asyncio.create_task(answer(1))
        await asyncio.sleep(1)

asyncio.run(main())
";
    let sites = chosen(code, |file| {
        let worker = |tid| started(tid, &[("_worker", FUTURES, 81), RUN]);
        vec![main_at(file, 10), worker(2), worker(3)]
    });
    assert_eq!(sites.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn no_source_no_cause() {
    assert_eq!(chosen("", |_| vec![started(2, &[("work", "/gone.py", 2), RUN])]), []);
}
