//! `procwatch layout apply`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use serde::Serialize;

use super::{ApplyArgs, Machine, table, wanted, write};
use crate::{
    cgroup::{CgroupPath, SliceRef},
    config::LayoutRule,
    cpus::CpuSet,
    layout::{
        LayoutError,
        change::{Change, carry_out},
        facts::Facts,
        judge::{Obstacle, SliceReport, judge},
        plan::{self, Current, Plan, Setter},
        state::{STATE_FOLDER, State, StateFolder},
    },
    text::escape,
};

/// systemd has answered before it has written to all cgroups.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What was done, and what was measured after it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all is as it is meant to be, by the kernel's own account.
    pub(super) as_wanted: bool,
    /// Who sets the CPUs.
    pub(super) setter: Setter,
    /// Files that were changed, escaped.
    pub(super) changes: Vec<String>,
    /// Each slice after it; none after an undo.
    pub(super) slices: Vec<SliceReport>,
    /// After an undo, all that was restored.
    pub(super) restored: Vec<Restored>,
}

/// Something that was restored.
#[derive(Debug, Serialize)]
pub(super) struct Restored {
    /// A unit; or a cgroup where there are none.
    pub(super) what: String,
    /// CPUs that it had before the first apply: a unit in force, a cgroup as written.
    pub(super) before: CpuSet,
    /// CPUs that it has now; absent when it is not there, or is not restricted.
    pub(super) now: Option<CpuSet>,
}

pub(super) fn run(args: &ApplyArgs) -> Result<ExitCode, LayoutError> {
    let rules = if args.undo { Vec::new() } else { wanted(args.config.as_deref())? };
    if !geteuid().is_root() {
        let what = "layout apply changes the system and must run as root; use: sudo procwatch layout apply …";
        return Err(LayoutError::Refused(what.to_owned()));
    }
    let machine = Machine::here()?;
    let folder = StateFolder::hold(Path::new(STATE_FOLDER))?;
    let state = folder.load()?;
    let plan = make_plan(args, &machine, &rules, &state)?;
    if !plan.changes.is_empty() {
        agree(args, &plan.changes, &machine)?;
        perform(&machine, &folder, &state, &plan)?;
    } else if plan.state != state {
        folder.save(&plan.state)?;
    }
    let report = measure(&machine, &rules, &plan, if args.undo { &state } else { &plan.state })?;
    write(args.json, &report, |out, report| table::apply(out, report))?;
    Ok(if report.as_wanted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn make_plan(
    args: &ApplyArgs,
    machine: &Machine,
    rules: &[LayoutRule],
    state: &State,
) -> Result<Plan, LayoutError> {
    let current = Current::look(&machine.targets, rules, state)?;
    let known = (state, &machine.targets, args.force);
    if !args.undo {
        return plan::apply(rules, machine.setter(), (&machine.facts(rules)?, &current), known);
    }
    if state.is_empty() {
        let what = format!(
            "{STATE_FOLDER}/layout.json does not exist: nothing was applied, or it was undone already"
        );
        return Err(LayoutError::Refused(what));
    }
    let slices = saved_slices(state);
    plan::undo(&Facts::gather(&machine.sources, &slices, None)?, &current, known)
}

/// All cgroups that an undo may change.
fn saved_slices(state: &State) -> Vec<SliceRef> {
    let units = state.drop_ins.values().filter_map(|saved| CgroupPath::parse(&saved.cgroup).ok());
    units.chain(state.cgroups.keys().chain(&state.controllers).cloned()).map(SliceRef::from).collect()
}

/// Shows what would change and lets a person say yes.
fn agree(args: &ApplyArgs, changes: &[Change], machine: &Machine) -> Result<(), LayoutError> {
    let diffs: String = changes.iter().map(|change| change.diff(&machine.targets)).collect();
    if args.json {
        io::stderr().write_all(diffs.as_bytes())?;
    } else {
        io::stdout().write_all(diffs.as_bytes())?;
    }
    if args.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(LayoutError::Refused(
            "nobody is there to agree; --yes does it without asking".to_owned(),
        ));
    }
    let mut asking = io::stderr();
    write!(asking, "Do this? [y/N] ")?;
    asking.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(LayoutError::Refused("nothing was changed".to_owned())),
    }
}

/// What was there before is on disk before anything changes: whatever happens to this process, an undo is possible.
fn perform(machine: &Machine, folder: &StateFolder, old: &State, plan: &Plan) -> Result<(), LayoutError> {
    let undoing = plan.state.is_empty();
    if !undoing {
        folder.save(&plan.state)?;
    }
    match carry_out(&plan.changes, &machine.targets, &mut || machine.reload()) {
        Ok(()) if undoing => folder.save(&plan.state),
        Err(error @ LayoutError::TakenBack { .. }) => folder.save(old).and(Err(error)),
        // What could not be taken back may still be undone.
        other => other,
    }
}

/// The kernel's own account, as soon as it is as wanted, or as nothing that was done can bring it nearer.
fn measure(
    machine: &Machine,
    rules: &[LayoutRule],
    plan: &Plan,
    state: &State,
) -> Result<Report, LayoutError> {
    let begun = Instant::now();
    let undone = rules.is_empty();
    let name =
        |change: &Change| escape(change.file(&machine.targets).as_os_str().as_encoded_bytes()).into_owned();
    loop {
        let slices = judge(rules, &machine.facts(rules)?);
        let restored = if undone { restored(machine, state)? } else { Vec::new() };
        let pending = slices.iter().any(is_pending) || restored.iter().any(Restored::differs);
        if !pending || begun.elapsed() >= IN_FORCE_WITHIN {
            return Ok(Report {
                as_wanted: slices.iter().all(|slice| slice.as_wanted)
                    && !restored.iter().any(Restored::differs),
                setter: machine.setter(),
                changes: plan.changes.iter().map(name).collect(),
                slices,
                restored,
            });
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Whether all that keeps the slice from being as wanted is in the service manager's hands.
fn is_pending(slice: &SliceReport) -> bool {
    !slice.as_wanted && slice.obstacles.iter().all(Obstacle::is_ours_to_remove)
}

fn restored(machine: &Machine, state: &State) -> Result<Vec<Restored>, LayoutError> {
    let slices = saved_slices(state);
    let facts = Facts::gather(&machine.sources, &slices, None)?;
    let units = state.drop_ins.iter().filter_map(|(unit, saved)| {
        let path = CgroupPath::parse(&saved.cgroup).ok()?;
        let now = facts.effective_of_existing(&path).cloned();
        Some(Restored { what: unit.clone(), before: saved.effective.clone()?, now })
    });
    let cgroups = state.cgroups.iter().map(|(path, saved)| {
        let now = facts.cgroups.get(path).and_then(|cgroup| cgroup.cpus.clone());
        Restored { what: path.to_string(), before: saved.before.clone(), now }
    });
    Ok(units.chain(cgroups).collect())
}

impl Restored {
    /// What has ended meanwhile has nothing to be restored.
    fn differs(&self) -> bool {
        self.now.as_ref().is_some_and(|now| *now != self.before)
    }
}
