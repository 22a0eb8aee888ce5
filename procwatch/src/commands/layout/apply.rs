//! `procwatch layout apply`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use nix::unistd::geteuid;

use super::{ApplyArgs, Machine, measure, table, wanted, write};
use crate::{
    config::LayoutRule,
    layout::{
        LayoutError,
        change::{Change, carry_out},
        facts::Facts,
        plan::{self, Current, Plan},
        state::{STATE_FOLDER, State, StateFolder},
    },
};

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
    let report = measure::measure(&machine, &rules, &plan, &state)
        .map_err(|why| LayoutError::Unmeasured { why: Box::new(why) })?;
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
    let slices = measure::saved_slices(state);
    plan::undo(&Facts::gather(&machine.sources, &slices, None)?, &current, known)
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
    folder.save(&old.with(&plan.state))?;
    match carry_out(&plan.changes, &machine.targets, &mut || machine.reload()) {
        Ok(()) => folder.save(&plan.state),
        Err(error @ LayoutError::TakenBack { .. }) => folder.save(old).and(Err(error)),
        // What could not be taken back may still be undone.
        half_done => half_done,
    }
}
