//! `[kernel]`: what stays in the kernel without an agent.

use toml::{Spanned, de::DeValue};

use super::read::Reader;

/// Whether the kernel's part outlives the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// When the agent is killed, or restarted by the service manager; not when it is told to end.
    #[default]
    WhenKilled,
    /// Also when it is told to end.
    Always,
    /// Never: it goes with the agent.
    Never,
}

const PINS: [(&str, Pin); 3] =
    [("when-killed", Pin::WhenKilled), ("always", Pin::Always), ("never", Pin::Never)];

pub(super) fn read_kernel(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Pin> {
    let table = reader.table(value, "kernel", "[kernel] with pin = \"when-killed\"")?;
    reader.check_keys(table, "kernel.", &["pin"]);
    reader.word(table.get("pin")?, "kernel.pin", "way to pin", &PINS)
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, SystemAccounts};
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Option<Pin>, Vec<String>> {
        let shown = |problems: Vec<super::super::Problem>| problems.iter().map(ToString::to_string).collect();
        Layer::parse(Path::new("t.toml"), text, &SystemAccounts).map(|layer| layer.pin).map_err(shown)
    }

    #[test]
    fn it_is_one_of_three_words() {
        assert_eq!(parse("[kernel]\npin = 'always'"), Ok(Some(Pin::Always)));
        assert_eq!(parse("[kernel]\npin = 'when-killed'"), Ok(Some(Pin::WhenKilled)));
        assert_eq!(parse("[kernel]\npin = 'never'"), Ok(Some(Pin::Never)));
        assert_eq!((parse("[kernel]"), parse("")), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, message) in [
            (
                "[kernel]\npin = 'allways'",
                "t.toml:2: kernel.pin: unknown way to pin \"allways\"; did you mean \"always\"? (known: when-killed, always, never)",
            ),
            (
                "[kernel]\npin = true",
                "t.toml:2: kernel.pin: is true or false; right is a text, e.g. \"when-killed\"",
            ),
            (
                "[kernel]\npins = 'never'",
                "t.toml:2: kernel.pins: unknown key; did you mean \"pin\"? (known: pin)",
            ),
            (
                "kernel = 1",
                "t.toml:1: kernel: is a whole number; right is a table, e.g. [kernel] with pin = \"when-killed\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), [message], "{text}");
        }
    }
}
