//! What one file says, checked. No I/O but the look-up of user names that the caller passes in.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    PlaceRule, UserLookup,
    error::{Problem, quote},
    place::read_places,
    read::{Reader, nearest},
    threads::read_threads,
};
use crate::{record::Mode, text::escape};

const MODES: [&str; 2] = ["observe", "enforce"];

/// What one file says. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Whether decisions are carried out.
    pub mode: Option<Mode>,
    /// Thread counts that raise an alert.
    pub levels: Option<Vec<u32>>,
    /// Placement rules.
    pub place: Vec<PlaceRule>,
}

impl Layer {
    /// Reads the text of a file. `file` is only named in what is reported.
    ///
    /// # Errors
    /// All that is wrong with it; when it is not TOML, only that.
    pub fn parse(file: &Path, text: &str, users: &UserLookup<'_>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(file, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let token = text.get(span.clone()).filter(|token| !token.trim().is_empty());
            let near = token.map(|token| format!(", at {}", quote(token))).unwrap_or_default();
            reader.bad(&span, "", format!("not TOML: {}{near}", escape(error.message().as_bytes())));
        }
        let layer =
            if errors.is_empty() { read_root(&mut reader, root.get_ref(), users) } else { Self::default() };
        let problems = reader.finish();
        if problems.is_empty() { Ok(layer) } else { Err(problems) }
    }
}

fn read_root(reader: &mut Reader<'_>, root: &DeTable<'_>, users: &UserLookup<'_>) -> Layer {
    reader.check_keys(root, "", &["mode", "threads", "place"]);
    Layer {
        mode: root.get("mode").and_then(|value| read_mode(reader, value)),
        levels: root.get("threads").and_then(|value| read_threads(reader, value)),
        place: root.get("place").map(|value| read_places(reader, value, users)).unwrap_or_default(),
    }
}

fn read_mode(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Mode> {
    let mode = reader.text(value, "mode", MODES[0])?;
    match mode {
        "observe" => Some(Mode::Observe),
        "enforce" => Some(Mode::Enforce),
        _ => {
            let advice = nearest(mode, &MODES).map(|near| format!("; did you mean \"{near}\"?"));
            let what = format!(
                "unknown mode {}{} (known: observe, enforce)",
                quote(mode),
                advice.unwrap_or_default()
            );
            reader.bad(&value.span(), "mode", what);
            None
        }
    }
}

#[cfg(test)]
mod tests;
