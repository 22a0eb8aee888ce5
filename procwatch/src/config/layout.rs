//! `[[layout]]`: which CPUs a slice has.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    LayoutRule,
    error::{Problem, quote},
    read::Reader,
};
use crate::{
    cgroup::{CgroupPath, SliceRef},
    cpus::CpuSet,
};

const EXAMPLE_SLICE: &str = "user-1003.slice";
const EXAMPLE_CPUS: &str = "0-1,4,8-19";

pub(super) fn read_layouts(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<LayoutRule> {
    let tables = reader.tables(value, "layout");
    let numbered = tables.into_iter().zip(1..);
    numbered.filter_map(|((span, table), number)| read_layout(reader, &span, table, number)).collect()
}

fn read_layout(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    number: usize,
) -> Option<LayoutRule> {
    let name = format!("layout[{number}]");
    reader.check_keys(table, &format!("{name}."), &["slice", "cpus"]);
    let slice = read_slice(reader, span, table, &format!("{name}.slice"));
    let cpus = read_cpus(reader, span, table, &format!("{name}.cpus"));
    let slice = slice?;
    let described = format!("{name} slice={slice}");
    Some(LayoutRule { slice, cpus: cpus?, described, location: reader.at(span) })
}

fn read_slice(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    field: &str,
) -> Option<SliceRef> {
    let Some(value) = table.get("slice") else {
        reader.bad(span, field, format!("missing; right is e.g. slice = \"{EXAMPLE_SLICE}\""));
        return None;
    };
    let text = reader.text(value, field, EXAMPLE_SLICE)?;
    match SliceRef::parse(text) {
        Ok(slice) if *slice.path() == CgroupPath::root() => {
            let what = format!("{} is the root, which has all CPUs; name a slice below it", quote(text));
            reader.bad(&value.span(), field, what);
            None
        }
        Ok(slice) => Some(slice),
        Err(error) => {
            reader.bad(&value.span(), field, error.to_string());
            None
        }
    }
}

fn read_cpus(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    field: &str,
) -> Option<CpuSet> {
    let Some(value) = table.get("cpus") else {
        reader.bad(span, field, format!("missing; right is e.g. cpus = \"{EXAMPLE_CPUS}\""));
        return None;
    };
    let text = reader.text(value, field, EXAMPLE_CPUS)?;
    let refuse = |error| {
        let what = format!("{} is no list of CPUs: {error}; right is e.g. \"{EXAMPLE_CPUS}\"", quote(text));
        reader.bad(&value.span(), field, what);
    };
    CpuSet::parse(text).map_err(refuse).ok()
}

/// What is wrong with `rule` in the company of those that came before it: a slice has one set of CPUs, and one below
/// another has a part of what that has.
pub(super) fn contradiction(rule: &LayoutRule, earlier: &[LayoutRule]) -> Option<Problem> {
    let (name, _) = rule.described.split_once(' ').unwrap_or((&rule.described, ""));
    let problem =
        |field: &str, what| Problem { at: rule.location.clone(), field: format!("{name}{field}"), what };
    earlier.iter().find_map(|other| {
        let (mine, theirs) = (rule.slice.path(), other.slice.path());
        if mine == theirs {
            let what = format!("a second entry for {}; the first is at {}, keep one", rule.slice, other.location);
            return Some(problem("", what));
        }
        let (upper, lower) = if mine.is_below(theirs) { (other, rule) } else { (rule, other) };
        let related = lower.slice.path().is_below(upper.slice.path());
        let outside = lower.cpus.difference(&upper.cpus);
        (related && !outside.is_empty()).then(|| {
            let what = format!(
                "{} is in {}, which gets {}, so it cannot have {outside}; change one of the two (the other is at {})",
                lower.slice, upper.slice, upper.cpus, other.location
            );
            problem(".cpus", what)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, SystemAccounts, load};
    use std::{fs, path::Path};

    fn parse(text: &str) -> Result<Layer, Vec<String>> {
        let shown = |problems: Vec<super::Problem>| problems.iter().map(ToString::to_string).collect();
        Layer::parse(Path::new("t.toml"), text, &SystemAccounts).map_err(shown)
    }

    /// What is wrong with a file of entries, each a slice and its CPUs on two lines after the head's.
    fn problems_of_file(entries: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        let table =
            |(slice, cpus): &(&str, &str)| format!("[[layout]]\nslice = '{slice}'\ncpus = '{cpus}'\n");
        fs::write(&file, entries.iter().map(table).collect::<String>()).unwrap();
        let prefix = format!("{}/", folder.path().display());
        let problems = load(Some(&file)).map_or_else(|error| error.problems, |_| Vec::new());
        problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }

    #[test]
    fn an_entry_is_a_slice_and_its_cpus() {
        let text =
            "[[layout]]\nslice = 'system.slice'\ncpus = '0-1'\n\n[[layout]]\nslice = '/a/b'\ncpus = '8,4'\n";
        let layout = parse(text).unwrap().layout;
        let seen: Vec<_> = layout
            .iter()
            .map(|rule| (rule.slice.path().to_string(), rule.cpus.to_string(), &*rule.described))
            .collect();
        assert_eq!(
            seen,
            [
                ("/system.slice".to_owned(), "0-1".to_owned(), "layout[1] slice=system.slice"),
                ("/a/b".to_owned(), "4,8".to_owned(), "layout[2] slice=/a/b"),
            ]
        );
        assert_eq!(layout[1].location.to_string(), "t.toml:5");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, message) in [
            ("cpus = '0'", "t.toml:1: layout[1].slice: missing; right is e.g. slice = \"user-1003.slice\""),
            ("slice = 'a.slice'", "t.toml:1: layout[1].cpus: missing; right is e.g. cpus = \"0-1,4,8-19\""),
            (
                "slice = 'a.slice'\ncpus = 4",
                "t.toml:3: layout[1].cpus: is a whole number; right is a text, e.g. \"0-1,4,8-19\"",
            ),
            (
                "slice = 'a.slice'\ncpus = '19-4'",
                "t.toml:3: layout[1].cpus: \"19-4\" is no list of CPUs: the range 19-4 runs backwards, right is 4-19; right is e.g. \"0-1,4,8-19\"",
            ),
            (
                "slice = 'a.slice'\ncpus = ''",
                "t.toml:3: layout[1].cpus: \"\" is no list of CPUs: names no CPU; right is e.g. \"0-1,4,8-19\"",
            ),
            (
                "slice = 'a.slice'\ncpus = '0'\ncpu = '1'",
                "t.toml:4: layout[1].cpu: unknown key; did you mean \"cpus\"? (known: slice, cpus)",
            ),
            (
                "slice = '-.slice'\ncpus = '0'",
                "t.toml:2: layout[1].slice: \"-.slice\" is the root, which has all CPUs; name a slice below it",
            ),
            (
                "slice = 'a'\ncpus = '0'",
                "t.toml:2: layout[1].slice: \"a\" is neither a slice nor a path; a slice ends in \".slice\", a path begins with \"/\"",
            ),
        ] {
            assert_eq!(parse(&format!("[[layout]]\n{text}\n")).unwrap_err(), [message], "{text}");
        }
    }

    #[test]
    fn a_slice_has_one_entry_however_it_is_written() {
        assert_eq!(
            problems_of_file(&[("a.slice", "0"), ("b.slice", "0"), ("/a.slice", "1")]),
            ["t.toml:7: layout[3]: a second entry for /a.slice; the first is at t.toml:1, keep one"]
        );
        assert!(problems_of_file(&[("a.slice", "0"), ("ab.slice", "1"), ("b.slice", "0-3")]).is_empty());
    }

    #[test]
    fn no_slice_is_wider_than_one_above_it_in_whatever_order() {
        let (user, aimgr) = (("user.slice", "0-3"), ("user-1003.slice", "2-5"));
        let told = "t.toml:4: layout[2].cpus: user-1003.slice is in user.slice, which gets 0-3, so it cannot have \
            4-5; change one of the two (the other is at t.toml:1)";
        assert_eq!(problems_of_file(&[user, aimgr]), [told]);
        assert_eq!(problems_of_file(&[aimgr, user]), [told]);
        assert!(problems_of_file(&[user, ("user-1003.slice", "2-3")]).is_empty());
    }
}
