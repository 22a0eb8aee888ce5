//! `psutil.process_iter` in a loop.

use std::fs;

use super::*;

const HINT: &str = "psutil-process-iter";

/// A psutil of five processes, one of which is gone by the time its object is made. It tells what it is asked for.
const PSUTIL: &str = r#"
class NoSuchProcess(Exception):
    pass

class AccessDenied(Exception):
    pass

PIDS = [1, 7, 20, 33, 40]
made = []

class Process:
    def __init__(self, pid):
        if pid == 20:
            raise NoSuchProcess(pid)
        made.append(pid)
        self.pid = pid

    def name(self):
        if self.pid == 33:
            raise AccessDenied()
        return "p%d" % self.pid

    def num_threads(self):
        return self.pid * 2

    def as_dict(self, attrs=None, ad_value=None):
        values = {"pid": self.pid, "name": "p%d" % self.pid, "num_threads": self.pid * 2}
        return {name: values[name] if self.pid != 33 or name == 'pid' else ad_value for name in attrs}

def pids():
    return sorted(PIDS)

def process_iter(attrs=None, ad_value=None):
    for pid in pids():
        try:
            process = Process(pid)
            if attrs is not None:
                process.info = process.as_dict(attrs=attrs, ad_value=ad_value)
            yield process
        except NoSuchProcess:
            pass
"#;

fn rewrite(source: &str, function: &str) -> Result<String, NoPatch> {
    after(HINT, source, line_of(source, "process_iter("), function)
}

/// What is left of the processes made, and all that is printed, before and after.
fn compare(before: &str, after: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("psutil.py"), PSUTIL).unwrap();
    let count = "\nprint('made', len(psutil.made))\n";
    let run = |source: &str| {
        let all = printed(&format!("{source}{count}"), folder.path());
        let (printed, made) = all.rsplit_once("made ").unwrap();
        (printed.to_owned(), made.trim().parse::<usize>().unwrap())
    };
    let ((printed_before, made_before), (printed_after, made_after)) = (run(before), run(after));
    assert_eq!(printed_before, printed_after, "{after}");
    assert!(!printed_before.is_empty());
    (made_before, made_after)
}

#[test]
fn a_test_of_the_pid_comes_before_the_object() {
    let before = "\
import psutil

WATCHED = {7, 20, 33}

def scan():
    total = 0
    for proc in psutil.process_iter():
        # Others are not ours.
        if proc.pid not in WATCHED:
            continue
        # Counted twice.
        total += proc.num_threads()
        print(proc.pid, f\"{proc.pid:>5}\")
    return total

print(scan())
";
    let wanted = "\
import psutil

WATCHED = {7, 20, 33}

def scan():
    total = 0
    for pid in psutil.pids():
        # Others are not ours.
        if pid not in WATCHED:
            continue
        try:
            proc = psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue
        # Counted twice.
        total += proc.num_threads()
        print(pid, f\"{pid:>5}\")
    return total

print(scan())
";
    assert_eq!(rewrite(before, "scan").unwrap(), wanted);
    assert_eq!(compare(before, wanted), (4, 2));
    // The frame may be at any line of the loop.
    assert_eq!(after(HINT, before, line_of(before, "num_threads"), "Monitor.scan").unwrap(), wanted);
}

#[test]
fn the_object_is_made_in_the_branch_that_needs_it() {
    let before = "\
import psutil as ps
import os

class Watch:
    def look(self, wanted):
        while True:
            for p in ps.process_iter():
                try:
                    if p.pid == os.getpid():
                        print('me')
                    elif p.pid in wanted and p.pid != 1:
                        print(p.pid)
                        print(p.name())
                    else:
                        print('other', p.pid)
                except ps.AccessDenied:
                    print('denied', p.pid)
            return

Watch().look([7, 33])
";
    let wanted = "\
import psutil as ps
import os

class Watch:
    def look(self, wanted):
        while True:
            for pid in ps.pids():
                try:
                    if pid == os.getpid():
                        print('me')
                    elif pid in wanted and pid != 1:
                        try:
                            p = ps.Process(pid)
                        except ps.NoSuchProcess:
                            continue
                        print(pid)
                        print(p.name())
                    else:
                        print('other', pid)
                except ps.AccessDenied:
                    print('denied', pid)
            return

Watch().look([7, 33])
";
    assert_eq!(rewrite(before, "look").unwrap(), wanted);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("psutil.py"), PSUTIL).unwrap();
    // A process that has gone between the list and its object is in the one and not in the other, as it always may be.
    let lines = printed(wanted, folder.path());
    assert_eq!(printed(before, folder.path()), lines.replace("other 20\n", ""));
}

#[test]
fn attributes_are_asked_as_before_but_of_fewer() {
    let before = "\
import psutil

def scan(limit, pid):
\tfor proc in psutil.process_iter(['pid', 'name'], ad_value='?'):
\t\tif proc.info['pid'] > limit: continue
\t\tprint(pid, proc.info['name'], proc.info)

scan(33, 'x')
";
    let wanted = "\
import psutil

def scan(limit, pid):
\tfor proc_pid in psutil.pids():
\t\tif proc_pid > limit: continue
\t\ttry:
\t\t\tproc = psutil.Process(proc_pid)
\t\t\tproc.info = proc.as_dict(attrs=['pid', 'name'], ad_value='?')
\t\texcept psutil.NoSuchProcess:
\t\t\tcontinue
\t\tprint(pid, proc.info['name'], proc.info)

scan(33, 'x')
";
    assert_eq!(rewrite(before, "scan").unwrap(), wanted);
    assert_eq!(compare(before, wanted), (4, 3));
}

#[test]
fn who_wants_the_pids_alone_gets_no_objects() {
    let before = "import psutil\r\nfor proc in psutil.process_iter(attrs=('pid',)):\r\n    print(1)\r\n    seen = (proc.pid, proc.info[\"pid\"])\r\n";
    let wanted = "import psutil\r\nfor pid in psutil.pids():\r\n    print(1)\r\n    seen = (pid, pid)\r\n";
    assert_eq!(rewrite(before, "<module>").unwrap(), wanted);
}

/// A function around a loop's head and body, each line of the body indented.
fn looped(head: &str, body: &str) -> String {
    let body = indented(body, 2);
    format!("import psutil\ndef f(x, y):\n    {head}\n{body}\n")
}

#[test]
fn what_is_not_known_to_mean_the_same_is_refused() {
    const HEAD: &str = "for p in psutil.process_iter():";
    let guarded = |body: &str| format!("if p.pid in x:\n    {body}");
    for (body, reason) in [
        // Each object is needed.
        ("print(p.name())".to_owned(), NoPatch::NothingSaved),
        ("print(1)\nif p.pid == 7:\n    continue\nprint(p.name())".to_owned(), NoPatch::NothingSaved),
        ("if p.name() == 'x' and p.pid in x:\n    print(1)".to_owned(), NoPatch::NothingSaved),
        ("if y(p.pid):\n    continue\nprint(p.name())".to_owned(), NoPatch::NothingSaved),
        ("if p.pid in x:\n    p.name()\nelse:\n    p.status()".to_owned(), NoPatch::NothingSaved),
        (
            "try:\n    if p.pid in x:\n        p.name()\nfinally:\n    x.pop()".to_owned(),
            NoPatch::NothingSaved,
        ),
        (
            "try:\n    if p.pid in x:\n        p.name()\nexcept OSError:\n    p.status()".to_owned(),
            NoPatch::NothingSaved,
        ),
        // An object that remembers, or that lives on.
        (guarded("print(p.cpu_percent())"), NoPatch::ObjectEscapes),
        (guarded("print(p.exe())"), NoPatch::ObjectEscapes),
        (guarded("y.append(p)"), NoPatch::ObjectEscapes),
        (guarded("y.append(p.name)"), NoPatch::ObjectEscapes),
        (guarded("y.append(lambda: p.name())"), NoPatch::ObjectEscapes),
        (guarded("y = [p.name() for _ in x]"), NoPatch::ObjectEscapes),
        (guarded("p = 3"), NoPatch::ObjectEscapes),
        (guarded("del p.pid"), NoPatch::ObjectEscapes),
        (guarded("p.pid, z = 1, 2"), NoPatch::ObjectEscapes),
        (guarded("print(f'{p.pid=}')"), NoPatch::ObjectEscapes),
        (guarded("print(p.info)"), NoPatch::ObjectEscapes),
        (guarded("return p"), NoPatch::ObjectEscapes),
        // Names by other means.
        (guarded("print(locals(), p.name())"), NoPatch::UnknownForm),
        ("if p.pid in x: print(p.name())".to_owned(), NoPatch::UnknownForm),
        ("pass; p.name()".to_owned(), NoPatch::NothingSaved),
    ] {
        assert_eq!(rewrite(&looped(HEAD, &body), "f"), Err(reason), "{body}");
    }
    for (source, reason) in [
        (looped("for p in psutil.process_iter(x):", "print(p.pid)"), NoPatch::UnknownForm),
        (looped("for p in psutil.process_iter([]):", "print(p.pid)"), NoPatch::UnknownForm),
        (looped("for p in psutil.process_iter(['cpu_percent']):", "print(p.pid)"), NoPatch::UnknownForm),
        (
            looped("for p in psutil.process_iter(attrs=['pid'], ad_value=x):", "print(p.pid)"),
            NoPatch::UnknownForm,
        ),
        (looped("for p, q in psutil.process_iter():", "print(p.pid)"), NoPatch::UnknownForm),
        (
            looped("for p in psutil.process_iter():", "print(p.pid)") + "    print(p)\n",
            NoPatch::ObjectEscapes,
        ),
        (looped("for p in psutil.process_iter():", "print(p.pid)") + "psutil = 3\n", NoPatch::Rebound),
        (
            looped("for p in psutil.process_iter():", "print(p.pid)").replace("import", "import x as"),
            NoPatch::Rebound,
        ),
        (looped("for p in mine.process_iter():", "print(p.pid)"), NoPatch::Rebound),
        (looped("for p in psutil.process_iter():", "print(p.pid)") + "from os import *\n", NoPatch::Rebound),
        (
            looped("async for p in psutil.process_iter():", "print(p.pid)").replace("def f", "async def f"),
            NoPatch::UnknownForm,
        ),
        (
            "from psutil import process_iter\ndef f():\n    for p in process_iter():\n        print(p.pid)\n"
                .to_owned(),
            NoPatch::UnknownForm,
        ),
        (
            "import psutil\nclass f:\n    for p in psutil.process_iter():\n        print(p.pid)\n".to_owned(),
            NoPatch::NotThere,
        ),
    ] {
        assert_eq!(rewrite(&source, "f"), Err(reason), "{source}");
    }
}

#[test]
fn the_frame_must_be_of_this_very_line_and_function() {
    let source = looped("for p in psutil.process_iter():", "print(p.pid)");
    assert!(after(HINT, &source, 3, "f").is_ok());
    assert!(after(HINT, &source, 4, "f").is_ok());
    assert_eq!(after(HINT, &source, 3, "g"), Err(NoPatch::NotThere));
    assert_eq!(after(HINT, &source, 3, "<module>"), Err(NoPatch::NotThere));
    assert_eq!(after(HINT, &source, 2, "f"), Err(NoPatch::NotThere));
    assert_eq!(after(HINT, &source, 900, "f"), Err(NoPatch::NotThere));
    // A mention in a comment or a text is none.
    let text = "import psutil\ndef f():\n    # for p in psutil.process_iter():\n    '''\nfor p in psutil.process_iter(): '''\n";
    assert_eq!(after(HINT, text, 3, "f"), Err(NoPatch::NotThere));
    assert_eq!(after(HINT, text, 5, "f"), Err(NoPatch::NotThere));
}

#[test]
fn another_loop_may_have_the_same_variable() {
    let source = "import psutil\ndef f(x):\n    for p in x:\n        print(p)\n    for p in psutil.process_iter():\n        print(p.pid)\n";
    assert!(
        rewrite(source, "f")
            .unwrap()
            .contains("    for p in x:\n        print(p)\n    for pid in psutil.pids():")
    );
    let nested = "import psutil\ndef f(x):\n    for p in x:\n        for p in psutil.process_iter():\n            print(p.pid)\n        print(p)\n";
    assert_eq!(rewrite(nested, "f"), Err(NoPatch::ObjectEscapes));
}

#[test]
fn a_text_that_looks_like_a_comment_is_not_split() {
    let body =
        "if p.pid in x:\n    continue\ny(\"\"\"\n        # no comment\n        \"\"\")\nprint(p.name())";
    let source = looped("for p in psutil.process_iter():", body);
    let rewritten = rewrite(&source, "f").unwrap();
    assert!(rewritten.contains("continue\n        try:\n            p = psutil.Process(pid)\n        except psutil.NoSuchProcess:\n            continue\n        y("), "{rewritten}");
}
