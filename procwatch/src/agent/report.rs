//! Makes records of what was seen, decided and done, and hands them to the sink.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    AgentError,
    output::{Output, Reader, Written},
    outputs::Outputs,
};
use crate::{
    cgroup::{CgroupNames, Mount},
    clock::Clock,
    convert::{AlertExtra, Converter, Extra},
    detect::Alert,
    event::{Body as EventBody, BootTime, Event},
    inspect,
    record::{Ancestor, Body, Health, HealthTopic, Loss, Record, Ring},
    rulebook::RuleBook,
    sink::{Format, Sink},
    users::UserNames,
};

/// How long a reader may take for a batch before lines are dropped for its sake.
const PATIENCE: Duration = Duration::from_millis(100);

/// Everything leaves through here.
pub struct Reporter {
    /// Knows clocks, users and cgroups.
    pub converter: Converter<CgroupNames>,
    sink: Box<dyn Sink>,
    output: Output,
    /// Besides standard output; `watch` has none.
    outputs: Option<Outputs>,
    /// Events among the records.
    written: u64,
    records: u64,
    shed: u64,
    /// The reader let lines be dropped, and has not taken any since.
    is_stuck: bool,
}

impl Reporter {
    /// Reports to standard output.
    ///
    /// # Errors
    /// When the clocks or the cgroup hierarchy cannot be read.
    pub fn new(format: Format, mount: &Mount) -> Result<Self, AgentError> {
        let output = Output::new();
        let mut sink = format.sink(output.lines());
        sink.begin().map_err(AgentError::io("encoding a record"))?;
        Ok(Self {
            converter: Converter {
                clock: Clock::new().map_err(AgentError::io("the system's clocks"))?,
                users: UserNames::new(),
                cgroups: CgroupNames::new(mount).map_err(AgentError::io("the cgroup2 mount"))?,
            },
            sink,
            output,
            outputs: None,
            written: 0,
            records: 0,
            shed: 0,
            is_stuck: false,
        })
    }

    /// From now on all is told to these, too.
    pub fn add_outputs(&mut self, outputs: Outputs) {
        self.outputs = Some(outputs);
    }

    /// Where records go besides standard output.
    pub const fn outputs(&mut self) -> Option<&mut Outputs> {
        self.outputs.as_mut()
    }

    /// The present moment.
    pub fn now(&self) -> BootTime {
        self.converter.clock.now()
    }

    /// Events told so far.
    pub const fn events(&self) -> u64 {
        self.written
    }

    /// Records told so far, of whatever kind.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Whether the output must be flushed before more is taken from the rings.
    pub fn is_full(&self) -> bool {
        self.output.is_full()
    }

    /// Writes out what was reported. Cancel safe.
    ///
    /// # Errors
    /// What the kernel says, but for a closed pipe.
    pub async fn flush(&mut self) -> Result<Reader, AgentError> {
        let reader = self.output.flush().await.map_err(AgentError::io("standard output"))?;
        self.is_stuck = false;
        Ok(reader)
    }

    /// What is on its way to the reader now.
    pub fn written(&self) -> Written {
        self.output.written()
    }

    /// Waits until nobody reads any more. Cancel safe.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn ended(&mut self) -> Result<Reader, AgentError> {
        self.output.ended().await.map_err(AgentError::io("standard output"))
    }

    /// Whether there is anything to write out.
    pub fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// For work that waits for no reader: gives it a moment, then drops the lines of a whole batch that it did not take.
    pub async fn make_room(&mut self) {
        if self.is_full() && !self.is_stuck {
            // An error shows again when the next batch is sent.
            let _ = timeout(PATIENCE, self.flush()).await;
        }
        self.shed();
    }

    /// Drops the lines of a whole batch that nobody took.
    pub fn shed(&mut self) {
        if self.is_full() {
            self.is_stuck = true;
            self.shed += self.output.shed();
            tracing::warn!(lines = self.shed, "standard output is not read; lines were dropped");
        }
    }

    /// Lines dropped so far.
    pub const fn lines_shed(&self) -> u64 {
        self.shed
    }

    /// Writes the last lines.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn finish(self) -> Result<(), AgentError> {
        if let Some(outputs) = self.outputs {
            outputs.finish();
        }
        self.output.finish().await.map_err(AgentError::io("standard output"))
    }

    /// An event of the stream.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn event(&mut self, event: Event, lineage: Option<Vec<Ancestor>>) -> Result<(), AgentError> {
        self.counted(event, Extra { lineage, ..Extra::default() })
    }

    /// An event of the stream for those outputs that want such; standard output is not told.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn tell_stream_event(&mut self, event: Event) -> Result<(), AgentError> {
        self.converter.record(event, Extra::default()).map_or(Ok(()), |record| self.tell_stream(record))
    }

    /// The same of what is told in between, such as a loss.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn tell_stream(&mut self, record: Record) -> Result<(), AgentError> {
        self.outputs.as_mut().map_or(Ok(()), |outputs| outputs.tell_stream(record))
    }

    /// A process that crossed a bound. Its executable is looked up now, while it lives.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn alert(
        &mut self,
        alert: &Alert,
        book: &RuleBook,
        lineage: Option<Vec<Ancestor>>,
    ) -> Result<(), AgentError> {
        let Alert { event, at_start } = alert;
        // Taken before anything else is done, or our own work would count.
        let latency = self.now().since(event.time);
        let alert = AlertExtra {
            exe: inspect::exe(event.subject.key()),
            latency_ns: (!at_start).then_some(latency),
            at_start: *at_start,
            ..of_rule(event, book)
        };
        self.counted(event.clone(), Extra { lineage, alert })
    }

    /// A process that fell back from a bound, or ended.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn cleared(
        &mut self,
        event: Event,
        book: &RuleBook,
        lineage: Option<Vec<Ancestor>>,
    ) -> Result<(), AgentError> {
        let alert = of_rule(&event, book);
        self.counted(event, Extra { lineage, alert })
    }

    fn counted(&mut self, event: Event, extra: Extra) -> Result<(), AgentError> {
        match self.converter.record(event, extra) {
            Some(record) => {
                self.written += 1;
                self.write(&record)
            }
            None => Ok(()),
        }
    }

    /// Missing records, of one CPU where that is known.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn loss(
        &mut self,
        ring: Ring,
        cpu: Option<u32>,
        lost: u64,
        lost_total: u64,
    ) -> Result<(), AgentError> {
        let hint = match ring {
            Ring::Stream => "a larger --ring-kib, fewer --kind, or a faster reader",
            Ring::Urgent => "the state is repaired from the kernel's task iterator",
        };
        self.now_record(Body::Loss(Loss { ring, cpu, lost, lost_total, hint: hint.to_owned() }))
    }

    /// The agent's own state.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn health(&mut self, topic: HealthTopic, message: impl Into<String>) -> Result<(), AgentError> {
        self.now_record(Body::Health(Health { topic, message: message.into() }))
    }

    /// Something that is so now.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn now_record(&mut self, body: Body) -> Result<(), AgentError> {
        let now = self.now();
        let record = self.converter.at(now, body);
        self.write(&record)
    }

    /// Any record.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn write(&mut self, record: &Record) -> Result<(), AgentError> {
        self.records += 1;
        self.sink.write(record).map_err(AgentError::io("encoding a record"))?;
        self.outputs.as_mut().map_or(Ok(()), |outputs| outputs.tell(record))
    }
}

/// What the rule behind a crossing says.
pub(crate) fn of_rule(event: &Event, book: &RuleBook) -> AlertExtra {
    let (EventBody::LevelCrossed(change) | EventBody::LevelCleared(change)) = &event.body else {
        return AlertExtra::default();
    };
    let rule = book.rule(change.rule);
    AlertExtra {
        rule: rule.described.clone(),
        next_level: rule.levels.iter().copied().find(|level| *level > event.subject.threads),
        ..AlertExtra::default()
    }
}
