//! `procwatch layout check`.

use std::process::ExitCode;

use serde::Serialize;

use super::{CheckArgs, Machine, table, wanted, write};
use crate::layout::{
    LayoutError,
    judge::{SliceReport, judge},
    outside::{self, Outside},
    plan::Setter,
    usage::{self, Usage},
};

/// All that was seen.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all slices are as wanted.
    pub(super) as_wanted: bool,
    /// Who would set them.
    pub(super) setter: Setter,
    /// Each slice, in the order of the configuration.
    pub(super) slices: Vec<SliceReport>,
    /// For each slice that is a user's own: who of that user lives elsewhere.
    pub(super) outside: Vec<Outside>,
    /// How busy the CPUs are; absent when nobody asked.
    pub(super) usage: Option<Usage>,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, LayoutError> {
    let rules = wanted(args.config.as_deref())?;
    let machine = Machine::here()?;
    let slices = judge(&rules, &machine.facts(&rules)?);
    let report = Report {
        as_wanted: slices.iter().all(|slice| slice.as_wanted),
        setter: machine.setter(),
        outside: outside::look(&rules)?,
        usage: (args.seconds > 0).then(|| usage::measure(&rules, args.seconds)).transpose()?,
        slices,
    };
    write(args.json, &report, |out, report| table::check(out, report))?;
    Ok(if report.as_wanted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
