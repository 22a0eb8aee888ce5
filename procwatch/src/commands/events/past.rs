//! What the history has of the time before the stream begins: with what the agent told just before, and each record once.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum as _;
use tokio::time::{Instant, sleep};

use super::EventsArgs;
use crate::{
    agent::AgentError,
    filter::Filter,
    history::{
        HistoryError,
        read::{self, Query, User},
    },
    record::{Kind, Record},
    socket::client::{Client, ClientError},
    text::escape,
};

/// How long the history's thread is waited for. It may have to wait for a disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two questions to the agent, which has a new answer no more often.
const PAUSE: Duration = Duration::from_millis(100);

/// What happened so shortly before the stream began may be told by both, ns: when it was seen and when it was told are two.
const SEAM: u64 = 10_000_000_000;

/// Returns when all that the agent has told up to now is in its history.
///
/// # Errors
/// When the agent cannot be asked.
pub(super) async fn written(socket: &Path) -> Result<(), ClientError> {
    let mut client = Client::connect(socket).await?;
    let end = Instant::now() + PATIENCE;
    let mut wanted = None;
    loop {
        let status = client.status().await?;
        let Some(history) = status.outputs.into_iter().find(|output| output.name == "history") else {
            return Ok(());
        };
        let done = history.taken + history.dropped;
        if history.waiting == 0 || done >= *wanted.get_or_insert(done + history.waiting) {
            return Ok(());
        }
        if Instant::now() >= end {
            tracing::warn!("the history is behind; the last records before the stream may be missing");
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// The part of the history that is wanted.
pub(super) struct Past {
    path: PathBuf,
    query: Query,
}

impl Past {
    /// As the command line says; `None` when nothing of the past is wanted.
    ///
    /// # Errors
    /// When the configuration is bad, or wants no history.
    pub(super) fn of(args: &EventsArgs, filter: &Filter) -> Result<Option<Self>, AgentError> {
        let Some(since) = args.since else { return Ok(None) };
        let query = Query {
            since: Some(since),
            kinds: kinds(&args.kind),
            users: filter.uids().map(|uid| User { uid: Some(uid), name: None }).collect(),
            pids: filter.pids().collect(),
            comms: args.who.comm.iter().map(|name| escape(name.as_bytes()).into_owned()).collect(),
            ..Query::default()
        };
        Ok(Some(Self { path: args.source.path()?, query }))
    }

    /// Gives all that happened before the agent's clock showed `boot_ns`, and in earlier boots, until `each` wants no more.
    /// Returns the lines that the stream may tell once more.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn tell(
        &self,
        boot_ns: u64,
        mut each: impl FnMut(&Record, &str) -> Result<bool, AgentError>,
    ) -> Result<HashSet<String>, AgentError> {
        let now = jiff::Timestamp::now();
        let (mut failure, mut seam) = (None, HashSet::new());
        let account = read::records(&self.path, &self.query, |kept| {
            // What the stream tells itself has a later stamp of this boot; one of an earlier boot may have any.
            let is_past = kept.record.boot_ns < boot_ns || now.duration_since(kept.record.time).as_secs() > 1;
            if is_past && kept.record.boot_ns.saturating_add(SEAM) >= boot_ns {
                seam.insert(kept.line.to_owned());
            }
            let goes_on = !is_past
                || match each(kept.record, kept.line) {
                    Ok(goes_on) => goes_on,
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                };
            Ok::<_, HistoryError>(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if account.damaged > 0 {
            tracing::warn!("{} rows of the history are damaged and were left out", account.damaged);
        }
        failure.map_or(Ok(seam), Err)
    }
}

/// The words of `--kind`: "alert" has the end of one with it, and none is all that the agent tells by itself.
fn kinds(words: &[String]) -> Vec<Kind> {
    if words.is_empty() {
        return Kind::ALL.into_iter().filter(|kind| kind.stream().is_none()).collect();
    }
    let mut kinds: Vec<Kind> = words.iter().filter_map(|word| Kind::from_str(word, false).ok()).collect();
    if kinds.contains(&Kind::Alert) {
        kinds.push(Kind::Cleared);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::wish::kind_words;

    #[test]
    fn all_words_of_kinds_are_kinds_of_the_history() {
        for word in kind_words() {
            assert_eq!(kinds(&[word.to_owned()])[0].name(), word);
        }
        assert_eq!(kinds(&["alert".to_owned()]), [Kind::Alert, Kind::Cleared]);
        let own = kinds(&[]);
        assert!(own.contains(&Kind::Alert) && !own.contains(&Kind::Exec));
    }
}
