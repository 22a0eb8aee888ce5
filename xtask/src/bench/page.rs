//! The page of all figures that stands in the project.

use super::report::{Report, Section};

/// How the tables are to be read.
const READING: &str = "\
All comparisons are paired and interleaved: in each round everyone takes a turn within the same minutes, and each round \
begins with another one. min–max is the noise, n the number of rounds; where nobody watches twice, the difference of the \
two is what the clock alone makes up. Wall-clock times drift on shared machines, so next to them stands the kernel's own \
account of the programs (`kernel.bpf_stats_enabled`). A figure that could not be taken says why. The commands above a \
table are what ran; `procwatch-demo` is `cargo xtask` itself under that name, as a load.\n";

/// What stands in place of the figures that virtual machines take.
const NO_PLACEMENT: &str =
    "\n## Placement\n\nNot measured yet: `cargo xtask bench place` takes it in virtual machines.\n";

/// The page: targets first, then all parts, then what the page of `bench place` says.
pub(super) fn of(report: &Report, placement: Option<&str>) -> String {
    let (command, machine, targets) = (&report.command, &report.machine, report.targets());
    let mut text =
        format!("# Figures\n\nMade by `{command}` on {machine}.\n\n{READING}\n## Targets\n\n{targets}");
    text.extend(report.sections.iter().map(Section::markdown));
    text += &placement.map_or_else(|| NO_PLACEMENT.to_owned(), demoted);
    text
}

/// A page as a chapter of another one: its headings are one level lower.
fn demoted(page: &str) -> String {
    let mut text = String::from("\n");
    for line in page.lines() {
        if line.starts_with('#') {
            text.push('#');
        }
        text += line;
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::report::Figure, *};

    #[test]
    fn the_page_has_targets_parts_and_placement() {
        let section = Section {
            title: "Idle",
            commands: vec!["procwatch run".to_owned()],
            figures: vec![Figure::one("memory", "MB", 9.0).at_most(12.0)],
        };
        let report = Report {
            machine: "Linux 6.18".to_owned(),
            command: "cargo xtask bench".to_owned(),
            sections: vec![section],
        };
        let page = of(&report, Some("# Placement\n\n## Sessions\nx\n"));
        let places = [
            "# Figures\n",
            "## Targets\n",
            "| memory: 9.00 MB |",
            "\n## Idle\n",
            "\n## Placement\n",
            "\n### Sessions\nx\n",
        ];
        let found: Vec<_> = places.iter().map(|place| page.find(place)).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}\n{page}");
        assert!(of(&report, None).ends_with(NO_PLACEMENT));
    }
}
