//! What one file says, checked. No I/O but the look-up of users and groups that the caller passes in.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Accounts, BackendChoice, LayoutRule, PlaceRule,
    error::{Problem, quote},
    layout::read_layouts,
    place::read_places,
    read::{Reader, nearest},
    threads::read_threads,
};
use crate::{record::Mode, text::escape};

const MODES: [(&str, Mode); 2] = [("observe", Mode::Observe), ("enforce", Mode::Enforce)];
const BACKENDS: [(&str, BackendChoice); 4] = [
    ("auto", BackendChoice::Auto),
    ("systemd", BackendChoice::Systemd),
    ("scope", BackendChoice::Scope),
    ("cgroupfs", BackendChoice::Cgroupfs),
];

/// What one file says. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Whether decisions are carried out.
    pub mode: Option<Mode>,
    /// How processes are moved.
    pub backend: Option<BackendChoice>,
    /// Whether the agent sets the mount option.
    pub favordynmods: Option<bool>,
    /// Thread counts that raise an alert.
    pub levels: Option<Vec<u32>>,
    /// Placement rules.
    pub place: Vec<PlaceRule>,
    /// CPUs of slices.
    pub layout: Vec<LayoutRule>,
}

impl Layer {
    /// Reads the text of a file. `file` is only named in what is reported.
    ///
    /// # Errors
    /// All that is wrong with it; when it is not TOML, only that.
    pub fn parse(file: &Path, text: &str, accounts: &dyn Accounts) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(file, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let token = text.get(span.clone()).filter(|token| !token.trim().is_empty());
            let near = token.map(|token| format!(", at {}", quote(token))).unwrap_or_default();
            reader.bad(&span, "", format!("not TOML: {}{near}", escape(error.message().as_bytes())));
        }
        let layer = if errors.is_empty() {
            read_root(&mut reader, root.get_ref(), accounts)
        } else {
            Self::default()
        };
        let problems = reader.finish();
        if problems.is_empty() { Ok(layer) } else { Err(problems) }
    }
}

fn read_root(reader: &mut Reader<'_>, root: &DeTable<'_>, accounts: &dyn Accounts) -> Layer {
    reader.check_keys(root, "", &["mode", "backend", "favordynmods", "threads", "place", "layout"]);
    Layer {
        mode: root.get("mode").and_then(|value| read_word(reader, value, "mode", &MODES)),
        backend: root.get("backend").and_then(|value| read_word(reader, value, "backend", &BACKENDS)),
        favordynmods: root.get("favordynmods").and_then(|value| reader.flag(value, "favordynmods")),
        levels: root.get("threads").and_then(|value| read_threads(reader, value)),
        place: root.get("place").map(|value| read_places(reader, value, accounts)).unwrap_or_default(),
        layout: root.get("layout").map(|value| read_layouts(reader, value)).unwrap_or_default(),
    }
}

/// One of a few words.
fn read_word<T: Copy>(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    known: &[(&str, T)],
) -> Option<T> {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let word = reader.text(value, field, names[0])?;
    if let Some((_, meant)) = known.iter().find(|(name, _)| *name == word) {
        return Some(*meant);
    }
    let advice = nearest(word, &names).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    let what = format!("unknown {field} {}{advice} (known: {})", quote(word), names.join(", "));
    reader.bad(&value.span(), field, what);
    None
}

#[cfg(test)]
mod tests;
