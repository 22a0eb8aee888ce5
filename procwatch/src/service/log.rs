//! The agent's own log: warnings, or what `PROCWATCH_LOG` asks for. It goes to standard error, and where that is the
//! journal, there as entries with fields.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{EnvFilter, LevelFilter},
    layer::{Context, Layer, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::journal::{self, Entry, Priority, Socket};

/// From now on the log is written. To be called once.
pub fn begin() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let filter = filter.with_env_var("PROCWATCH_LOG").from_env_lossy();
    if journal::is_stderr()
        && let Ok(socket) = Socket::new(None)
    {
        tracing_subscriber::registry().with(filter).with(ToJournal(socket)).init();
        return;
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

/// Sends each event to the journal, which is not waited for: who logs may be in a hurry.
struct ToJournal(Socket);

impl<S: Subscriber> Layer<S> for ToJournal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Where it could be told that this failed is where it failed.
        let _ = self.0.send(&entry(event));
    }
}

fn entry(event: &Event<'_>) -> Entry {
    let mut text = Text::default();
    event.record(&mut text);
    let mut entry = Entry::new(text.0.as_bytes(), priority(*event.metadata().level()));
    entry.field("PROCWATCH_KIND", b"log");
    entry
}

fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        _ => Priority::Debug,
    }
}

/// An event's message with its fields behind it: `lines were dropped lines=12`.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A string takes everything.
        if field.name() == "message" {
            self.0.insert_str(0, &format!("{value:?}"));
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what would be sent.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().unwrap().push(String::from_utf8_lossy(entry(event).as_bytes()).into_owned());
        }
    }

    #[test]
    fn an_event_is_an_entry_with_its_level_and_its_fields() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(lines = 12, "lines were dropped");
            tracing::error!("two\nlines");
        });
        let entries = kept.lock().unwrap();
        assert_eq!(
            entries[0],
            "MESSAGE=lines were dropped lines=12\nPRIORITY=4\nSYSLOG_IDENTIFIER=procwatch\nPROCWATCH_KIND=log\n"
        );
        assert!(
            entries[1].starts_with("MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=3\n"),
            "{:?}",
            entries[1]
        );
    }
}
