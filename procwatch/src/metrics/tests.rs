//! What the package says about the figures must be about figures that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    agent,
    counters::Counters,
    processes,
    text::{Exposition, Format},
};
use crate::{samples, status::ProcessRow};

const DASHBOARD: &str = include_str!("../../../packaging/grafana/procwatch.json");
const RULES: &str = include_str!("../../../packaging/prometheus/procwatch.rules.yml");
const RULES_TEST: &str = include_str!("../../../packaging/prometheus/procwatch.rules_test.yml");

/// A page with all that there can be on it.
fn page(format: Format) -> String {
    let mut out = Exposition::new(format);
    let mut counters = Counters::default();
    for record in samples::all() {
        counters.count(&record.body);
    }
    counters.write(&mut out);
    agent::write(&mut out, &samples::status(), &counters);
    out.gauge("procwatch_answering", "1.", 1);
    let row = ProcessRow {
        pid: 1,
        start_ns: 1,
        ppid: 0,
        uid: 0,
        user: None,
        comm: samples::comm("a"),
        cgroup: None,
        threads: 50,
        creations: Some(1),
        rule: "default".to_owned(),
        alert: None,
    };
    processes::write(&mut out, vec![row], 10);
    out.finish()
}

/// Words that look like names of ours, in queries.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("procwatch_") || word.starts_with("process_")).collect()
}

fn samples_of(page: &str) -> BTreeSet<&str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[test]
fn each_family_has_one_head_before_its_samples() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let page = page(format);
        let heads: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(heads.len(), heads.iter().collect::<BTreeSet<_>>().len(), "{heads:?}");
        let mut head = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                head = rest.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(head), "{line} below {head}");
            }
        }
        assert!(
            page.lines()
                .all(|line| line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok())
        );
    }
}

#[test]
fn the_dashboard_asks_for_figures_that_there_are() {
    let page = page(Format::Prometheus);
    let there = samples_of(&page);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            expressions.push(target["expr"].as_str().unwrap());
        }
    }
    assert!(expressions.len() > 25, "{expressions:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    expressions.extend(variables.filter_map(|it| it["definition"].as_str()));
    for expression in expressions {
        let unknown: Vec<_> = names_in(expression).difference(&there).copied().collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{expression}");
    }
}

#[test]
fn rules_and_their_tests_are_about_figures_that_there_are() {
    let page = page(Format::Prometheus);
    let there = samples_of(&page);
    for text in [RULES, RULES_TEST] {
        let lines = text.lines().filter(|line| line.contains("expr:") || line.contains("series:"));
        for line in lines {
            let unknown: Vec<_> = names_in(line).difference(&there).copied().collect();
            assert_eq!(unknown, Vec::<&str>::new(), "{line}");
        }
    }
    let alerts = RULES.matches("- alert: ").count();
    assert!(alerts > 15 && RULES.matches("severity: ").count() >= alerts);
}
