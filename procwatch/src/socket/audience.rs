//! All clients of the agent: who wants what, and the way to them.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{member::Member, outbox::MAX_WAITING, wish::Wish};
use crate::{
    convert::{CgroupPaths, Converter, Extra},
    event::Event,
    record::Record,
    sink::{json, listener::Told},
    table::ProcessTable,
};

/// What may wait for a client before the stream pauses for it, bytes.
const CROWDED: usize = MAX_WAITING / 2;

/// The clients. It outlives the socket they came by, which changes with the configuration.
#[derive(Debug, Default)]
pub struct Audience {
    members: Mutex<Vec<Arc<Member>>>,
    /// Somebody came, left, or wants something else.
    changed: Notify,
    /// Somebody has read what waited for it.
    relieved: Notify,
    /// Why not all may come, who should.
    note: Mutex<Option<String>>,
    /// Kept only while somebody wants ancestors.
    table: Mutex<Option<ProcessTable>>,
    told: AtomicU64,
    dropped: AtomicU64,
    let_go: AtomicU64,
}

/// What has become of records so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Lines that clients have read, or have in their kernel buffers.
    pub(super) told: u64,
    /// Lines that were dropped with their clients.
    pub(super) dropped: u64,
    /// Clients that were let go of.
    pub(super) let_go: u64,
}

impl Audience {
    /// Nobody yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients that are connected.
    pub fn count(&self) -> usize {
        self.members().len()
    }

    /// Why the socket is for fewer than it was meant for.
    pub fn note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_note(&self, note: Option<String>) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }

    pub(super) fn join(&self, member: Arc<Member>) {
        self.members().push(member);
    }

    pub(super) fn leave(&self, member: &Arc<Member>) {
        self.members().retain(|other| !Arc::ptr_eq(other, member));
        self.changed.notify_one();
    }

    /// From now on the client is told what it wishes, as soon as the agent's loop has seen to it.
    pub(super) fn wish(&self, member: &Member, wish: Wish) {
        let mut state = member.state();
        (state.wish, state.is_new) = (Some(wish), true);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn gone(&self, lines: u64) {
        self.told.fetch_add(lines, Ordering::Relaxed);
        self.relieved.notify_one();
    }

    pub(super) fn lost(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        self.let_go.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn account(&self) -> Account {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Account { told: read(&self.told), dropped: read(&self.dropped), let_go: read(&self.let_go) }
    }

    /// Returns when somebody came, left, or wants something else. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when somebody has read. Cancel safe.
    pub async fn relieved(&self) {
        self.relieved.notified().await;
    }

    /// Kinds that the stream must carry for all of them, as bits.
    pub fn stream_kinds(&self) -> u32 {
        let members = self.members();
        members
            .iter()
            .fold(0, |kinds, member| kinds | member.state().wish.as_ref().map_or(0, Wish::stream_kinds))
    }

    /// Whether somebody wants ancestors.
    pub fn wants_lineage(&self) -> bool {
        let members = self.members();
        members.iter().any(|member| member.state().wish.as_ref().is_some_and(Wish::wants_lineage))
    }

    /// Whether there is a new wish.
    pub fn has_new(&self) -> bool {
        self.members().iter().any(|member| member.state().is_new)
    }

    /// Whether there is a new wish of children.
    pub fn awaits_family(&self) -> bool {
        let members = self.members();
        members.iter().any(|member| {
            let mut state = member.state();
            state.is_new && state.wish.as_mut().is_some_and(|wish| wish.family().is_some())
        })
    }

    /// Begins with the new wishes: `begin` makes each ready, and the client is told `welcome` as its first line.
    pub fn welcome(&self, welcome: &Bytes, mut begin: impl FnMut(&mut Wish)) {
        for member in self.members().iter() {
            let mut state = member.state();
            if !std::mem::take(&mut state.is_new) {
                continue;
            }
            if let Some(wish) = &mut state.wish {
                begin(wish);
                drop(state);
                member.tell(welcome.clone());
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Option<ProcessTable>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether ancestors can be told.
    pub fn has_table(&self) -> bool {
        self.table().is_some()
    }

    /// Who knows ancestors from now on; [`Self::hear`] keeps it up to date.
    pub fn set_table(&self, table: Option<ProcessTable>) {
        *self.table() = table;
    }

    /// A record that the agent tells by itself.
    pub fn tell(&self, told: &Told) {
        let mut with_lineage = None;
        self.deliver(|wish| {
            if !wish.wants_record(&told.record) {
                return None;
            }
            if !wish.wants_lineage() {
                return Some(told.line.clone());
            }
            Some(with_lineage.get_or_insert_with(|| self.with_lineage(told)).clone())
        });
    }

    fn with_lineage(&self, told: &Told) -> Bytes {
        let mut record = told.record.clone();
        if let (Some(table), Some(process)) = (&*self.table(), record.body.process_mut())
            && process.lineage.is_none()
        {
            process.lineage = Some(table.ancestors(process.ppid));
        }
        line(&record).unwrap_or_else(|| told.line.clone())
    }

    /// Missing records of the stream: for all who listen to it.
    pub fn tell_of_loss(&self, line: &Bytes) {
        self.deliver(|wish| (wish.stream_kinds() != 0).then(|| line.clone()));
    }

    /// An event of the stream. It is converted once, and encoded once for all who want it alike.
    pub fn hear<P: CgroupPaths>(&self, event: &Event, converter: &mut Converter<P>) {
        let mut table = self.table();
        let mut lines = Lines { plain: None, with_lineage: None };
        self.deliver(|wish| {
            let is_wanted = wish.wants_event(event, &mut converter.cgroups);
            let table = table.as_ref().filter(|_| wish.wants_lineage());
            is_wanted.then(|| lines.of(event, converter, table)).flatten()
        });
        if let Some(table) = &mut *table {
            table.apply(event);
        }
    }

    /// Asks each wish that has begun for the line that its client is to be told.
    fn deliver(&self, mut line: impl FnMut(&mut Wish) -> Option<Bytes>) {
        let mut any_left = false;
        for member in self.members().iter() {
            let line = member.state().begun().and_then(&mut line);
            any_left |= line.is_some_and(|line| !member.tell(line));
        }
        if any_left {
            self.changed.notify_one();
        }
    }

    /// Whether more of the stream would be too much for one of those who listen to it.
    pub fn is_crowded(&self) -> bool {
        self.members().iter().any(|member| is_behind(member))
    }

    /// Lets go of those who are behind.
    pub fn let_slow_ones_go(&self) {
        for member in self.members().iter().filter(|member| is_behind(member)) {
            member.state().let_go(0);
            member.wake.notify_one();
        }
        self.changed.notify_one();
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Member)) {
        self.members().iter().for_each(|member| visit(member));
    }
}

fn is_behind(member: &Member) -> bool {
    let state = member.state();
    state.outbox.cost() > CROWDED && state.wish.as_ref().is_some_and(|wish| wish.stream_kinds() != 0)
}

/// One event in the forms that were asked for so far.
struct Lines {
    plain: Option<Bytes>,
    with_lineage: Option<Bytes>,
}

impl Lines {
    fn of<P: CgroupPaths>(
        &mut self,
        event: &Event,
        converter: &mut Converter<P>,
        table: Option<&ProcessTable>,
    ) -> Option<Bytes> {
        let place = if table.is_some() { &mut self.with_lineage } else { &mut self.plain };
        if place.is_none() {
            let lineage = table.map(|table| table.lineage(&event.subject));
            let record = converter.record(event.clone(), Extra { lineage, ..Extra::default() })?;
            *place = line(&record);
        }
        place.clone()
    }
}

/// The line of a record, of its own memory alone: it may wait long after its neighbours are gone.
pub fn line(record: &Record) -> Option<Bytes> {
    let mut line = Vec::with_capacity(512);
    if let Err(error) = json::encode(record, &mut line) {
        tracing::error!("{error}: a record was not told to clients");
        return None;
    }
    line.shrink_to_fit();
    Some(line.into())
}
