//! The loop of `watch`: events in, lines out.

use std::{collections::BTreeMap, time::Duration};

use procwatch_common::{policy::CgroupCell, wire::Kind};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{AgentError, output::Reader, report::Reporter, rules::RuleChooser, shutdown::Shutdown, tap::Tap};
use crate::{
    cgroup::{Mount, ResolvedCgroup},
    config::{Config, Protect},
    decode::DecodeError,
    detect::{Decision, Detector, threads::Threads},
    event::{Event, Subject},
    execute::contain::Warden,
    filter::Filter,
    kernel::{Kernel, RingReader, object::StreamFilter},
    record::{self, HealthTopic, Ring, Summary},
    table::ProcessTable,
};

/// How long the end waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_millis(400);

/// When there is no other end.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// A listener to the stream.
pub struct Stream {
    kernel: Kernel,
    tap: Tap,
    urgent: RingReader,
    filter: Filter,
    rules: RuleChooser,
    report: Reporter,
    /// Kept only for lineages.
    table: Option<ProcessTable>,
    /// Missing urgent records of this batch, by CPU.
    missing: BTreeMap<u32, u64>,
    /// Events still to be shown.
    limit: u64,
    begun: Instant,
    reader: Reader,
}

/// What a look into the rings brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    Something,
    /// There is more, but the output must be written first.
    Interrupted,
}

impl Stream {
    /// Takes the rings; the gate is still closed.
    ///
    /// # Errors
    /// When the kernel refuses something.
    pub fn new(
        mut kernel: Kernel,
        ring_bytes: u32,
        mount: &Mount,
        filter: Filter,
        report: Reporter,
        lineage: bool,
        limit: Option<u64>,
    ) -> Result<Self, AgentError> {
        Ok(Self {
            tap: Tap::new(&mut kernel, ring_bytes)?,
            urgent: kernel.urgent()?,
            kernel,
            filter,
            rules: RuleChooser::new(&Config::default(), Warden::new(mount, Protect::default())),
            report,
            table: lineage.then(ProcessTable::new),
            missing: BTreeMap::new(),
            limit: limit.unwrap_or(u64::MAX),
            begun: Instant::now(),
            reader: Reader::There,
        })
    }

    /// Sets the filters, takes the first picture and opens the gate.
    ///
    /// # Errors
    /// When the kernel refuses something.
    pub fn open(&mut self, cgroup: Option<&ResolvedCgroup>) -> Result<(), AgentError> {
        for what in self.kernel.unavailable().to_vec() {
            self.report.health(HealthTopic::Unavailable, what)?;
        }
        if let Some(cgroup) = cgroup {
            self.filter.set_cgroup(&cgroup.path);
        }
        let mut kinds = self.filter.kinds_mask();
        if self.table.is_some() {
            // A lineage needs every fork, exec and exit: then the agent alone filters.
            self.filter.decide_alone();
            kinds |= Kind::Fork.bit() | Kind::Exec.bit() | Kind::Exit.bit() | Kind::Uid.bit();
        } else {
            self.limit_in_kernel(cgroup)?;
        }
        self.adopt_children()?;
        if self.filter.wants_alerts() {
            self.rules.arm(&mut self.kernel, false)?;
        }
        self.tap.set_gate(&mut self.kernel, kinds)?;
        self.begun = Instant::now();
        // The gate is open before the picture is taken: what happens meanwhile waits in the ring, and the table knows
        // a process that both tell of by its pid and start.
        if self.table.is_some() {
            let subjects = self.subjects()?;
            self.table.insert(ProcessTable::new()).add_picture(&subjects);
        }
        self.report.health(HealthTopic::Armed, "armed: what happens from now on is shown")
    }

    fn limit_in_kernel(&mut self, cgroup: Option<&ResolvedCgroup>) -> Result<(), AgentError> {
        let filter = &self.filter;
        self.kernel.limit_stream(&StreamFilter {
            flags: filter.kernel_filters(),
            uids: filter.uids().collect(),
            comms: filter.comms().collect(),
            pids: filter.pids().collect(),
        })?;
        if let Some(ResolvedCgroup { id, depth, .. }) = cgroup {
            self.kernel.steer(|control| control.cgroup = CgroupCell { id: *id, depth: *depth, pad: 0 })?;
        }
        Ok(())
    }

    /// With `--children`: the descendants that are there already. Their own children join in the kernel, at their
    /// birth, before anyone listens; so once a picture brings no new one, none is missing.
    fn adopt_children(&mut self) -> Result<(), AgentError> {
        if !self.filter.follows_children() {
            return Ok(());
        }
        let mut known = self.filter.pids().count();
        loop {
            let mut table = ProcessTable::new();
            table.add_picture(&self.subjects()?);
            let family = self.filter.adopt_family(&table);
            self.kernel.watch_pids(&family)?;
            if family.len() <= known {
                return Ok(());
            }
            known = family.len();
        }
    }

    fn subjects(&mut self) -> Result<Vec<Subject>, AgentError> {
        Ok(self.kernel.picture()?.into_iter().map(|process| process.subject).collect())
    }

    /// Shows events until the order to end, the given moment, the last wanted event, or the reader's departure.
    ///
    /// # Errors
    /// When the rings or the output fail.
    pub async fn follow(&mut self, shutdown: &mut Shutdown, end: Option<Instant>) -> Result<(), AgentError> {
        let end = end.unwrap_or_else(|| Instant::now() + FOREVER);
        loop {
            let look = self.look()?;
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                reader = self.report.flush() => self.reader = reader?,
            }
            if self.limit == 0 || self.reader == Reader::Gone || Instant::now() >= end {
                return Ok(());
            }
            if look == Look::Interrupted {
                continue;
            }
            self.tap.looked(look == Look::Something);
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                () = sleep_until(end) => return Ok(()),
                reader = self.report.ended() => {
                    self.reader = reader?;
                    return Ok(());
                }
                ready = self.urgent.readable() => ready.map_err(AgentError::io("the urgent ring"))?,
                ready = self.tap.ready() => ready?,
            }
        }
    }

    /// Closes the gate, shows what was still under way, and gives the account.
    ///
    /// # Errors
    /// When the rings or the output fail.
    pub async fn close(mut self) -> Result<(), AgentError> {
        if self.reader == Reader::Gone {
            return Ok(());
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        self.kernel.steer(|control| (control.stream_kinds, control.urgent) = (0, 0))?;
        let patience = Instant::now() + PATIENCE;
        while self.look()? == Look::Interrupted {
            // Nobody may be reading; the end is not put off for that.
            match timeout_at(patience, self.report.flush()).await {
                Ok(reader) => drop(reader?),
                Err(_) => break,
            }
        }
        let account = self.account(seconds)?;
        self.report.now_record(record::Body::Summary(account))?;
        self.report.finish().await
    }

    /// What the kernel could not deliver is lost, and so is what was never taken from the ring.
    fn account(&mut self, seconds: f64) -> Result<Summary, AgentError> {
        let stats = self.kernel.stats()?;
        let mut lost = stats.stream.lost + stats.urgent.lost;
        if self.limit > 0 {
            while self.tap.take().is_some() {
                lost += 1;
            }
        }
        let events = self.report.events();
        Ok(Summary { events, lost, seconds, per_second: events as f64 / seconds })
    }

    /// Takes what both rings hold, as far as the output can take it.
    fn look(&mut self) -> Result<Look, AgentError> {
        let look = self.take()?;
        for (cpu, lost) in self.tap.missing() {
            self.report.loss(Ring::Stream, Some(cpu), lost, self.tap.lost())?;
        }
        for (cpu, lost) in std::mem::take(&mut self.missing) {
            self.report.loss(Ring::Urgent, Some(cpu), lost, self.urgent.lost())?;
        }
        Ok(look)
    }

    fn take(&mut self) -> Result<Look, AgentError> {
        let mut look = Look::Nothing;
        while let Some(taken) = self.urgent.take() {
            if let (Ok(event), Some(missing)) = (&taken.event, taken.missing) {
                *self.missing.entry(event.cpu).or_default() += missing;
            }
            if let Some(event) = self.understand(taken.event)? {
                self.show_alert(&event)?;
            }
        }
        while self.limit > 0
            && let Some(taken) = self.tap.take()
        {
            look = Look::Something;
            if let Some(event) = self.understand(taken)? {
                self.show(event)?;
            }
            if self.report.is_full() {
                return Ok(Look::Interrupted);
            }
        }
        Ok(look)
    }

    fn understand(&mut self, taken: Result<Event, DecodeError>) -> Result<Option<Event>, AgentError> {
        match taken {
            Ok(event) => Ok(Some(event)),
            Err(error) => {
                self.report.health(HealthTopic::Degraded, error.to_string())?;
                Ok(None)
            }
        }
    }

    fn show(&mut self, event: Event) -> Result<(), AgentError> {
        let wanted = self.filter.matches(&event, &mut self.report.converter.cgroups);
        let lineage = self.table.as_ref().filter(|_| wanted).map(|table| table.lineage(&event.subject));
        if let Some(table) = &mut self.table {
            table.apply(&event);
        }
        if !wanted {
            return Ok(());
        }
        self.limit -= 1;
        self.report.event(event, lineage)
    }

    fn show_alert(&mut self, event: &Event) -> Result<(), AgentError> {
        let empty = ProcessTable::new();
        for decision in Threads.on(event, self.table.as_ref().unwrap_or(&empty)) {
            if self.limit == 0 || !self.filter.matches(event, &mut self.report.converter.cgroups) {
                continue;
            }
            self.limit -= 1;
            let lineage = self.table.as_ref().map(|table| table.lineage(&event.subject));
            match decision {
                Decision::Alert(alert) => self.report.alert(&alert, self.rules.book(), lineage)?,
                Decision::Cleared(event) => self.report.cleared(event, self.rules.book(), lineage)?,
                Decision::Place(_) => {}
            }
        }
        Ok(())
    }
}
