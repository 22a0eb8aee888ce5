//! The reports for people.

use std::io::{self, Write};

use super::{check, measure};
use crate::layout::{
    judge::{Obstacle, SliceReport},
    outside::Outside,
    plan::Setter,
    usage::Usage,
};

pub(super) fn check(out: &mut (impl Write + ?Sized), report: &check::Report) -> io::Result<()> {
    slices(out, &report.slices)?;
    if let Some(advice) = advice(&report.slices) {
        writeln!(out, "{advice}")?;
    }
    for outside in &report.outside {
        write_outside(out, outside)?;
    }
    report.usage.as_ref().map_or(Ok(()), |usage| write_usage(out, usage))
}

pub(super) fn apply(out: &mut (impl Write + ?Sized), report: &measure::Report) -> io::Result<()> {
    for change in &report.changes {
        writeln!(out, "written: {change}")?;
    }
    if report.changes.is_empty() {
        writeln!(out, "nothing had to be changed")?;
    }
    for restored in &report.restored {
        let what = &restored.what;
        let before = restored.before.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        match &restored.now {
            Some(now) if restored.before.as_ref() == Some(now) => {
                writeln!(out, "{what}: CPUs {now}, as before")?;
            }
            Some(now) => writeln!(out, "{what}: CPUs {now}, before CPUs {before}")?,
            None => writeln!(out, "{what}: is not there now, before CPUs {before}")?,
        }
    }
    slices(out, &report.slices)?;
    if report.setter == Setter::Systemd {
        // What we wrote is not the last word.
        let overruled =
            report.slices.iter().filter(|slice| slice.obstacles.iter().any(Obstacle::is_ours_to_remove));
        for slice in overruled {
            writeln!(
                out,
                "another setting of systemd's may overrule it, see: systemctl cat {}",
                slice.slice
            )?;
        }
    }
    if report.setter == Setter::Cgroupfs && !report.slices.is_empty() {
        writeln!(out, "systemd is not pid 1 here: this lasts until the next boot")?;
    }
    Ok(())
}

/// A line for each slice, and one for each obstacle below it.
fn slices(out: &mut (impl Write + ?Sized), slices: &[SliceReport]) -> io::Result<()> {
    if slices.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; 3]> = slices
        .iter()
        .map(|slice| {
            let effective = slice.effective.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
            [slice.slice.clone(), slice.wanted.to_string(), effective]
        })
        .collect();
    let head = ["slice", "wanted", "has"];
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let (a, b, c) = (width(0), width(1), width(2));
    writeln!(out, "{:a$}  {:b$}  {:c$}  state", head[0], head[1], head[2])?;
    for (slice, [name, wanted, effective]) in slices.iter().zip(&rows) {
        let state = if slice.as_wanted { "as wanted" } else { "differs" };
        writeln!(out, "{name:a$}  {wanted:b$}  {effective:c$}  {state}")?;
        for obstacle in &slice.obstacles {
            writeln!(out, "  {obstacle}")?;
        }
    }
    Ok(())
}

fn advice(slices: &[SliceReport]) -> Option<&'static str> {
    let mut obstacles = slices.iter().flat_map(|slice| &slice.obstacles);
    obstacles.any(Obstacle::is_ours_to_remove).then_some("to set them: procwatch layout apply")
}

fn write_outside(out: &mut (impl Write + ?Sized), outside: &Outside) -> io::Result<()> {
    let Outside { slice, uid, count, first } = outside;
    let (processes, live) = if *count == 1 { ("process", "lives") } else { ("processes", "live") };
    writeln!(out, "{count} {processes} of uid {uid} {live} outside of {slice}")?;
    for stray in first {
        writeln!(out, "  pid {} {} in {}", stray.pid, stray.comm, stray.cgroup)?;
    }
    if *count > first.len() {
        writeln!(out, "  and {} more", count - first.len())?;
    }
    Ok(())
}

fn write_usage(out: &mut (impl Write + ?Sized), usage: &Usage) -> io::Result<()> {
    writeln!(out, "use of CPUs over {} s", usage.seconds)?;
    for slice in &usage.slices {
        let mean = slice.mean_percent.map_or_else(|| "   ?".to_owned(), |mean| format!("{mean:4.0}"));
        writeln!(out, "  {mean} %  {} of {}", slice.cpus, slice.slice)?;
        for one in usage.cpus.iter().filter(|one| slice.cpus.contains(one.cpu)) {
            writeln!(out, "    {:4.0} %  cpu{}", one.percent, one.cpu)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cgroup::CgroupPath,
        cpus::CpuSet,
        layout::{
            outside::Stray,
            usage::{CpuUsage, SliceUsage},
        },
    };

    fn cpus(text: &str) -> CpuSet {
        CpuSet::parse(text).unwrap()
    }

    fn slice(name: &str, effective: Option<&str>, obstacles: Vec<Obstacle>) -> SliceReport {
        SliceReport {
            slice: name.to_owned(),
            path: format!("/{name}"),
            wanted: cpus("4-19"),
            effective: effective.map(cpus),
            as_wanted: obstacles.is_empty(),
            obstacles,
        }
    }

    #[test]
    fn what_was_restored_is_told_with_what_it_has_now() {
        let restored = |what: &str, now: Option<&str>| measure::Restored {
            what: what.to_owned(),
            before: Some(cpus("0-3")),
            now: now.map(cpus),
            path: CgroupPath::root(),
            ours: None,
        };
        let report = measure::Report {
            as_wanted: false,
            setter: Setter::Cgroupfs,
            changes: vec!["/cg/a/cpuset.cpus".to_owned()],
            slices: Vec::new(),
            restored: vec![restored("a", Some("0-3")), restored("b", Some("1")), restored("c", None)],
        };
        let mut out = Vec::new();
        apply(&mut out, &report).unwrap();
        let expected = "\
written: /cg/a/cpuset.cpus
a: CPUs 0-3, as before
b: CPUs 1, before CPUs 0-3
c: is not there now, before CPUs 0-3
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let not_set = Obstacle::NotSet { file: "/b.slice/cpuset.cpus".to_owned(), cpus: cpus("0") };
        let slices = vec![slice("b.slice", Some("0"), vec![not_set])];
        let mut out = Vec::new();
        apply(&mut out, &measure::Report { slices, setter: Setter::Systemd, restored: Vec::new(), ..report })
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("may overrule it, see: systemctl cat b.slice\n"), "{text}");
        let slices = vec![slice("a.slice", Some("4-19"), Vec::new())];
        let setter = Setter::Cgroupfs;
        let as_wanted = true;
        let report = measure::Report { as_wanted, setter, slices, changes: Vec::new(), restored: Vec::new() };
        let mut out = Vec::new();
        apply(&mut out, &report).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("nothing had to be changed\nslice    wanted"), "{text}");
        assert!(text.ends_with("this lasts until the next boot\n"), "{text}");
    }

    #[test]
    fn lines_are_aligned_and_obstacles_stand_below_their_slice() {
        let not_set = Obstacle::NotSet { file: "/b.slice/cpuset.cpus".to_owned(), cpus: CpuSet::default() };
        let stray = Stray { pid: 7, comm: "a\x1bb".into(), cgroup: "/system.slice".into() };
        let report = check::Report {
            as_wanted: false,
            setter: Setter::Systemd,
            slices: vec![
                slice("user-1003.slice", Some("4-19"), Vec::new()),
                slice("b.slice", None, vec![not_set]),
            ],
            outside: vec![Outside {
                slice: "user-1003.slice".to_owned(),
                uid: 1003,
                count: 2,
                first: vec![stray],
            }],
            usage: Some(Usage {
                seconds: 2,
                cpus: vec![CpuUsage { cpu: 3, percent: 9.0 }, CpuUsage { cpu: 4, percent: 99.6 }],
                slices: vec![
                    SliceUsage { slice: "a".to_owned(), cpus: cpus("4"), mean_percent: Some(99.6) },
                    SliceUsage { slice: "b".to_owned(), cpus: cpus("99"), mean_percent: None },
                ],
            }),
        };
        let mut out = Vec::new();
        check(&mut out, &report).unwrap();
        let expected = "\
slice            wanted  has   state
user-1003.slice  4-19    4-19  as wanted
b.slice          4-19    ?     differs
  /b.slice/cpuset.cpus is empty
to set them: procwatch layout apply
2 processes of uid 1003 live outside of user-1003.slice
  pid 7 a\\x1bb in /system.slice
  and 1 more
use of CPUs over 2 s
   100 %  4 of a
     100 %  cpu4
     ? %  99 of b
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
