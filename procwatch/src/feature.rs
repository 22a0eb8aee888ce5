//! What this machine gives procwatch, and what each absence costs.

use serde::Serialize;

/// Whether a feature is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Yes,
    /// It is, with a reservation that the detail names.
    Partly,
    /// It is not.
    No,
    /// It cannot be known, for the reason that the detail names.
    Unknown,
}

impl State {
    /// As shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// How much procwatch needs a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Without it nothing runs.
    Required,
    /// Without it a function is lost.
    Optional,
    /// Without it all functions are there, but slower or with more work for a person.
    Comfort,
}

/// One thing that a kernel or a machine may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name: fixed, for programs to match on.
    pub name: &'static str,
    /// Whether it is there.
    pub state: State,
    /// How much it is needed.
    pub need: Need,
    /// What was seen, escaped.
    pub detail: String,
    /// What its absence costs.
    pub cost: &'static str,
}

impl Feature {
    /// Whether its absence takes a function away.
    pub fn is_loss(&self) -> bool {
        self.need == Need::Optional && self.state != State::Yes
    }

    /// Whether its absence stops procwatch.
    pub fn is_obstacle(&self) -> bool {
        self.need == Need::Required && self.state == State::No
    }
}
