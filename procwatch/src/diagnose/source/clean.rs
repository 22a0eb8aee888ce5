//! Lines of code without what stands in strings and comments.

/// One physical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeLine {
    /// The code: what is in strings is blank, what is a comment is gone. Columns stay as they were.
    pub(super) text: String,
    /// A line that goes on from the one before: within brackets, a string, or after a backslash.
    pub(super) goes_on: bool,
}

impl CodeLine {
    /// Columns of white space at its start; a tab counts as one.
    pub(super) fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }
}

struct Cleaner {
    /// The quote that ends the string that is open, and whether it is tripled.
    string: Option<(char, bool)>,
    depth: u32,
    backslash: bool,
}

pub(super) fn clean(text: &str) -> Vec<CodeLine> {
    let mut cleaner = Cleaner { string: None, depth: 0, backslash: false };
    text.lines().map(|line| cleaner.line(line)).collect()
}

impl Cleaner {
    fn line(&mut self, line: &str) -> CodeLine {
        let goes_on = self.string.is_some() || self.depth > 0 || self.backslash;
        self.backslash = false;
        let chars: Vec<char> = line.chars().collect();
        let mut text = String::with_capacity(line.len());
        let mut at = 0;
        while at < chars.len() {
            at += match self.string {
                Some(open) => self.in_string(open, &chars[at..], &mut text),
                None if chars[at] == '#' => break,
                None => self.in_code(&chars[at..], &mut text),
            };
        }
        // A string of one line ends with it, whatever the file says.
        if self.string.is_some_and(|(_, tripled)| !tripled) && chars.last() != Some(&'\\') {
            self.string = None;
        }
        self.backslash = self.string.is_none() && text.ends_with('\\');
        CodeLine { text, goes_on }
    }

    fn in_string(&mut self, (quote, tripled): (char, bool), rest: &[char], text: &mut String) -> usize {
        let wanted = if tripled { 3 } else { 1 };
        if rest[0] == '\\' {
            let len = rest.len().min(2);
            blank(text, len);
            return len;
        }
        if rest.len() >= wanted && rest[..wanted].iter().all(|c| *c == quote) {
            self.string = None;
            text.extend(&rest[..wanted]);
            return wanted;
        }
        blank(text, 1);
        1
    }

    fn in_code(&mut self, rest: &[char], text: &mut String) -> usize {
        let c = rest[0];
        match c {
            '"' | '\'' => {
                let tripled = rest.len() >= 3 && rest[1] == c && rest[2] == c;
                self.string = Some((c, tripled));
                let len = if tripled { 3 } else { 1 };
                text.extend(&rest[..len]);
                return len;
            }
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        // Names of other scripts are of no use here, and bytes are columns.
        text.push(if c.is_ascii() { c } else { '_' });
        1
    }
}

fn blank(text: &mut String, count: usize) {
    text.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str) -> Vec<String> {
        clean(code).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        assert_eq!(texts("a = 'Thread(' # Thread("), ["a = '       ' "]);
        assert_eq!(texts(r#"f("a\"(", b)"#), [r#"f("    ", b)"#]);
        assert_eq!(texts("x = ''\ny()"), ["x = ''", "y()"]);
    }

    #[test]
    fn tripled_strings_go_over_lines() {
        let lines = clean("\"\"\"doc\nThread(\n\"\"\"\nf()");
        assert_eq!(lines[1], CodeLine { text: "       ".into(), goes_on: true });
        assert_eq!(lines[3], CodeLine { text: "f()".into(), goes_on: false });
    }

    #[test]
    fn brackets_and_backslashes_join_lines() {
        let on = |code: &str| clean(code).iter().map(|line| line.goes_on).collect::<Vec<_>>();
        assert_eq!(on("f(\n a)\nb"), [false, true, false]);
        assert_eq!(on("a = \\\n b\nc"), [false, true, false]);
        assert_eq!(on("a = 'open\nb"), [false, false]);
    }
}
