//! How things look: in the sixteen colours that every terminal has, or without colour.

use ratatui::style::{Color, Modifier, Style};

use crate::record::Severity;

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// There is.
    pub colour: bool,
}

impl Theme {
    /// What is neither good nor bad.
    pub const fn plain(self) -> Style {
        Style::new()
    }

    /// What matters less.
    pub const fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What matters more.
    pub const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The heads of tables and parts.
    pub const fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The row under the cursor.
    pub const fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What is well.
    pub const fn good(self) -> Style {
        self.tinted(Color::Green)
    }

    /// What wants a look.
    pub const fn warning(self) -> Style {
        self.tinted(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What is wrong.
    pub const fn bad(self) -> Style {
        self.tinted(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A question, or that the agent is gone.
    pub const fn urgent(self) -> Style {
        self.tinted(Color::Yellow).add_modifier(Modifier::REVERSED.union(Modifier::BOLD))
    }

    /// The bars of a sparkline.
    pub const fn bars(self) -> Style {
        self.tinted(Color::Cyan)
    }

    /// An alert.
    pub const fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Notice => self.tinted(Color::Cyan),
            Severity::Warning => self.warning(),
            Severity::Critical => self.bad(),
            Severity::Emergency => self.bad().add_modifier(Modifier::REVERSED),
        }
    }

    /// An alert by its word.
    pub fn alert(self, word: &str) -> Style {
        match word {
            "notice" => self.severity(Severity::Notice),
            "critical" | "stop" => self.severity(Severity::Critical),
            "emergency" => self.severity(Severity::Emergency),
            _ => self.severity(Severity::Warning),
        }
    }

    const fn tinted(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}
