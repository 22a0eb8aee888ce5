//! Finds, reads and layers the files.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    Accounts, Config, ConfigError, Layer, Location, PlaceRule, Problem, Switch, SystemAccounts,
    layout::contradiction,
    outlet,
    paths::{Written, shared},
    threads,
};

/// Where the files are when none is named.
pub const DEFAULT_FOLDER: &str = "/etc/procwatch";

/// More than anyone writes by hand, bytes.
const MAX_FILE: u64 = 1 << 20;

/// The configuration of this machine: of the file alone if one is given, else of `/etc/procwatch` as [`load_from`]
/// says.
///
/// # Errors
/// All that is wrong with all files.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    match file {
        Some(file) => layer(&[file.to_owned()], &SystemAccounts),
        None => load_from(Path::new(DEFAULT_FOLDER), &SystemAccounts),
    }
}

/// Built-in defaults, over them `folder/procwatch.toml` if it exists, over that `folder/procwatch.d/*.toml` by name.
/// A later single value replaces, key by key; so does a later `[[threads]]` without a match key. All else adds, each later
/// `[[threads]]` after the earlier ones.
///
/// # Errors
/// All that is wrong with all files.
pub fn load_from(folder: &Path, accounts: &dyn Accounts) -> Result<Config, ConfigError> {
    layer(&default_files(folder)?, accounts)
}

/// Whether anything but the built-in defaults would be read from `folder`, or would fail to.
pub fn default_files_exist(folder: &Path) -> bool {
    default_files(folder).map_or(true, |files| !files.is_empty())
}

fn default_files(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let main = folder.join("procwatch.toml");
    // A dangling link is there, and opening it will say what is wrong.
    let mut files: Vec<PathBuf> = fs::symlink_metadata(&main).is_ok().then_some(main).into_iter().collect();
    let drop_ins = folder.join("procwatch.d");
    files.extend(drop_ins_in(&drop_ins).map_err(|error| of_file(&drop_ins, &error))?);
    Ok(files)
}

fn drop_ins_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn layer(files: &[PathBuf], accounts: &dyn Accounts) -> Result<Config, ConfigError> {
    let mut config = Config { files: files.to_owned(), ..Config::default() };
    let (mut problems, mut written) = (Vec::new(), Written::new());
    for file in files {
        let parsed = read(file).map_err(|problem| vec![problem]);
        match parsed.and_then(|text| Layer::parse(file, &text, accounts)) {
            Ok(mut layer) => {
                written.append(&mut layer.written);
                problems.extend(add(&mut config, layer));
            }
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(shared(&config, &written));
    // Whom a file protects may stand in a rule of another one.
    problems.extend(threads::against_protection(&config.threads, &config.protect));
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
}

/// Lays one file over those before it. Two rules for one owner contradict each other, wherever they stand; so do
/// two entries for one slice, and one that is wider than one above it.
fn add(config: &mut Config, layer: Layer) -> Vec<Problem> {
    config.mode = layer.mode.unwrap_or(config.mode);
    config.backend = layer.backend.unwrap_or(config.backend);
    config.favordynmods = layer.favordynmods.unwrap_or(config.favordynmods);
    config.history = match layer.history {
        Some(Switch::On(history)) => Some(history.over(config.history.take())),
        Some(Switch::Off) => None,
        None => config.history.take(),
    };
    config.pin = layer.pin.unwrap_or(config.pin);
    config.protect.add(layer.protect);
    if let Some(socket) = layer.socket {
        config.socket = socket.over(config.socket.take());
    }
    let mut problems: Vec<Problem> = threads::add(&mut config.threads, layer.threads).into_iter().collect();
    match layer.log {
        Some(Switch::On(log)) => take(&mut config.log, |earlier| log.over(earlier), &mut problems),
        Some(Switch::Off) => config.log = None,
        None => {}
    }
    if let Some(metrics) = layer.metrics {
        take(&mut config.metrics, |earlier| metrics.over(earlier), &mut problems);
    }
    for rule in layer.place {
        match config.place.iter().find(|earlier| earlier.owner == rule.owner) {
            Some(earlier) => problems.push(second_rule(&rule, earlier)),
            None => config.place.push(rule),
        }
    }
    for rule in layer.layout {
        problems.extend(contradiction(&rule, &config.layout));
        config.layout.push(rule);
    }
    for rule in layer.outlets {
        problems.extend(outlet::contradiction(&rule, &config.outlets));
        config.outlets.push(rule);
    }
    problems
}

/// Puts what comes of `place` there.
fn take<T>(
    place: &mut Option<T>,
    lay_over: impl FnOnce(Option<T>) -> Result<T, Problem>,
    problems: &mut Vec<Problem>,
) {
    match lay_over(place.take()) {
        Ok(laid) => *place = Some(laid),
        Err(problem) => problems.push(problem),
    }
}

fn second_rule(rule: &PlaceRule, earlier: &PlaceRule) -> Problem {
    let (field, _) = rule.described.split_once(' ').unwrap_or((&rule.described, ""));
    Problem {
        at: rule.location.clone(),
        field: field.to_owned(),
        what: format!(
            "a second rule for {}; the first is at {}, keep one",
            rule.owner.shown(),
            earlier.location
        ),
    }
}

fn read(file: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|opened| {
        if opened.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(opened) }
    });
    opened
        .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| of_file(file, &error))?;
    let problem = |line, what: &str| Problem {
        at: Location { file: file.to_owned(), line },
        field: String::new(),
        what: what.to_owned(),
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(problem(None, "is larger than 1 MiB; a configuration is a few lines"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        problem(Some(line), "is not UTF-8 text; save it as UTF-8")
    })
}

fn of_file(file: &Path, error: &io::Error) -> Problem {
    let what = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; check the name".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory; name a TOML file".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read by this user; run as root".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    Problem { at: Location::of_file(file), field: String::new(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Owner, record::Mode};

    /// A folder like /etc/procwatch with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("procwatch.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_drop_in_changes_the_keys_that_it_names() {
        let folder = folder(&[
            (
                "procwatch.toml",
                "[history]\npath='/srv/h.db'\nevents=['exec']\n[metrics]\nlisten='127.0.0.1:1'\n[log]\nmax-size='1M'\n",
            ),
            ("procwatch.d/1.toml", "[history]\nkeep='7d'\n[metrics]\nprocesses=7\n[log]\nsync='never'\n"),
        ]);
        let config = load_from(folder.path(), &Nobody).unwrap();
        let (history, metrics, log) = (config.history.unwrap(), config.metrics.unwrap(), config.log.unwrap());
        assert_eq!((history.path.to_str(), history.keep.as_secs()), (Some("/srv/h.db"), 604_800));
        assert!(history.events.contains(crate::record::Kind::Exec));
        assert_eq!((metrics.listen.to_string().as_str(), metrics.processes), ("127.0.0.1:1", 7));
        assert_eq!((log.max_size, log.sync), (1 << 20, crate::config::Sync::Never));
    }

    #[test]
    fn outputs_have_files_of_their_own() {
        for (first, second, message) in [
            (
                "",
                "\n[log]\npath='/var/lib/procwatch//history.db'\n",
                "2.toml:3: log.path: /var/lib/procwatch/history.db is that of history.path, too",
            ),
            (
                "[log]\npath='/srv/x'\n",
                "[history]\npath='/srv/x'\n",
                "1.toml:2: log.path: /srv/x is that of history.path, too",
            ),
            (
                "[metrics]\nlisten='/run/procwatch/procwatch.sock'\n",
                "",
                "1.toml:2: metrics.listen: /run/procwatch/procwatch.sock is that of socket.path, too",
            ),
        ] {
            let folder = folder(&[("procwatch.d/1.toml", first), ("procwatch.d/2.toml", second)]);
            let text = messages(load_from(folder.path(), &Nobody));
            assert!(text.contains(message), "{text}");
        }
        let apart =
            folder(&[("procwatch.d/1.toml", "history=false\n[log]\npath='/var/lib/procwatch/history.db'\n")]);
        load_from(apart.path(), &Nobody).unwrap();
    }

    struct Nobody;

    impl Accounts for Nobody {
        fn uid(&self, user: &str) -> Result<Option<u32>, String> {
            Err(format!("these tests name nobody, not even {user}"))
        }

        fn gid(&self, group: &str) -> Result<Option<u32>, String> {
            self.uid(group)
        }
    }

    fn messages(result: Result<Config, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn nothing_there_is_the_default() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(load_from(empty.path(), &Nobody).unwrap(), Config::default());
        assert!(!default_files_exist(empty.path()));
        assert!(!default_files_exist(&empty.path().join("no/such")));
    }

    #[test]
    fn later_files_replace_modes_and_levels_and_add_rules() {
        let folder = folder(&[
            (
                "procwatch.toml",
                "mode='enforce'\n[[threads]]\nlevels=[40]\n[[place]]\nuid=1\nslice='a.slice'\n",
            ),
            ("procwatch.d/20.toml", "mode='observe'\n"),
            (
                "procwatch.d/10.toml",
                "mode='enforce'\n[[threads]]\nlevels=[50]\n[[place]]\nuid=2\nslice='b.slice'\n",
            ),
            ("procwatch.d/30.conf", "nonsense"),
            ("procwatch.d/.40.toml", "nonsense"),
        ]);
        let config = load_from(folder.path(), &Nobody).unwrap();
        assert_eq!((config.mode, config.default_levels()), (Mode::Observe, &[50][..]));
        assert_eq!(
            config.place.iter().map(|rule| rule.owner).collect::<Vec<_>>(),
            [Owner::Uid(1), Owner::Uid(2)]
        );
        assert_eq!(config.files.len(), 3);
        assert!(default_files_exist(folder.path()));
    }

    #[test]
    fn all_files_are_reported_and_a_uid_has_one_rule() {
        let folder = folder(&[
            ("procwatch.toml", "[[place]]\nuid=7\nslice='a.slice'\n"),
            ("procwatch.d/1.toml", "mod='x'\n"),
            ("procwatch.d/2.toml", "\n[[place]]\nuid=7\nslice='b.slice'\n"),
        ]);
        let text = messages(load_from(folder.path(), &Nobody));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("1.toml:1: mod: unknown key"), "{text}");
        assert!(lines[1].contains("2.toml:2: place[1]: a second rule for uid 7; the first is at "), "{text}");
        assert!(lines[1].contains("procwatch.toml:1, keep one"), "{text}");
    }

    #[test]
    fn files_that_are_none() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("big.toml"), " ".repeat(1 + (1 << 20))).unwrap();
        fs::write(path("latin1.toml"), b"# one\n# gr\xfc\xdfe\n").unwrap();
        for (name, part) in [
            ("missing.toml", "missing.toml: there is no such file"),
            ("", "is a directory"),
            ("big.toml", "big.toml: is larger than 1 MiB"),
            ("latin1.toml", "latin1.toml:2: is not UTF-8"),
        ] {
            let text = messages(load(Some(&path(name))));
            assert!(text.contains(part), "{text}");
        }
        fs::write(path("full.toml"), " ".repeat(1 << 20)).unwrap();
        assert!(load(Some(&path("full.toml"))).is_ok());
    }

    #[test]
    fn a_drop_in_that_is_a_directory_or_a_dangling_link_is_said() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("procwatch.d/x.toml")).unwrap();
        std::os::unix::fs::symlink("/no/such", folder.path().join("procwatch.toml")).unwrap();
        let text = messages(load_from(folder.path(), &Nobody));
        assert!(text.contains("procwatch.toml: there is no such file"), "{text}");
        assert!(text.contains("x.toml: is a directory"), "{text}");
    }
}
