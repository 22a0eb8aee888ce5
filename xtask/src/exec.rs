//! Running other programs: argument vectors only, no shell, one clear message when one fails.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Runs `command` with this terminal's streams and expects it to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", show(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", show(command));
    }
    Ok(())
}

/// Runs `command`, expects it to succeed and returns what it wrote to stdout.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let bytes = read_bytes(command)?;
    String::from_utf8(bytes).with_context(|| format!("{} wrote no valid text", show(command)))
}

/// Like [`read`], for what is no text.
pub(crate) fn read_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", show(command), output.status, stderr.trim());
    }
    Ok(output.stdout)
}

/// Runs `command` quietly and says whether it succeeded; one that cannot be started did not.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok_and(|output| output.status.success())
}

/// Becomes `command`, so that it gets the terminal's signals; returns only when that fails.
pub(crate) fn replace(command: &mut Command) -> anyhow::Error {
    anyhow::Error::new(command.exec()).context(format!("cannot start {}", show(command)))
}

/// Runs `command` and keeps what it writes.
fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", show(command)))
}

/// The one line that matters of what a failed program wrote: its first error, else its last line.
pub(crate) fn gist(text: &str) -> &str {
    let is_error = |line: &&str| ["error", "E: ", "fatal"].iter().any(|start| line.starts_with(start));
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.clone().find(is_error).or_else(|| lines.next_back()).unwrap_or_default()
}

/// The command as a person would type it, without its folder and its environment.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_command_and_its_words() {
        let error = read(Command::new("/bin/cat").arg("/no/such/file")).unwrap_err().to_string();
        assert!(error.starts_with("`cat /no/such/file` failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn gist_is_the_first_error_or_the_last_line() {
        let rustup =
            "`rustup component add` failed: info: downloading\nerror: could not download\nCaused by:\n x";
        assert_eq!(gist(rustup), "error: could not download");
        assert_eq!(gist("one line"), "one line");
        assert_eq!(gist("first\n  last\n\n"), "last");
        assert_eq!(gist(""), "");
    }

    #[test]
    fn missing_program_is_named() {
        let error = format!("{:#}", run(&mut Command::new("no-such-program")).unwrap_err());
        assert!(error.starts_with("cannot start `no-such-program`"), "{error}");
        assert!(!succeeds(&mut Command::new("no-such-program")));
    }
}
