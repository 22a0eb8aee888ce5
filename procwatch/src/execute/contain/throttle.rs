//! Limits the CPU time of a process.

use super::{
    impose::impose,
    limit::{Limit, cpu_amount},
    work::{Measured, Work},
};

/// So many percent of one CPU, for all that lives in its cell together.
pub(super) fn throttle(work: &mut Work<'_>, percent: u32) -> Result<Measured, Measured> {
    let amount = cpu_amount(percent);
    let measured = impose(work, Limit::Cpu, |_, _| amount)?;
    Ok(Measured { limit: Some(percent), ..measured })
}
