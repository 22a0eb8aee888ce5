//! Whatever the source is: no panic, and no patch that does not parse or that touches more than it should.

use proptest::prelude::*;

use super::*;

const HINTS: [&str; 2] = ["psutil-process-iter", "executor-per-call"];

/// Lines that are put together to sources that often have a pattern, or nearly.
const LINES: [&str; 34] = [
    "import psutil",
    "import os",
    "from concurrent.futures import ThreadPoolExecutor",
    "import psutil as ps",
    "def f(x):",
    "async def f(x):",
    "class C:",
    "for p in psutil.process_iter():",
    "for p in psutil.process_iter(['pid', 'name']):",
    "while x:",
    "if p.pid in x:",
    "else:",
    "try:",
    "except Exception:",
    "finally:",
    "with ThreadPoolExecutor(2) as e:",
    "e = ThreadPoolExecutor(2)",
    "e.submit(print, x)",
    "e.map(print, x)",
    "print(p.pid, p.name())",
    "print(p.info['pid'])",
    "continue",
    "pass",
    "return p",
    "# comment",
    "",
    "p = 1",
    "x = '''",
    "'''",
    "print(f'{p.pid}')",
    "@decorated",
    "a = 1; p.name()",
    "if p.pid: continue",
    "lambda: p.pid \\",
];

fn check(source: &[u8], line: u32, function: &str) -> Result<(), TestCaseError> {
    for hint in HINTS {
        let rewrite = rewriting(hint).unwrap();
        if let Ok((after, _)) = rewritten(source, &finding(hint, line, function), rewrite) {
            prop_assert!(Source::new(&after).and_then(Source::parse).is_ok());
            prop_assert_ne!(after.as_slice(), source);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn bytes_are_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..300), line in 0_u32..10) {
        check(&bytes, line, "f")?;
    }

    #[test]
    fn text_is_no_danger(text in "[\\PC\\n\\t]{0,200}", line in 0_u32..10) {
        check(text.as_bytes(), line, "f")?;
    }

    #[test]
    fn lines_are_no_danger(
        lines in proptest::collection::vec((0_usize..4, proptest::sample::select(&LINES[..])), 0..24),
        line in 0_u32..25,
        module in any::<bool>(),
    ) {
        let lines: Vec<_> = lines.iter().map(|(depth, line)| indented(line, *depth)).collect();
        let source = lines.concat();
        check(source.as_bytes(), line, if module { "<module>" } else { "f" })?;
    }
}

#[test]
fn deep_and_long_sources_are_no_danger() {
    let mut deep = String::from("import psutil\ndef f(x):\n for p in psutil.process_iter():\n");
    for depth in 2..400 {
        deep.extend([&*" ".repeat(depth), "if p.pid in x:\n"]);
    }
    deep.extend([&*" ".repeat(400), "p.name()\n"]);
    // Python allows a hundred; where the branches are not followed any more the object is made.
    let rewritten = after(HINTS[0], &deep, 3, "f").unwrap();
    assert_eq!(rewritten.matches("psutil.Process(").count(), 1);
    let brackets =
        format!("import psutil\ndef f(x):\n    x = {}{}\n", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(after(HINTS[0], &brackets, 3, "f"), Err(NoPatch::NotThere));
    let guards = "        if p.pid == 3:\n            continue\n".repeat(5_000);
    let long =
        format!("import psutil\ndef f(x):\n    for p in psutil.process_iter():\n{guards}        p.name()\n");
    assert!(after(HINTS[0], &long, 3, "f").is_ok());
}
