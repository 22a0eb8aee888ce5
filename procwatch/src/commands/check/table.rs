//! The report for people.

use std::io::{self, Write};

use super::{
    Report, Verdict,
    config::{ConfigReport, OutletReport, RuleReport},
};
use crate::feature::{Feature, Need, State};

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let host = &report.host;
    writeln!(out, "procwatch {}, Linux {}, {} CPUs", report.version, host.kernel, host.cpus)?;
    features(out, &report.features)?;
    match &report.config {
        Some(found) => config(out, found)?,
        None => writeln!(out, "configuration: none, built-in defaults hold")?,
    }
    writeln!(out, "{}", conclusion(report))
}

fn features(out: &mut impl Write, features: &[Feature]) -> io::Result<()> {
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let name = widest(&mut features.iter().map(|feature| feature.name.len()).chain([7]));
    let state = widest(&mut features.iter().map(|feature| feature.state.name().len()).chain([5]));
    writeln!(out, "{:name$}  {:state$}  detail", "feature", "state")?;
    for feature in features {
        writeln!(out, "{:name$}  {:state$}  {}", feature.name, feature.state.name(), feature.detail)?;
        if matches!(feature.state, State::No | State::Partly) {
            writeln!(out, "{:name$}  {:state$}  costs: {}", "", "", feature.cost)?;
        }
    }
    Ok(())
}

fn config(out: &mut impl Write, config: &ConfigReport) -> io::Result<()> {
    for problem in &config.problems {
        writeln!(out, "{problem}")?;
    }
    for rule in &config.rules {
        write_rule(out, rule)?;
    }
    for outlet in &config.outlets {
        write_outlet(out, outlet)?;
    }
    match (&config.mode, config.count_bad()) {
        (Some(mode), 0) => {
            let place = counted(config.rules.len(), "place rule");
            let threads = counted(config.threads.len(), "thread rule");
            writeln!(out, "configuration: ok, {place}, {threads}, mode {mode}")
        }
        (_, bad) => writeln!(out, "configuration: {}", counted(bad, "problem")),
    }
}

fn write_rule(out: &mut impl Write, rule: &RuleReport) -> io::Result<()> {
    writeln!(out, "{}: {} belongs in {} ({})", rule.rule, rule.owner, rule.slice, rule.path)?;
    for problem in rule.problem.iter().chain(&rule.notes) {
        writeln!(out, "{}: {problem}", rule.location)?;
    }
    Ok(())
}

fn write_outlet(out: &mut impl Write, outlet: &OutletReport) -> io::Result<()> {
    writeln!(out, "{}: {}", outlet.outlet, outlet.kind)?;
    for note in &outlet.notes {
        writeln!(out, "{}: {note}", outlet.location)?;
    }
    Ok(())
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn conclusion(report: &Report) -> String {
    let names = |wanted: fn(&Feature) -> bool| {
        let names: Vec<&str> =
            report.features.iter().filter(|feature| wanted(feature)).map(|feature| feature.name).collect();
        names.join(", ")
    };
    let obstacles = names(Feature::is_obstacle);
    if !obstacles.is_empty() {
        return format!("procwatch cannot run here: {obstacles}");
    }
    let unknown = names(|feature| feature.need == Need::Required && feature.state == State::Unknown);
    match (report.verdict, unknown.is_empty()) {
        (Verdict::Bad, _) => "procwatch can run here, but not with this configuration".to_owned(),
        (_, false) => format!("whether procwatch can run here is not known: {unknown}"),
        (Verdict::Loss, _) => match names(Feature::is_loss) {
            lost if lost.is_empty() => {
                "procwatch runs here, with less than the configuration wants".to_owned()
            }
            lost => format!("procwatch runs here, with loss of function: {lost}"),
        },
        (Verdict::Good, _) => "procwatch runs here".to_owned(),
    }
}
