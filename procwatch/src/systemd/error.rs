//! What can go wrong between the agent and systemd.

use std::time::Duration;

use thiserror::Error;

use crate::text::escape;

/// Why systemd did not do what it was asked for. All texts are escaped.
#[derive(Debug, Error)]
pub enum BusError {
    /// There is no bus, or it lets nobody in.
    #[error("the system bus cannot be reached: {what}")]
    Unreachable {
        /// What was said.
        what: String,
    },
    /// It refused.
    #[error("{unit}: systemd refused to {order}: {what} ({name})")]
    Refused {
        /// The unit, or what else the order was about.
        unit: String,
        /// What was asked for, as a verb.
        order: &'static str,
        /// The D-Bus name of the error, such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What was said.
        what: String,
    },
    /// No answer came in time, or the connection broke.
    #[error("{unit}: systemd was asked to {order}, and there was no answer: {what}")]
    NoAnswer {
        /// The unit, or what else the order was about.
        unit: String,
        /// What was asked for, as a verb.
        order: &'static str,
        /// What happened in its place.
        what: String,
    },
    /// It accepted the order, and the job that it made of it failed.
    #[error(
        "{unit}: systemd could not {order}: the job's result is \"{result}\"; see journalctl --unit={unit}"
    )]
    Job {
        /// The unit.
        unit: String,
        /// What was asked for, as a verb.
        order: &'static str,
        /// The result in systemd's words: `failed`, `timeout`, `canceled`, `dependency` …
        result: String,
    },
    /// It answered, and the answer is none.
    #[error("{unit}: systemd was asked to {order}, and its answer is not understood: {what}")]
    Odd {
        /// The unit, or what else the order was about.
        unit: String,
        /// What was asked for, as a verb.
        order: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// An order to systemd, for messages about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    /// The unit, or what else it is about, raw.
    pub(super) unit: &'a str,
    /// The verb.
    pub(super) verb: &'static str,
}

impl Order<'_> {
    fn unit(self) -> String {
        escape(self.unit.as_bytes()).into_owned()
    }

    /// No answer within this time.
    pub(super) fn late(self, limit: Duration) -> BusError {
        BusError::NoAnswer {
            unit: self.unit(),
            order: self.verb,
            what: format!("none within {} s", limit.as_secs()),
        }
    }

    /// What the bus said.
    pub(super) fn failed(self, error: &zbus::Error) -> BusError {
        let (unit, order) = (self.unit(), self.verb);
        match error {
            zbus::Error::MethodError(name, what, _) => BusError::Refused {
                unit,
                order,
                name: escape(name.as_str().as_bytes()).into_owned(),
                what: escape(what.as_deref().unwrap_or("no reason given").as_bytes()).into_owned(),
            },
            zbus::Error::Variant(_) | zbus::Error::IncorrectEndian | zbus::Error::InvalidReply => {
                self.odd(&error.to_string())
            }
            other => {
                BusError::NoAnswer { unit, order, what: escape(other.to_string().as_bytes()).into_owned() }
            }
        }
    }

    /// An answer that is none.
    pub(super) fn odd(self, what: &str) -> BusError {
        BusError::Odd { unit: self.unit(), order: self.verb, what: escape(what.as_bytes()).into_owned() }
    }

    /// A job that failed.
    pub(super) fn ended(self, result: &str) -> BusError {
        BusError::Job { unit: self.unit(), order: self.verb, result: escape(result.as_bytes()).into_owned() }
    }
}

impl BusError {
    /// Whether systemd said no with this error, such as `NoSuchUnit` of `org.freedesktop.systemd1.NoSuchUnit`.
    pub fn is(&self, last_part: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name.rsplit('.').next() == Some(last_part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_texts_are_escaped() {
        let order = Order { unit: "a\x1b.service", verb: "start it" };
        for error in [order.ended("fai\nled"), order.odd("\x07"), order.late(Duration::from_secs(5))] {
            let shown = error.to_string();
            assert!(shown.starts_with("a\\x1b.service: "), "{shown}");
            assert!(!shown.contains(char::is_control), "{shown}");
        }
    }

    #[test]
    fn a_refusal_is_known_by_the_last_part_of_its_name() {
        let refused = BusError::Refused {
            unit: "a.service".to_owned(),
            order: "start it",
            name: "org.freedesktop.systemd1.UnitExists".to_owned(),
            what: String::new(),
        };
        assert!(refused.is("UnitExists") && !refused.is("Unit") && !refused.is("NoSuchUnit"));
    }
}
