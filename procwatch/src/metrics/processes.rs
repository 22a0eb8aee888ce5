//! The processes with the most threads, one by one. How many there are is bounded, so that time series are.

use procwatch_common::policy::FLOOR_THREADS;

use super::text::{Exposition, Type};
use crate::{record::Severity, status::ProcessRow};

/// Writes at most `most` of those above the floor, those with the most threads, and how many there are in all.
pub(super) fn write(out: &mut Exposition, mut rows: Vec<ProcessRow>, most: u32) {
    let mut alerting =
        out.family("procwatch_alerting_processes", Type::Gauge, "Processes with an alert, by the gravest.");
    for severity in Severity::ALL.map(Severity::name) {
        let count = rows.iter().filter(|row| row.alert.as_deref() == Some(severity)).count();
        alerting.sample(&[("severity", severity)], count);
    }
    rows.retain(|row| row.threads > FLOOR_THREADS);
    out.gauge(
        "procwatch_processes_above_floor",
        "Processes with more threads than those that are not followed; not all need be shown one by one.",
        rows.len(),
    );
    // The older one of equals stays, so that those at the edge do not come and go.
    rows.sort_by_key(|row| (std::cmp::Reverse(row.threads), row.start_ns));
    rows.truncate(most as usize);
    let rows: Vec<_> = rows.iter().map(Shown::new).collect();
    let mut threads = out.family(
        "procwatch_process_threads",
        Type::Gauge,
        "Live threads of the processes that have the most.",
    );
    for row in &rows {
        threads.sample(&row.labels(), row.row.threads);
    }
    let mut creations = out.family(
        "procwatch_process_thread_creations_total",
        Type::Counter,
        "Threads that they created since they were seen above the floor.",
    );
    for row in &rows {
        if let Some(count) = row.row.creations {
            creations.sample(&row.labels(), count);
        }
    }
}

/// A process with its labels in words.
struct Shown<'r> {
    row: &'r ProcessRow,
    pid: String,
    comm: String,
    user: String,
}

impl<'r> Shown<'r> {
    fn new(row: &'r ProcessRow) -> Self {
        let user = row.user.clone().unwrap_or_else(|| row.uid.to_string());
        Self { row, pid: row.pid.to_string(), comm: row.comm.to_string(), user }
    }

    fn labels(&self) -> [(&'static str, &str); 3] {
        [("pid", &self.pid), ("comm", &self.comm), ("user", &self.user)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::text::Format, text::Comm};

    fn row(pid: u32, threads: u32) -> ProcessRow {
        ProcessRow {
            pid,
            start_ns: u64::from(pid),
            ppid: 1,
            uid: 1003,
            user: None,
            comm: Comm::of_name(b"a\"b\\\n"),
            cgroup: None,
            threads,
            creations: (threads > 40).then_some(7),
            rule: "default".to_owned(),
            alert: (threads > 60).then(|| "warning".to_owned()),
        }
    }

    #[test]
    fn the_largest_are_shown_and_all_are_counted() {
        let mut out = Exposition::new(Format::Prometheus);
        let named = ProcessRow { user: Some("aimgr".to_owned()), ..row(3, 70) };
        write(&mut out, vec![row(1, 32), row(5, 50), row(2, 33), named, row(4, 50)], 2);
        let text = out.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        // The name is escaped twice: once as everywhere, once for the format.
        let labels = r#"comm="a\"b\\\\\\n""#;
        assert_eq!(
            samples,
            [
                "procwatch_alerting_processes{severity=\"notice\"} 0",
                "procwatch_alerting_processes{severity=\"warning\"} 1",
                "procwatch_alerting_processes{severity=\"critical\"} 0",
                "procwatch_alerting_processes{severity=\"emergency\"} 0",
                "procwatch_processes_above_floor 4",
                &format!("procwatch_process_threads{{pid=\"3\",{labels},user=\"aimgr\"}} 70"),
                &format!("procwatch_process_threads{{pid=\"4\",{labels},user=\"1003\"}} 50"),
                &format!("procwatch_process_thread_creations_total{{pid=\"3\",{labels},user=\"aimgr\"}} 7"),
                &format!("procwatch_process_thread_creations_total{{pid=\"4\",{labels},user=\"1003\"}} 7"),
            ]
        );
    }
}
