//! Where records go: lines for people, lines for programs.

pub mod duration;
pub mod headline;
pub mod human;
pub mod journal;
pub mod json;
pub mod listener;
pub(crate) mod queue;
pub(crate) mod queued;
pub(crate) mod trouble;
mod turn;

use std::io::{self, IsTerminal};

use crate::record::Record;

/// A place that records are written to, in their order.
pub trait Sink {
    /// Writes what stands before the first record: column names for people, nothing for programs.
    ///
    /// # Errors
    /// When the place takes no more, as a closed pipe does.
    fn begin(&mut self) -> io::Result<()>;

    /// Writes one record, as one line in one call of the underlying writer.
    ///
    /// # Errors
    /// As for [`Sink::begin`].
    fn write(&mut self, record: &Record) -> io::Result<()>;

    /// Lets go of what is still buffered.
    ///
    /// # Errors
    /// As for [`Sink::begin`].
    fn flush(&mut self) -> io::Result<()>;
}

/// Writes nothing.
struct Silence;

impl Sink for Silence {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _record: &Record) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How records are written.
#[derive(Clone, Debug)]
pub enum Format {
    /// One aligned line each, for people.
    Human(human::Style),
    /// One JSON object a line.
    Json,
    /// Nothing: all that listen are told by other ways.
    Silent,
}

impl Format {
    /// JSON lines, or lines for people with colour where a person looks on (and `NO_COLOR` is not set).
    pub fn of(json: bool, wide: bool) -> Self {
        if json {
            return Self::Json;
        }
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self::Human(human::Style { wide, colour, ..human::Style::default() })
    }

    /// A sink of this format over `out`, which does the buffering.
    pub fn sink<'a>(self, out: impl io::Write + 'a) -> Box<dyn Sink + 'a> {
        match self {
            Self::Human(style) => Box::new(human::Human::new(out, style)),
            Self::Json => Box::new(json::Json::new(out)),
            Self::Silent => Box::new(Silence),
        }
    }
}
