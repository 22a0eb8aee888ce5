//! The process that a command line would become, for people who ask before they start it.

use std::{
    env, fs,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::getuid;

use crate::{
    agent::AgentError,
    config::{Accounts as _, Program, SystemAccounts},
    text::{Comm, Text, escape_cut},
};

/// So much of a script the kernel looks at for its interpreter, bytes (`BINPRM_BUF_SIZE`).
const SCRIPT_HEAD: u64 = 256;
/// Most scripts that are followed: `env` may lead to another script.
const MOST_SCRIPTS: usize = 4;
/// Most characters of a name that a message shows.
const MOST_SHOWN: usize = 60;

/// Takes the line apart at its blanks. Nobody knows its cgroup yet.
pub(super) fn program_of_line(line: &str, user: Option<&str>) -> Result<Program, AgentError> {
    let words: Vec<Vec<u8>> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
    if words.is_empty() {
        let what = "--explain: is empty; give a pid, or a command line such as \"python3 /opt/x/watch.py\"";
        return Err(AgentError::Usage(what.to_owned()));
    }
    let uid = user.map_or_else(|| Ok(getuid().as_raw()), uid_of)?;
    let Started { file, comm, argv } = start(words);
    Ok(Program {
        uid,
        comm,
        exe: file.map(|file| Text::new(file.as_os_str().as_bytes())),
        argv: Some(argv.into_iter().map(Text::new).collect()),
        cgroup: None,
    })
}

fn uid_of(user: &str) -> Result<u32, AgentError> {
    let shown = escape_cut(user.as_bytes(), MOST_SHOWN);
    let what = match SystemAccounts.uid(user) {
        Ok(Some(uid)) => return Ok(uid),
        Ok(None) => match user.parse() {
            Ok(uid) => return Ok(uid),
            Err(_) => "no such user; `getent passwd` lists those there are, a uid is possible too".to_owned(),
        },
        Err(why) => format!("cannot be looked up ({why}); give a uid"),
    };
    Err(AgentError::Usage(format!("--user {shown}: {what}")))
}

/// What an exec would make of a process.
struct Started {
    /// As /proc would name it; `None` when it is not there.
    file: Option<PathBuf>,
    comm: Comm,
    argv: Vec<Vec<u8>>,
}

/// Follows scripts to what runs them, as the kernel does, and through `env`. `words` are not empty.
fn start(mut words: Vec<Vec<u8>>) -> Started {
    for _ in 0..MOST_SCRIPTS {
        let Some((path, script)) = located(&words[0]).and_then(|path| Some((path.clone(), script(&path)?)))
        else {
            break;
        };
        let name = std::mem::replace(&mut words[0], path.into_os_string().into_encoded_bytes());
        let is_env = Comm::of_file(&script.interpreter).as_bytes() == b"env";
        match script.argument {
            // `env` runs what it is told to, and is gone.
            Some(program) if is_env && !program.starts_with(b"-") => words.insert(0, program),
            argument => {
                words.splice(..0, [Some(script.interpreter.clone()), argument].into_iter().flatten());
                let file = located(&script.interpreter).map(without_links);
                return Started { file, comm: Comm::of_file(&name), argv: words };
            }
        }
    }
    Started { file: located(&words[0]).map(without_links), comm: Comm::of_file(&words[0]), argv: words }
}

/// The file that a first word means: a path as it is, a name as the shell finds it.
fn located(word: &[u8]) -> Option<PathBuf> {
    let word = Path::new(std::ffi::OsStr::from_bytes(word));
    if word.as_os_str().as_bytes().contains(&b'/') {
        // A path that is not there yet is still one to be compared; one that leads from here is not known then.
        return (word.is_absolute() || word.exists()).then(|| word.to_owned());
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(word)).find(|path| path.is_file())
}

fn without_links(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}

/// The first line of a script.
struct Script {
    interpreter: Vec<u8>,
    /// All that follows, as one word.
    argument: Option<Vec<u8>>,
}

/// How a file says that it is to be run, when it is a script.
fn script(path: &Path) -> Option<Script> {
    // A pipe or a device would keep us waiting.
    if !path.is_file() {
        return None;
    }
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(SCRIPT_HEAD).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    let argument = argument.trim_ascii();
    (!interpreter.is_empty()).then(|| Script {
        interpreter: interpreter.to_vec(),
        argument: (!argument.is_empty()).then(|| argument.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, program and arguments of what a line becomes.
    fn started(line: &str) -> (String, Option<String>, Vec<String>) {
        let program = program_of_line(line, None).unwrap();
        assert_eq!((program.uid, program.cgroup), (getuid().as_raw(), None));
        let argv = program.argv.unwrap().iter().map(ToString::to_string).collect();
        (program.comm.to_string(), program.exe.map(|exe| exe.to_string()), argv)
    }

    fn real(path: &str) -> String {
        fs::canonicalize(path).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_taken() {
        let (comm, exe, argv) = started("cat  -n x");
        assert_eq!((&*comm, argv), ("cat", vec!["cat".into(), "-n".into(), "x".into()]));
        assert!(exe.is_some_and(|exe| exe.starts_with('/')));
        assert_eq!(started("/bin/sh").1, Some(real("/bin/sh")));
        assert_eq!(started("/no/such/x").1.as_deref(), Some("/no/such/x"));
        assert_eq!((started("no-such-program-here").1, started("./no-such-file").1), (None, None));
    }

    #[test]
    fn a_script_is_what_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let direct = script("watch.py", "#! /bin/sh -e u\nx\n");
        assert_eq!(
            started(&format!("{direct} a")),
            (
                "watch.py".into(),
                Some(real("/bin/sh")),
                vec!["/bin/sh".into(), "-e u".into(), direct, "a".into()]
            )
        );
        let by_env = script("other", "#!/usr/bin/env sh\n");
        let (comm, exe, argv) = started(&by_env);
        assert_eq!((&*comm, argv), ("sh", vec!["sh".into(), by_env]));
        assert!(exe.is_some_and(|exe| exe.starts_with('/')));
        // One that runs itself comes to an end here, too.
        let own = script("own", "");
        fs::write(&own, format!("#!/usr/bin/env {own}\n")).unwrap();
        assert_eq!(started(&own).2.len(), 1 + MOST_SCRIPTS);
        for text in ["#!", "#!\n/bin/sh", "", "# !/bin/sh"] {
            let path = script("none", text);
            assert_eq!(started(&path).2, [path], "{text:?}");
        }
    }
}
