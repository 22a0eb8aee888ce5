//! The stream of all events for clients of the running agent: open while somebody wants it, and otherwise not there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{AgentError, report::Reporter, tap::Tap};
use crate::{
    event::{BootTime, Subject},
    kernel::Kernel,
    record::{Body, Health, HealthTopic, Loss, Ring},
    socket::audience::{self, Audience},
    table::ProcessTable,
};

/// Events that are taken before urgent records have their turn again.
const CHUNK: usize = 128;

/// How long the stream waits for those who listen to it and are behind, as long as what happens meanwhile has room.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shortest time between two changes of what clients want: each may need a picture of all processes.
const CHANGE: Duration = Duration::from_millis(50);

/// Why it is time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Clients came, left, or want something else.
    Clients,
    /// The ring, or those who read from it.
    Ring,
}

/// Feeds the clients of the socket.
pub struct Feed {
    audience: Arc<Audience>,
    tap: Tap,
    /// What the gate lets through; 0 when it is closed.
    kinds: u32,
    /// What outputs want of it, besides clients.
    for_outputs: u32,
    /// When the next change is seen to.
    next_change: Instant,
    /// There may be more in the ring.
    has_more: bool,
    /// When those who are behind must have read.
    paused: Option<Instant>,
    /// Losses from before the gate was opened that show as gaps only now.
    old_losses: u64,
    /// When clients were last told of a loss.
    last_loss: Option<BootTime>,
}

impl Feed {
    /// Takes the stream ring; the gate is closed.
    ///
    /// # Errors
    /// When the ring was taken before, or cannot be mapped.
    pub fn new(kernel: &mut Kernel, audience: Arc<Audience>, ring_bytes: u32) -> Result<Self, AgentError> {
        Ok(Self {
            audience,
            tap: Tap::new(kernel, ring_bytes)?,
            kinds: 0,
            for_outputs: 0,
            next_change: Instant::now(),
            has_more: false,
            paused: None,
            old_losses: 0,
            last_loss: None,
        })
    }

    /// Those whom it feeds.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// When clients were last told of a loss.
    pub const fn last_loss(&self) -> Option<BootTime> {
        self.last_loss
    }

    /// From now on outputs are told these kinds.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn feed_outputs(&mut self, kinds: u32, kernel: &mut Kernel) -> Result<(), AgentError> {
        self.for_outputs = kinds;
        self.steer(kernel)
    }

    /// Returns when it is time for [`Self::look`]. Cancel safe. Without clients it never does.
    ///
    /// # Errors
    /// When the ring can no longer be polled.
    pub async fn ready(&mut self) -> Result<Cause, AgentError> {
        let Self { audience, tap, has_more, paused, kinds, next_change, .. } = self;
        let changed = async {
            sleep_until(*next_change).await;
            audience.changed().await;
        };
        let is_paused = paused.is_some();
        let ring = async { if is_paused { tap.half_full().await } else { tap.ready().await } };
        tokio::select! {
            () = changed => return Ok(Cause::Clients),
            () = audience.relieved(), if is_paused => {}
            () = sleep_until(paused.unwrap_or_else(Instant::now)), if is_paused => {}
            // The clients' tasks have their turn.
            () = yield_now(), if *has_more && !is_paused => {}
            ready = ring, if *kinds != 0 => ready?,
        }
        Ok(Cause::Ring)
    }

    /// Sees to new wishes, and takes a part of what the ring holds.
    ///
    /// # Errors
    /// When the kernel refuses, or a record cannot be encoded.
    pub fn look(
        &mut self,
        cause: Cause,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        if cause == Cause::Clients {
            self.next_change = Instant::now() + CHANGE;
            self.steer(kernel)?;
            self.welcome(kernel, report)?;
        }
        if self.kinds == 0 || self.is_held_up() {
            return Ok(());
        }
        self.pull(report)?;
        self.tell_of_losses(report)
    }

    /// Opens the gate for what all clients and outputs want together, or closes it.
    fn steer(&mut self, kernel: &mut Kernel) -> Result<(), AgentError> {
        let kinds = self.audience.stream_kinds() | self.for_outputs;
        if kinds == self.kinds {
            return Ok(());
        }
        let was_closed = self.kinds == 0;
        if was_closed {
            // What programs still had under way when the gate was closed concerns nobody here.
            self.discard();
            self.old_losses = kernel.stats()?.stream.lost.saturating_sub(self.tap.lost());
        }
        self.tap.set_gate(kernel, kinds)?;
        self.kinds = kinds;
        if kinds == 0 {
            self.discard();
            (self.has_more, self.paused) = (false, None);
        }
        Ok(())
    }

    /// Begins with new wishes. The gate is open already: what happens while the picture is taken waits in the ring.
    fn welcome(&mut self, kernel: &mut Kernel, report: &mut Reporter) -> Result<(), AgentError> {
        if !self.audience.wants_lineage() {
            self.audience.set_table(None);
        } else if !self.audience.has_table() {
            self.audience.set_table(Some(table(kernel, report)?));
        }
        if !self.audience.has_new() {
            return Ok(());
        }
        let family = if self.audience.awaits_family() { Some(table(kernel, report)?) } else { None };
        let message = "armed: what happens from now on is told".to_owned();
        let now = report.now();
        let armed = report.converter.at(now, Body::Health(Health { topic: HealthTopic::Armed, message }));
        let Some(armed) = audience::line(&armed) else { return Ok(()) };
        self.audience.welcome(&armed, |wish| {
            wish.begin(now);
            if let (Some(filter), Some(table)) = (wish.family(), &family) {
                filter.adopt_family(table);
            }
        });
        Ok(())
    }

    /// Whether those who are behind still have time to read; those who have none left are let go of. Waiting for one who
    /// reads, but slowly, must cost the others nothing.
    fn is_held_up(&mut self) -> bool {
        if !self.audience.is_crowded() {
            self.paused = None;
            return false;
        }
        let now = Instant::now();
        let until = *self.paused.get_or_insert(now + PATIENCE);
        if now < until && !self.tap.is_half_full() {
            return true;
        }
        self.audience.let_slow_ones_go();
        self.paused = None;
        false
    }

    fn pull(&mut self, report: &mut Reporter) -> Result<(), AgentError> {
        let mut taken = 0;
        while taken < CHUNK
            && let Some(event) = self.tap.take()
        {
            taken += 1;
            match event {
                Ok(event) => {
                    self.audience.hear(&event, &mut report.converter);
                    if self.for_outputs & event.body.kind().bit() != 0 {
                        report.tell_stream_event(event)?;
                    }
                }
                Err(error) => report.health(HealthTopic::Degraded, error.to_string())?,
            }
        }
        self.has_more = taken == CHUNK;
        self.tap.looked(taken > 0);
        Ok(())
    }

    fn tell_of_losses(&mut self, report: &mut Reporter) -> Result<(), AgentError> {
        let mut missing: BTreeMap<u32, u64> = self.tap.missing();
        for lost in missing.values_mut() {
            let old = self.old_losses.min(*lost);
            (*lost, self.old_losses) = (*lost - old, self.old_losses - old);
        }
        missing.retain(|_, lost| *lost > 0);
        for (cpu, lost) in missing {
            let now = report.now();
            self.last_loss = Some(now);
            let hint = "a larger ring-kib in [socket], fewer kinds, or a faster reader".to_owned();
            let loss = Loss { ring: Ring::Stream, cpu: Some(cpu), lost, lost_total: self.tap.lost(), hint };
            let record = report.converter.at(now, Body::Loss(loss));
            if let Some(line) = audience::line(&record) {
                self.audience.tell_of_loss(&line);
            }
            if self.for_outputs != 0 {
                report.tell_stream(record)?;
            }
        }
        Ok(())
    }

    fn discard(&mut self) {
        while self.tap.take().is_some() {}
        // Whom these gaps concern has left.
        self.tap.missing();
    }
}

/// All processes that run. Where they cannot be listed it begins with none, and that is told: a client's wish ends nobody.
fn table(kernel: &mut Kernel, report: &mut Reporter) -> Result<ProcessTable, AgentError> {
    let mut table = ProcessTable::new();
    match kernel.picture() {
        Ok(picture) => {
            let subjects: Vec<Subject> = picture.into_iter().map(|process| process.subject).collect();
            table.add_picture(&subjects);
        }
        Err(error) => {
            report.health(HealthTopic::Degraded, format!("{error}; clients do not see who bore whom"))?;
        }
    }
    Ok(table)
}
