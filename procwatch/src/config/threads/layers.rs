//! The rules of several files together.

use glob::Pattern;
use procwatch_common::policy::MAX_THREAD_RULES;

use super::{
    super::{Match, Problem, Protect, ThreadRule, names::fits},
    contradiction::containments,
};
use crate::text::escape;

/// Lays the rules of a file over those of the files before it: after them, but before the catch-all, which one of the
/// file replaces. What is wrong: too many.
pub(in super::super) fn add(rules: &mut Vec<ThreadRule>, mut later: Vec<ThreadRule>) -> Option<Problem> {
    let catch_all = later.pop_if(|rule| rule.is_catch_all()).or_else(|| rules.last().cloned());
    rules.pop();
    rules.extend(later);
    let excess = rules.get(MAX_THREAD_RULES - 1).and_then(|rule| {
        let what = format!(
            "is one rule too many: {} with match keys are possible in all files; merge some by lists, e.g. \
             comm = [\"a\", \"b\"]",
            MAX_THREAD_RULES - 1
        );
        Some(Problem { at: rule.location.clone()?, field: rule.name().to_owned(), what })
    });
    rules.truncate(MAX_THREAD_RULES - 1);
    rules.extend(catch_all);
    excess
}

/// Rules that do something to processes that are protected, by a name, or by a path or a pattern below one.
pub(in super::super) fn against_protection(rules: &[ThreadRule], protect: &Protect) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in rules {
        let done = containments(rule).into_iter().next();
        if let (Some(victim), Some((path, action)), Some(at)) =
            (protected(&rule.matches, protect), done, rule.location.clone())
        {
            let what =
                format!("{action} would hit {victim}, which is in protect; take it out of one of the two");
            problems.push(Problem { at, field: format!("{}.{path}", rule.name()), what });
        }
    }
    problems
}

/// What both name, escaped.
fn protected(matches: &Match, protect: &Protect) -> Option<String> {
    let comm = matches.comms.iter().find(|comm| protect.has_comm(comm.as_bytes()));
    let exe = matches.exes.iter().map(Pattern::as_str).find(|exe| fits(&protect.exes, exe.as_bytes()));
    comm.map(ToString::to_string).or_else(|| exe.map(|exe| escape(exe.as_bytes()).into_owned()))
}
