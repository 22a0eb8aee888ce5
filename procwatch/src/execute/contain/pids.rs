//! Limits the threads of a process by its cgroup: what `cap` is where the kernel has no program that refuses.

use super::{
    impose::impose,
    limit::Limit,
    work::{Measured, Work},
};

/// No more threads than this; without a number, than it has now. The kernel counts all threads of a cgroup, so those of
/// others in it are added.
pub(super) fn cap(work: &mut Work<'_>, threads: Option<u32>) -> Result<Measured, Measured> {
    let now = work.target.threads();
    let most = threads.unwrap_or(now);
    let mut others = 0;
    let measured = impose(work, Limit::Pids, |hands, cell| {
        let all = hands.read(&cell.cgroup, "pids.current").ok().and_then(|text| text.parse().ok());
        others = all.unwrap_or(0_u64).saturating_sub(u64::from(now));
        u64::from(most) + others
    })?;
    let detail = match others {
        0 => measured.detail,
        _ => format!("{}: {most}, and {others} of others in it", measured.detail),
    };
    Ok(Measured { limit: Some(most), detail, ..measured })
}
