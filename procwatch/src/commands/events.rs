//! `procwatch events`: what the running agent tells, by its socket.

mod past;

use std::{
    collections::{BTreeSet, HashSet},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant as Moment},
};

use clap::{Args, builder::PossibleValuesParser};
use tokio::time::{Instant, sleep_until};

use self::past::Past;
use super::{history::Source, show::ShowArgs, watch::find_cgroup};
use crate::{
    agent::{
        AgentError,
        output::{Lines, Output, Reader},
        shutdown::Shutdown,
    },
    cgroup::Mount,
    clock::Clock,
    filter::{Filter, WhoArgs},
    history::{read::Border, when},
    record::{Body, Health, HealthTopic, Record, Ring, Summary},
    sink::{Format, Sink},
    socket::{
        client::{Client, ClientError, Heard},
        protocol::{AGENT_SOCKET, EventsRequest},
        wish::kind_words,
    },
};

/// When there is no other end.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// Arguments of `procwatch events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only these kinds; without it all that the agent tells by itself, and nothing of the stream
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(kind_words()))]
    kind: Vec<String>,

    #[command(flatten)]
    who: WhoArgs,

    /// First what the history has since then: 2h, 03:00, "2026-11-25 03:00", today, yesterday
    #[arg(long, value_name = "WHEN", value_parser = when::parse, conflicts_with_all = ["children", "cgroup", "lineage"])]
    since: Option<Border>,

    #[command(flatten)]
    show: ShowArgs,

    /// With --since: where the history is
    #[command(flatten)]
    source: Source,

    /// The agent's socket
    #[arg(long, value_name = "PATH", default_value = AGENT_SOCKET)]
    socket: PathBuf,
}

/// Shows records until told to end.
///
/// # Errors
/// When no agent can be asked, it goes, or the output fails.
pub async fn run(args: &EventsArgs) -> Result<ExitCode, AgentError> {
    let filter = filter(args)?;
    let request = request(args, &filter)?;
    let past = Past::of(args, &filter)?;
    let mut shutdown = Shutdown::new().map_err(AgentError::io("signal handlers"))?;
    let mut client = Client::connect(&args.socket).await?;
    client.listen(request).await?;
    let mut screen = Screen::new(args, past)?;
    let end = Instant::now() + args.show.duration.unwrap_or(FOREVER);
    let ended = screen.follow(&mut client, &args.socket, &mut shutdown, end).await?;
    if ended == Ended::Unread {
        return Ok(ExitCode::SUCCESS);
    }
    if let Ended::LetGo(why) = &ended {
        tracing::error!("the agent let go of us: {why}");
        let message = format!("the agent let go of us: {why}");
        screen.own(Body::Health(Health { topic: HealthTopic::Degraded, message }))?;
    }
    screen.finish().await?;
    match ended {
        Ended::AsOrdered | Ended::Unread => Ok(ExitCode::SUCCESS),
        Ended::LetGo(_) => Ok(ExitCode::from(1)),
        Ended::AgentGone => Err(ClientError::Gone.into()),
    }
}

/// Users are looked up here.
fn filter(args: &EventsArgs) -> Result<Filter, AgentError> {
    Filter::new(BTreeSet::new(), &args.who).map_err(|error| AgentError::Usage(error.to_string()))
}

/// The cgroup is looked up here, too: one that is not there is more likely to be a mistake.
fn request(args: &EventsArgs, filter: &Filter) -> Result<EventsRequest, AgentError> {
    let cgroup = match &args.who.cgroup {
        Some(path) => Some(find_cgroup(&Mount::find()?, path)?.path.to_string()),
        None => None,
    };
    Ok(EventsRequest {
        kinds: args.kind.clone(),
        uids: filter.uids().collect(),
        comms: args.who.comm.clone(),
        pids: filter.pids().collect(),
        children: args.who.children,
        cgroup,
        lineage: args.show.lineage,
    })
}

/// Why it ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The order to end, the time, or the last record that was wanted.
    AsOrdered,
    /// Nobody reads any more.
    Unread,
    /// The agent let go of us.
    LetGo(String),
    /// The agent has ended.
    AgentGone,
}

/// Where records are shown.
struct Screen {
    output: Output,
    lines: Lines,
    /// `None` for JSON: its lines go out as they came in.
    sink: Option<Box<dyn Sink>>,
    clock: Clock,
    begun: Moment,
    events: u64,
    lost: u64,
    /// Records still to be shown.
    limit: u64,
    /// The first line has come: the agent has taken the wish on.
    is_armed: bool,
    /// What is told before that line.
    past: Option<Past>,
    /// Lines that were told of the past and may come once more.
    seam: HashSet<String>,
}

impl Screen {
    fn new(args: &EventsArgs, past: Option<Past>) -> Result<Self, AgentError> {
        let output = Output::new();
        let lines = output.lines();
        let sink = (!args.show.json).then(|| Format::of(false, args.show.wide).sink(output.lines()));
        let mut screen = Self {
            output,
            lines,
            sink,
            clock: Clock::new().map_err(AgentError::io("the system's clocks"))?,
            begun: Moment::now(),
            events: 0,
            lost: 0,
            limit: args.show.count.unwrap_or(u64::MAX),
            is_armed: false,
            past,
            seam: HashSet::new(),
        };
        if let Some(sink) = &mut screen.sink {
            sink.begin().map_err(AgentError::io("encoding a record"))?;
        }
        Ok(screen)
    }

    async fn follow(
        &mut self,
        client: &mut Client,
        socket: &Path,
        shutdown: &mut Shutdown,
        end: Instant,
    ) -> Result<Ended, AgentError> {
        while self.limit > 0 {
            // Lines that came together go out together.
            if !client.has_line() || self.output.is_full() {
                tokio::select! {
                    biased;
                    () = shutdown.requested() => return Ok(Ended::AsOrdered),
                    reader = self.output.flush() => match reader.map_err(AgentError::io("standard output"))? {
                        Reader::There => {}
                        Reader::Gone => return Ok(Ended::Unread),
                    },
                }
            }
            let heard = tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(Ended::AsOrdered),
                () = sleep_until(end) => return Ok(Ended::AsOrdered),
                reader = self.output.ended() => {
                    reader.map_err(AgentError::io("standard output"))?;
                    return Ok(Ended::Unread);
                }
                heard = client.hear() => heard,
            };
            match heard {
                Ok(Heard::Record(record, line)) => {
                    if let Some(past) = self.past.take() {
                        tokio::select! {
                            biased;
                            () = shutdown.requested() => return Ok(Ended::AsOrdered),
                            written = past::written(socket) => written?,
                        }
                        self.seam = past.tell(record.boot_ns, |record, line| {
                            self.show(record, line)?;
                            Ok(self.limit > 0)
                        })?;
                    }
                    if self.limit > 0 && !self.seam.remove(&line) {
                        self.show(&record, &line)?;
                    }
                }
                // Nothing else was asked.
                Ok(Heard::Answer(_)) => {}
                Err(ClientError::Refused(why)) if self.is_armed => return Ok(Ended::LetGo(why)),
                Err(ClientError::Gone) => return Ok(Ended::AgentGone),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ended::AsOrdered)
    }

    fn show(&mut self, record: &Record, line: &str) -> Result<(), AgentError> {
        self.is_armed = true;
        match &record.body {
            Body::Loss(loss) if loss.ring == Ring::Stream => self.lost += loss.lost,
            Body::Loss(_) | Body::Health(_) => {}
            _ => (self.events, self.limit) = (self.events + 1, self.limit - 1),
        }
        let shown = match &mut self.sink {
            Some(sink) => sink.write(record),
            None => writeln!(self.lines, "{line}"),
        };
        shown.map_err(AgentError::io("encoding a record"))
    }

    /// A record of ours.
    fn own(&mut self, body: Body) -> Result<(), AgentError> {
        let record =
            Record { time: self.clock.timestamp(self.clock.now()), boot_ns: self.clock.now().0, body };
        let line = serde_json::to_string(&record).map_err(AgentError::io("encoding a record"))?;
        let shown = match &mut self.sink {
            Some(sink) => sink.write(&record),
            None => writeln!(self.lines, "{line}"),
        };
        shown.map_err(AgentError::io("encoding a record"))
    }

    /// The account, and the last lines.
    async fn finish(mut self) -> Result<(), AgentError> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let Self { events, lost, .. } = self;
        let account = Summary { events, lost, seconds, per_second: events as f64 / seconds };
        self.own(Body::Summary(account))?;
        self.output.finish().await.map_err(AgentError::io("standard output"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: EventsArgs,
    }

    fn of(line: &str) -> Result<EventsRequest, String> {
        let words = ["events"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        filter(&cli.args).and_then(|filter| request(&cli.args, &filter)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_becomes_a_request() {
        let asked =
            of("--kind exec,alert --user root --uid 7 --comm sh --pid 9,8 --children --lineage").unwrap();
        let expected = EventsRequest {
            kinds: vec!["exec".to_owned(), "alert".to_owned()],
            uids: vec![0, 7],
            comms: vec!["sh".to_owned()],
            pids: vec![8, 9],
            children: true,
            cgroup: None,
            lineage: true,
        };
        assert_eq!(asked, expected);
        assert_eq!(of("").unwrap(), EventsRequest::default());
    }

    #[test]
    fn what_cannot_be_is_refused_before_anybody_is_asked() {
        assert!(of("--kind spoon").unwrap_err().contains("possible values: fork"));
        assert!(of("--comm abcdefghijklmnop").unwrap_err().contains("16 bytes"));
        assert!(of("--children").unwrap_err().contains("--pid"));
        assert!(of("--count 0").is_err());
    }
}
