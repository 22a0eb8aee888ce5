//! Which records one client wants.

use std::collections::{BTreeSet, HashSet};

use procwatch_common::wire;

use super::protocol::EventsRequest;
use crate::{
    cgroup::SliceRef,
    convert::CgroupPaths,
    event::{BootTime, Event},
    filter::{EventKind, Filter, FilterError, WhoArgs},
    record::{Body, Bound, Kind, Kinds, Record},
    text::escape,
};

/// Kinds by which ancestors are known.
const LINEAGE_KINDS: u32 =
    wire::Kind::Fork.bit() | wire::Kind::Exec.bit() | wire::Kind::Exit.bit() | wire::Kind::Uid.bit();

/// The kinds that a client can name: all but the end of an alert, which is told with it.
fn nameable() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Cleared)
}

/// All words for kinds.
pub fn kind_words() -> impl Iterator<Item = &'static str> {
    nameable().map(Kind::name)
}

/// A wish that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// No such kind.
    #[error("there is no kind {:?} (known: {})", escape(word.as_bytes()), kind_words().collect::<Vec<_>>().join(", "))]
    UnknownKind {
        /// As it was given, cut.
        word: String,
    },
    /// A criterion.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The cgroup.
    #[error("--cgroup: {0}")]
    Cgroup(String),
}

/// What one client wants.
#[derive(Debug)]
pub struct Wish {
    /// Of the kinds that the agent tells by itself.
    own: Kinds,
    /// Whose, and which kinds of the stream.
    filter: Filter,
    /// With the ancestors of each process.
    lineage: bool,
    /// What happened before does not count.
    since: BootTime,
    /// Alerts that were let through and have not ended: their end is wanted, whoever the process is then.
    raised: HashSet<(u32, u64, Bound, u32)>,
}

impl Wish {
    /// What a request asks for.
    ///
    /// # Errors
    /// When a value cannot be meant as it stands.
    pub fn of(request: &EventsRequest) -> Result<Self, WishError> {
        let (own, stream) = kinds(&request.kinds)?;
        let who = WhoArgs {
            uid: request.uids.clone(),
            user: Vec::new(),
            comm: request.comms.clone(),
            pid: request.pids.clone(),
            children: request.children,
            cgroup: None,
        };
        let mut filter = Filter::new(stream, &who)?;
        if let Some(cgroup) = &request.cgroup {
            let slice = SliceRef::parse(cgroup).map_err(|error| WishError::Cgroup(error.to_string()))?;
            filter.set_cgroup(slice.path());
        }
        // The kernel sends what all clients together want.
        filter.decide_alone();
        Ok(Self { own, filter, lineage: request.lineage, since: BootTime(0), raised: HashSet::new() })
    }

    /// Bits of the kernel's kinds that the stream must carry for it, those by which ancestors are known included.
    pub fn stream_kinds(&self) -> u32 {
        self.filter.kinds_mask() | if self.lineage { LINEAGE_KINDS } else { 0 }
    }

    /// Whether it wants the ancestors of each process.
    pub const fn wants_lineage(&self) -> bool {
        self.lineage
    }

    /// Whether it wants the children of the processes that it names, and the filter to tell them to.
    pub fn family(&mut self) -> Option<&mut Filter> {
        self.filter.follows_children().then_some(&mut self.filter)
    }

    /// It holds from now on.
    pub const fn begin(&mut self, now: BootTime) {
        self.since = now;
    }

    /// Whether an event of the stream is wanted. Each has to be asked about, in its order.
    pub fn wants_event(&mut self, event: &Event, paths: &mut impl CgroupPaths) -> bool {
        self.filter.matches(event, paths) && event.time >= self.since
    }

    /// Whether a record that the agent tells by itself is wanted. Each has to be asked about, in its order.
    pub fn wants_record(&mut self, record: &Record) -> bool {
        let body = &record.body;
        if !self.own.contains(body.kind()) {
            return false;
        }
        let fits = body.process().is_none_or(|process| self.filter.fits(process));
        match body {
            Body::Alert(alert) if fits => {
                let process = &alert.process;
                self.raised.insert((process.pid, process.start_ns, alert.bound, alert.level));
            }
            Body::Cleared(cleared) => {
                let process = &cleared.process;
                let name = (process.pid, process.start_ns, cleared.bound, cleared.level);
                return self.raised.remove(&name) || fits;
            }
            _ => {}
        }
        fits
    }
}

/// The agent's own kinds and those of the stream. None at all means all that the agent tells by itself.
fn kinds(words: &[String]) -> Result<(Kinds, BTreeSet<EventKind>), WishError> {
    if words.is_empty() {
        return Ok((Kinds::own(), BTreeSet::new()));
    }
    let (mut own, mut stream) = (Kinds::NONE, BTreeSet::new());
    for word in words {
        let unknown = || WishError::UnknownKind { word: word.chars().take(30).collect() };
        let kind = nameable().find(|kind| kind.name() == word).ok_or_else(unknown)?;
        match kind.stream().and_then(EventKind::of) {
            Some(event) => _ = stream.insert(event),
            None if kind == Kind::Alert => own = own.and([kind, Kind::Cleared].into_iter().collect()),
            None => own = own.and([kind].into_iter().collect()),
        }
    }
    Ok((own, stream))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::{
        event::{Body as EventBody, Creator},
        record::{Cleared, Process},
        samples,
        text::Text,
    };

    fn request(kinds: &[&str]) -> EventsRequest {
        EventsRequest {
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            ..EventsRequest::default()
        }
    }

    fn wanted(wish: &mut Wish) -> Vec<&'static str> {
        samples::all()
            .into_iter()
            .filter(|record| wish.wants_record(record))
            .map(|record| record.body.kind().name())
            .collect()
    }

    struct NoPaths;

    impl CgroupPaths for NoPaths {
        fn path(&mut self, _cgroup_id: u64) -> Option<Text> {
            None
        }
    }

    #[test]
    fn without_kinds_all_that_the_agent_tells_comes_and_the_stream_stays_shut() {
        let mut wish = Wish::of(&request(&[])).unwrap();
        assert_eq!(wish.stream_kinds(), 0);
        let told = wanted(&mut wish);
        let stream = ["fork", "thread", "exec", "exit", "thread-exit", "uid", "cgroup"];
        assert_eq!(told.len(), samples::all().len() - stream.len());
        assert!(told.iter().all(|kind| !stream.contains(kind)), "{told:?}");
    }

    #[test]
    fn kinds_are_told_apart() {
        let mut wish = Wish::of(&request(&["exec", "alert", "thread-exit"])).unwrap();
        assert_eq!(wish.stream_kinds(), wire::Kind::Exec.bit() | wire::Kind::ThreadExit.bit());
        assert_eq!(wanted(&mut wish), ["alert", "cleared"]);
        for word in ["spoon", "cleared", "Alert", ""] {
            let error = Wish::of(&request(&[word])).unwrap_err();
            assert_eq!(error, WishError::UnknownKind { word: word.to_owned() });
        }
        let words: Vec<String> = kind_words().map(str::to_owned).collect();
        assert!(Wish::of(&EventsRequest { kinds: words, ..EventsRequest::default() }).is_ok());
    }

    #[test]
    fn kinds_have_the_names_that_watch_gives_them() {
        for event in EventKind::value_variants() {
            let name = event.to_possible_value().unwrap().get_name().to_owned();
            assert!(kind_words().any(|word| word == name), "{name}");
        }
    }

    #[test]
    fn children_open_the_stream_to_follow_them() {
        let family = EventsRequest { pids: vec![7], children: true, ..request(&["alert"]) };
        let wish = Wish::of(&family).unwrap();
        assert_eq!(wish.stream_kinds(), wire::Kind::Fork.bit() | wire::Kind::Exit.bit());
    }

    #[test]
    fn the_end_of_an_alert_follows_its_beginning() {
        let mut wish =
            Wish::of(&EventsRequest { comms: vec!["python3".to_owned()], ..request(&[]) }).unwrap();
        let renamed = |record: Record| -> Record {
            let Body::Cleared(cleared) = record.body else { panic!("a cleared one") };
            let process = Process { comm: samples::comm("other"), ..cleared.process };
            samples::record(Body::Cleared(Cleared { process, ..cleared }))
        };
        let [alert, cleared] = ["alert", "cleared"]
            .map(|kind| samples::all().into_iter().find(|it| it.body.kind().name() == kind).unwrap());
        let cleared = renamed(cleared);
        assert!(!wish.wants_record(&cleared), "its beginning was not seen, and it is another's now");
        assert!(wish.wants_record(&alert));
        assert!(wish.wants_record(&cleared));
        assert!(wish.raised.is_empty());
    }

    #[test]
    fn what_happened_before_does_not_count() {
        let mut wish = Wish::of(&request(&["fork"])).unwrap();
        wish.begin(BootTime(100));
        let at = |time| Event {
            time: BootTime(time),
            cpu: 0,
            seq: 0,
            subject: samples::subject(7, 0),
            body: EventBody::Fork(Creator { pid: 1, tid: 1, clone_flags: 0 }),
        };
        assert!(!wish.wants_event(&at(99), &mut NoPaths));
        assert!(wish.wants_event(&at(100), &mut NoPaths));
    }

    #[test]
    fn bad_criteria_are_refused_in_words() {
        let refused = |request: &EventsRequest| Wish::of(request).unwrap_err().to_string();
        assert!(refused(&EventsRequest { children: true, ..request(&[]) }).contains("whose children"));
        assert!(refused(&EventsRequest { cgroup: Some("../x".to_owned()), ..request(&[]) }).contains("../x"));
        assert!(refused(&EventsRequest { uids: (0..65).collect(), ..request(&[]) }).contains("65 values"));
        let long = EventsRequest { comms: vec!["x".repeat(40)], ..request(&[]) };
        assert!(refused(&long).contains("40 bytes"));
    }
}
