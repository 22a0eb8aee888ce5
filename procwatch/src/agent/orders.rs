//! What the agent was told when it was started: where its configuration is, and what goes before it.

use std::path::PathBuf;

use crate::{
    cgroup::{FavorError, Mount},
    config::{self, Config, ConfigError},
    record::Mode,
};

/// The command line's part of the configuration: it holds for each reload, too.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// The one file to read; `None` for /etc/procwatch.
    pub file: Option<PathBuf>,
    /// In place of the configuration's.
    pub mode: Option<Mode>,
}

impl Orders {
    /// The configuration as it is written now.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut config = config::load(self.file.as_deref())?;
        config.mode = self.mode.unwrap_or(config.mode);
        Ok(config)
    }
}

/// Sets the mount option that makes moves fast, where the configuration wants it. What was done, in words.
///
/// # Errors
/// When the mount cannot be changed; moves take their time then.
pub fn hasten_moves(config: &Config, mount: &Mount) -> Result<String, FavorError> {
    match (config.favordynmods, mount.favordynmods, config.mode) {
        (false, ..) => Ok(String::new()),
        (true, true, _) => Ok("; favordynmods is set".to_owned()),
        (true, false, Mode::Observe) => Ok("; favordynmods is not set in mode observe".to_owned()),
        (true, false, Mode::Enforce) => {
            mount.favor_dynamic_moves()?;
            Ok(format!("; favordynmods was set on {} and stays until the next boot", mount.shown()))
        }
    }
}

/// The configuration in a line.
pub fn describe(config: &Config) -> String {
    let levels: Vec<String> = config.default_levels().iter().map(ToString::to_string).collect();
    let mode = match config.mode {
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    };
    let rules: Vec<&str> = config.place.iter().map(|rule| rule.described.as_str()).collect();
    let place = if rules.is_empty() { "none".to_owned() } else { rules.join(", ") };
    format!("thread levels {}; placement {place}; mode {mode}", levels.join(" "))
}
