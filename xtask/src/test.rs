//! `cargo xtask test`: unit tests as the person who called, live tests against this kernel as root.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    caller, exec,
    report::{Counts, Skip},
    tools, vm,
    workspace::Workspace,
};

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Only unit tests
    #[arg(long, conflicts_with = "live")]
    unit: bool,
    /// Only tests against the running kernel, and those in a virtual machine
    #[arg(long)]
    live: bool,
    /// None in a virtual machine
    #[arg(long)]
    no_vm: bool,
}

/// Runs the tests that `options` ask for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    tools::test_programs()?;
    build::programs(workspace)?;
    if !options.live {
        unit(workspace, options.filter.as_deref())?;
    }
    if options.unit { Ok(()) } else { live(workspace, options.filter.as_deref(), !options.no_vm) }
}

/// Runs the unit tests of the workspace's default members and those of the live tests' own tools.
fn unit(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    exec::run(caller::cargo(workspace)?.arg("test").args(filter))?;
    exec::run(caller::cargo(workspace)?.args(["test", "--package", "procwatch-tests", "--lib"]).args(filter))
}

/// Runs the live tests, all of them even when one fails, and tells how many passed and which could not run.
///
/// `in_vm` says whether those that want a machine of their own get one; else they say themselves that they have none.
fn live(workspace: &Workspace, filter: Option<&str>, in_vm: bool) -> Result<()> {
    let agent = build::agent(workspace, Profile::Release)?;
    let programs = test_programs(workspace)?;
    let skip_log = workspace.target.join("test-skips.log");
    fs::write(&skip_log, "").with_context(|| format!("cannot empty {}", skip_log.display()))?;
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    let (for_guest, here): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| in_vm && vm::is_for_guest(program));
    for program in &here {
        let mut command = live_command(workspace, program, &agent, &skip_log)?;
        let (succeeded, output) = run_and_listen(command.args(filter))?;
        counts.add(&output);
        if !succeeded {
            failed.push(program.name.clone());
        }
    }
    let mut skips = Skip::parse_log(&fs::read_to_string(&skip_log)?);
    if !for_guest.is_empty() {
        let outcome = vm::run_default(workspace, &for_guest, &agent, filter)?;
        counts.merge(&outcome.counts);
        skips.extend(outcome.skips);
        failed.extend(outcome.failure.map(|failure| format!("in a virtual machine: {failure}")));
    }
    caller::hand_over(&workspace.target)?;
    io::stdout().write_all(counts.summary(&skips).as_bytes())?;
    if !failed.is_empty() {
        bail!("live tests failed: {}", failed.join(", "));
    }
    let forbidden = skips.iter().filter(|skip| !skip.is_allowed_in_ci()).count();
    if forbidden > 0 && std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!(
            "{forbidden} of the skips above must not happen in CI: what they need is there or can be installed"
        );
    }
    Ok(())
}

/// A compiled file of live tests.
pub(crate) struct TestProgram {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
}

/// Compiles the live tests as the person who called and finds the programs.
pub(crate) fn test_programs(workspace: &Workspace) -> Result<Vec<TestProgram>> {
    let mut cargo = caller::cargo(workspace)?;
    cargo.args(["test", "--package", "procwatch-tests", "--test", "*", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    if fs::read_dir(workspace.root.join("tests/tests")).is_err() {
        return Ok(Vec::new());
    }
    let messages = exec::read(&mut cargo)?;
    Ok(messages.lines().filter_map(test_program).collect())
}

/// The program that a message of cargo tells of, if it tells of one.
fn test_program(message: &str) -> Option<TestProgram> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"].as_bool()? && message["target"]["kind"][0] == "test";
    let name = message["target"]["name"].as_str().filter(|_| is_test)?.to_owned();
    Some(TestProgram { name, path: message["executable"].as_str()?.into() })
}

/// The command that runs one program of live tests as root.
fn live_command(workspace: &Workspace, program: &TestProgram, agent: &Path, skips: &Path) -> Result<Command> {
    let variable = |name: &str, value: &Path| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        word
    };
    // By `env`, because sudo lets no variables through by itself.
    let mut command = caller::as_root(Path::new("env"))?;
    command.arg(variable("PROCWATCH_BIN", agent)).arg(variable("PROCWATCH_SKIP_LOG", skips));
    command.arg(&program.path).arg("--test-threads=1").current_dir(workspace.root.join("tests"));
    Ok(command)
}

/// Runs `command`, shows what it writes to stdout as it comes, and keeps it.
fn run_and_listen(command: &mut Command) -> Result<(bool, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", exec::show(command)))?;
    let mut output = Vec::new();
    let mut pipe = child.stdout.take().context("the pipe of a test program is gone")?;
    let mut chunk = [0; 4096];
    loop {
        let length = pipe.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        output.extend_from_slice(&chunk[..length]);
        io::stdout().write_all(&chunk[..length])?;
        io::stdout().flush()?;
    }
    Ok((child.wait()?.success(), String::from_utf8_lossy(&output).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_tests_are_taken_from_cargos_messages() {
        let message = |kind: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"stream"}},
                    "profile":{{"test":true}},"executable":{executable}}}"#
            )
        };
        let program = test_program(&message("test", r#""/t/stream-1""#)).unwrap();
        assert_eq!((program.name.as_str(), program.path.as_path()), ("stream", Path::new("/t/stream-1")));
        assert!(test_program(&message("lib", r#""/t/lib-1""#)).is_none());
        assert!(test_program(&message("test", "null")).is_none());
        assert!(test_program(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(test_program("no JSON").is_none());
    }

    #[test]
    fn output_is_kept_and_failure_is_told() {
        assert_eq!(run_and_listen(Command::new("printf").arg("")).unwrap(), (true, String::new()));
        assert!(!run_and_listen(&mut Command::new("false")).unwrap().0);
    }
}
