//! What came out of the live tests, in words.

use std::fmt::Write as _;

/// What a skip may be for in CI: its machines can neither have nor install it.
const ALLOWED_IN_CI: [&str; 3] = ["[needs-vm]", "[needs-lsm]", "[needs-systemd]"];

/// A live test that could not run here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The test.
    name: String,
    /// Why, with a tag such as `[needs-vm]` in front.
    reason: String,
}

impl Skip {
    /// Reads the log that live tests append to, one `name: reason` a line; a test that says it twice counts once.
    pub(crate) fn parse_log(log: &str) -> Vec<Self> {
        let mut skips = Vec::new();
        for line in log.lines().filter(|line| !line.trim().is_empty()) {
            // A test's name is a path with `::` in it: only a colon before a space ends it.
            let (name, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
            let skip = Self { name: name.trim().to_owned(), reason: reason.trim().to_owned() };
            if !skips.contains(&skip) {
                skips.push(skip);
            }
        }
        skips
    }

    /// A whole program of tests that could not run.
    pub(crate) fn program(name: &str, reason: String) -> Self {
        Self { name: name.to_owned(), reason }
    }

    /// Whether CI puts up with it.
    pub(crate) fn is_allowed_in_ci(&self) -> bool {
        ALLOWED_IN_CI.iter().any(|tag| self.reason.starts_with(tag))
    }
}

/// How many tests ended how, over all programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counts {
    /// Adds what the closing line of a test program in `output` says.
    pub(crate) fn add(&mut self, output: &str) {
        for line in output.lines().filter(|line| line.starts_with("test result: ")) {
            self.passed += number_before(line, "passed;");
            self.failed += number_before(line, "failed;");
            self.ignored += number_before(line, "ignored;");
        }
    }

    /// Adds tests that passed.
    pub(crate) fn add_passed(&mut self, number: usize) {
        self.passed += number;
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// The same in few words.
    pub(crate) fn short(&self, skipped: usize) -> String {
        let passed = self.passed.saturating_sub(skipped);
        format!("{passed} passed, {} failed, {skipped} skipped", self.failed)
    }

    /// The summary for a person. To the test harness a skipped test is one that passed; here it is not.
    pub(crate) fn summary(&self, skips: &[Skip]) -> String {
        let passed = self.passed.saturating_sub(skips.len());
        let mut text = format!("\n{passed} live tests passed, {} skipped", skips.len());
        for (number, what) in [(self.failed, "failed"), (self.ignored, "ignored")] {
            if number > 0 {
                let _ = write!(text, ", {number} {what}");
            }
        }
        text.push('\n');
        for skip in skips {
            let _ = writeln!(text, "SKIPPED {}: {}", skip.name, skip.reason);
        }
        text
    }
}

/// The number in front of `word` in `line`, 0 when there is none.
fn number_before(line: &str, word: &str) -> usize {
    let mut words = line.split_whitespace();
    let mut previous = "";
    words
        .find_map(|it| {
            if it == word {
                previous.parse().ok()
            } else {
                previous = it;
                None
            }
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 3 tests\ntest a ... ok\n\
        test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";

    #[test]
    fn counts_are_summed_over_programs() {
        let mut counts = Counts::default();
        counts.add(OUTPUT);
        counts.add(OUTPUT);
        counts.add("no result at all");
        assert_eq!(counts, Counts { passed: 6, failed: 2, ignored: 4 });
    }

    #[test]
    fn skipped_tests_do_not_count_as_passed() {
        let counts = Counts { passed: 3, ..Counts::default() };
        let skips = Skip::parse_log("hold: [needs-lsm] no bpf LSM\n\nhold: [needs-lsm] no bpf LSM\n");
        let summary = "\n2 live tests passed, 1 skipped\nSKIPPED hold: [needs-lsm] no bpf LSM\n";
        assert_eq!(counts.summary(&skips), summary);
        assert_eq!(
            Counts { failed: 1, ignored: 2, ..counts }.summary(&[]),
            "\n3 live tests passed, 0 skipped, 1 failed, 2 ignored\n"
        );
    }

    #[test]
    fn ci_puts_up_with_what_its_machines_cannot_have() {
        for (line, allowed) in [
            ("a::b: [needs-vm] x", true),
            ("a: [needs-lsm] x", true),
            ("a: [needs-systemd] x", true),
            ("a: [needs-root] x", false),
            ("a: [needs-bpf] x", false),
            ("a: not today [needs-vm]", false),
            ("a", false),
        ] {
            assert_eq!(Skip::parse_log(line)[0].is_allowed_in_ci(), allowed, "{line}");
        }
        assert_eq!(Skip::parse_log("a::b: [needs-vm] x")[0].name, "a::b");
    }
}
