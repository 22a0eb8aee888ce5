//! Which processes are wanted.

use crate::status::ProcessRow;

/// Characters that may be typed.
const MAX_LENGTH: usize = 100;

/// Words, each of which must stand in a process' pid, user, name, cgroup, rule or alert. Case is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    words: Vec<String>,
}

impl Filter {
    /// As typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all are wanted.
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// One more character. What is no character to be seen is left out.
    pub fn push(&mut self, typed: char) {
        if !typed.is_control() && self.text.chars().count() < MAX_LENGTH {
            self.text.push(typed);
            self.split();
        }
    }

    /// One less.
    pub fn erase(&mut self) {
        self.text.pop();
        self.split();
    }

    /// The last word less.
    pub fn erase_word(&mut self) {
        let kept = self.text.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
        self.text.truncate(kept);
        self.split();
    }

    /// None.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a process is wanted.
    pub fn fits(&self, process: &ProcessRow) -> bool {
        if self.is_empty() {
            return true;
        }
        let cgroup = process.cgroup.as_ref().map(ToString::to_string);
        let texts = [
            process.pid.to_string(),
            process.user.clone().unwrap_or_else(|| process.uid.to_string()),
            process.comm.to_string(),
            cgroup.unwrap_or_default(),
            process.rule.clone(),
            process.alert.clone().unwrap_or_default(),
        ]
        .map(|text| text.to_lowercase());
        self.words.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
    }

    fn split(&mut self) {
        self.words = self.text.split_whitespace().map(str::to_lowercase).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::process;

    fn typed(text: &str) -> Filter {
        let mut filter = Filter::default();
        text.chars().for_each(|typed| filter.push(typed));
        filter
    }

    #[test]
    fn each_word_must_stand_somewhere() {
        let process = ProcessRow {
            user: Some("aimgr".to_owned()),
            cgroup: Some("/user.slice/user-1003.slice".into()),
            alert: Some("warning".to_owned()),
            ..process(4242, 10)
        };
        for (text, fits) in [
            ("", true),
            ("  ", true),
            ("PYTH", true),
            ("242", true),
            ("aimgr warn", true),
            ("1003.slice python", true),
            ("aimgr critical", false),
            ("desk", false),
        ] {
            assert_eq!(typed(text).fits(&process), fits, "{text:?}");
        }
    }

    #[test]
    fn typing_is_undone_and_bounded() {
        let mut filter = typed("one two\x1b");
        assert_eq!(filter.text(), "one two");
        filter.erase();
        assert_eq!(filter.text(), "one tw");
        filter.erase_word();
        assert_eq!(filter.text(), "one ");
        filter.erase_word();
        filter.erase_word();
        filter.erase();
        assert!(filter.is_empty());
        assert_eq!(typed(&"ä".repeat(1000)).text().chars().count(), MAX_LENGTH);
    }
}
