//! `procwatch check --explain`: which rule on threads holds for a process, and why others do not.

use std::io::{self, Write};

use procfs::ProcError;
use serde_json::{Value, json};

use super::{line::program_of_line, meaning};
use crate::{
    agent::AgentError,
    config::{
        Config, Program, ThreadRule,
        threads::{choose, why_not},
    },
    explain::ExplainError,
    host, inspect,
    orphans::protected::is_protected,
    text::{Text, escape_cut},
    users::UserNames,
};

/// Most characters of a command line that people are shown.
const MOST_SHOWN: usize = 120;

/// A process and the rule that holds for it.
pub(super) struct Explanation<'a> {
    /// Its pid; `None` for one that is only thought of.
    pid: Option<u32>,
    program: Program,
    config: &'a Config,
    /// Place of the rule that holds.
    chosen: usize,
}

impl<'a> Explanation<'a> {
    /// Looks at a process by its pid, or takes a command line apart.
    pub(super) fn of(asked: &str, user: Option<&str>, config: &'a Config) -> Result<Self, AgentError> {
        let is_pid = !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit());
        let (pid, program) = match (is_pid, user) {
            (true, None) => {
                let (pid, program) = by_pid(asked)?;
                (Some(pid), program)
            }
            (true, Some(_)) => {
                let what = format!("--user belongs to a command line; process {asked} has its own user");
                return Err(AgentError::Usage(what));
            }
            (false, user) => (None, program_of_line(asked, user)?),
        };
        let chosen = choose(&config.threads, &program);
        Ok(Self { pid, program, config, chosen })
    }

    /// Writes it for people, or as one JSON object.
    pub(super) fn write(&self, out: &mut impl Write, json: bool) -> io::Result<()> {
        if json {
            serde_json::to_writer_pretty(&mut *out, &self.object())?;
            writeln!(out)
        } else {
            self.write_lines(out)
        }
    }

    fn rule(&self) -> &'a ThreadRule {
        &self.config.threads[self.chosen]
    }

    /// Why nothing but alerts and a diagnosis is done to it, if so.
    fn protection(&self) -> Option<&'static str> {
        if self.rule().protect {
            Some("its rule protects it")
        } else if self.config.protect.fits(&self.program) {
            Some("the list protect names it")
        } else if self.pid == Some(1) || is_protected(&self.program.comm) {
            Some("the machine needs it")
        } else {
            None
        }
    }

    fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let Program { uid, comm, exe, argv, cgroup } = &self.program;
        let user = UserNames::new().name(*uid).map_or_else(|| uid.to_string(), ToString::to_string);
        let pid = self.pid.map(|pid| format!("{pid} ")).unwrap_or_default();
        writeln!(out, "{pid}{comm} of {user}: {}", written(self.rule()))?;
        let unknown = || {
            let hint = if self.pid.is_some() && !host::is_root() { "; root may look" } else { "" };
            format!("not known{hint}")
        };
        writeln!(out, "exe     {}", exe.as_ref().map_or_else(unknown, ToString::to_string))?;
        let argv = argv.as_ref().map(|argv| escape_cut(&joined(argv), MOST_SHOWN));
        writeln!(out, "argv    {}", argv.unwrap_or_else(unknown))?;
        writeln!(out, "cgroup  {}", cgroup.as_ref().map_or_else(unknown, ToString::to_string))?;
        writeln!(out, "rules")?;
        for (index, rule) in self.config.threads.iter().enumerate() {
            match self.verdict(index) {
                ("no", why) => writeln!(out, "  no   {}: {why}", written(rule))?,
                ("yes", _) => writeln!(out, "  yes  {}", written(rule))?,
                _ => writeln!(out, "  -    {}: not looked at", written(rule))?,
            }
        }
        writeln!(out, "means")?;
        for (what, how) in meaning::lines(self.rule(), self.protection(), self.config.mode) {
            writeln!(out, "  {what:9}  {how}")?;
        }
        out.flush()
    }

    /// What came of a rule: `no` and why, `yes`, or `not-looked-at`.
    fn verdict(&self, index: usize) -> (&'static str, String) {
        if index > self.chosen {
            return ("not-looked-at", String::new());
        }
        match why_not(&self.config.threads[index], &self.program) {
            Some(mismatch) => ("no", mismatch.to_string()),
            None => ("yes", String::new()),
        }
    }

    fn object(&self) -> Value {
        let Program { uid, comm, exe, argv, cgroup } = &self.program;
        let rules = self.config.threads.iter().enumerate().map(|(index, rule)| {
            let (verdict, why) = self.verdict(index);
            json!({
                "rule": rule.described,
                "location": rule.location.as_ref().map(ToString::to_string),
                "verdict": verdict,
                "why": (verdict == "no").then_some(why),
            })
        });
        json!({
            "pid": self.pid,
            "uid": uid,
            "user": UserNames::new().name(*uid),
            "comm": comm,
            "exe": exe,
            "argv": argv,
            "cgroup": cgroup.as_ref().map(ToString::to_string),
            "mode": self.config.mode,
            "rule": self.rule().described,
            "location": self.rule().location.as_ref().map(ToString::to_string),
            "rules": rules.collect::<Vec<_>>(),
            "means": meaning::object(self.rule()),
            "protected": self.protection(),
        })
    }
}

/// A rule and where it stands.
fn written(rule: &ThreadRule) -> String {
    let place = rule.location.as_ref().map_or_else(|| "built in".to_owned(), ToString::to_string);
    format!("{} ({place})", rule.described)
}

fn joined(argv: &[Text]) -> Vec<u8> {
    argv.iter().map(Text::as_bytes).collect::<Vec<_>>().join(&b' ')
}

fn by_pid(asked: &str) -> Result<(u32, Program), AgentError> {
    let Ok(pid) = asked.parse::<i32>() else {
        return Err(AgentError::Usage(format!("--explain {asked}: no pid is so large")));
    };
    let program = inspect::program_by_pid(pid).map_err(|error| match error {
        ProcError::NotFound(_) => ExplainError::None(pid.unsigned_abs()),
        other => ExplainError::Unreadable { pid: pid.unsigned_abs(), source: io::Error::other(other) },
    })?;
    Ok((pid.unsigned_abs(), program))
}

#[cfg(test)]
mod tests;
