//! What stands in an outlet's way on this machine, as far as that can be known without telling anybody.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{User, geteuid};

use super::wall;
use crate::{
    config::outlet::{OutletConfig, OutletKind, Url, Webhook},
    text::escape,
};

/// Longest content of a file with a secret, bytes.
const MAX_SECRET: u64 = 8192;

/// What would make messages fail, or tell secrets: a line each, escaped.
pub fn obstacles(outlet: &OutletConfig) -> Vec<String> {
    match &outlet.kind {
        OutletKind::Webhook(webhook) => of_webhook(webhook),
        OutletKind::Mail(mail) => of_program_of(&mail.sendmail, &mail.run_as),
        OutletKind::Command(command) => of_program_of(&command.program, &command.run_as),
        OutletKind::Wall => of_program_of(Path::new(wall::PROGRAM), "root"),
    }
}

fn of_program_of(program: &Path, run_as: &str) -> Vec<String> {
    let found = match User::from_name(run_as) {
        Ok(Some(user)) => of_program(program, user.uid.as_raw()),
        Ok(None) => Err(format!(
            "there is no user {} to run it; create it, or name another one in run-as",
            escape(run_as.as_bytes())
        )),
        Err(error) => Err(format!("user {} cannot be looked up: {error}", escape(run_as.as_bytes()))),
    };
    found.err().into_iter().collect()
}

fn of_webhook(webhook: &Webhook) -> Vec<String> {
    let mut found = Vec::new();
    if let Url::File(path) = &webhook.url {
        found.extend(of_secret(path).err());
        found.extend(
            read_secret(path).and_then(|text| Url::plain(&text).map_err(|what| told(path, &what))).err(),
        );
    }
    if let Some(path) = &webhook.token_file {
        if let Url::Plain { shown, .. } = &webhook.url
            && shown.starts_with("http:")
            && !is_loopback(shown)
        {
            found.push(format!("{shown}: the token is sent for all to read on the way; right is https"));
        }
        found.extend(of_secret(path).err());
        found.extend(read_secret(path).err());
    }
    if let Some(path) = &webhook.ca_file {
        found.extend(super::webhook::certificates_in(path).err());
    }
    found
}

/// Whether it is an address of this machine, `http://127.0.0.1:80`.
fn is_loopback(shown: &str) -> bool {
    let uri: Option<ureq::http::Uri> = shown.parse().ok();
    let host = uri.as_ref().and_then(ureq::http::Uri::host).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// A program that may be run with the rights of `uid`: nobody but root and that user can change it.
pub(super) fn of_program(program: &Path, uid: u32) -> Result<(), String> {
    let real = fs::canonicalize(program).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => told(program, "there is no such file; install it"),
        _ => told(program, &error.to_string()),
    })?;
    let found = fs::metadata(&real).map_err(|error| told(program, &error.to_string()))?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err(told(program, "is not executable; right is a program, or chmod 755"));
    }
    // What stands in a folder that others may write may become something else.
    for path in real.ancestors() {
        let found = fs::metadata(path).map_err(|error| told(path, &error.to_string()))?;
        let is_sticky_folder = found.is_dir() && found.mode() & 0o1000 != 0;
        if found.mode() & 0o022 != 0 && !is_sticky_folder {
            return Err(told(path, "others may write it; right is chmod go-w"));
        }
        if ![0, uid, geteuid().as_raw()].contains(&found.uid()) {
            let what = format!("belongs to uid {}, who could change it; right is chown root", found.uid());
            return Err(told(path, &what));
        }
    }
    Ok(())
}

/// A file that nobody else may read.
fn of_secret(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.mode() & 0o077 != 0 => {
            Err(told(path, "others may read or write it, and it is a secret; right is chmod 600"))
        }
        // What else is wrong, reading tells.
        _ => Ok(()),
    }
}

/// The one line in a file.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET).read_to_string(&mut text))
        .map_err(|error| told(path, &format!("cannot be read: {error}")))?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(told(path, "has not one line of text in it"));
    }
    Ok(text.to_owned())
}

/// What is to be said of a file.
pub(super) fn told(path: &Path, what: &str) -> String {
    format!("{}: {what}", escape(PathBuf::from(path).as_os_str().as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_that_others_may_change_is_not_run() {
        let me = geteuid().as_raw();
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("x");
        let said = |path: &Path, what: &str| Err(told(path, what));
        assert_eq!(of_program(&program, me), said(&program, "there is no such file; install it"));
        fs::write(&program, "").unwrap();
        let not_executable = "is not executable; right is a program, or chmod 755";
        assert_eq!(of_program(&program, me), said(&program, not_executable));
        assert_eq!(of_program(folder.path(), me), said(folder.path(), not_executable));
        with_mode(&program, 0o755);
        assert_eq!(of_program(&program, me), Ok(()));
        with_mode(&program, 0o775);
        assert_eq!(of_program(&program, me), said(&program, "others may write it; right is chmod go-w"));
        with_mode(&program, 0o755);
        with_mode(folder.path(), 0o777);
        assert_eq!(of_program(&program, me), said(folder.path(), "others may write it; right is chmod go-w"));
        assert_eq!(of_program(Path::new("/bin/sh"), 65534), Ok(()));
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        for (shown, is_ours) in [
            ("http://127.0.0.1:80", true),
            ("http://[::1]", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(is_loopback(shown), is_ours, "{shown}");
        }
    }

    #[test]
    fn secrets_are_one_line_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(read_secret(&path).unwrap_err().contains("cannot be read: No such file"));
        for (content, found) in [
            ("  abc \n", Ok("abc".to_owned())),
            ("", Err(told(&path, "has not one line of text in it"))),
            ("a\nb\n", Err(told(&path, "has not one line of text in it"))),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(read_secret(&path), found);
        }
        with_mode(&path, 0o644);
        assert!(of_secret(&path).unwrap_err().ends_with("right is chmod 600"));
        with_mode(&path, 0o600);
        assert_eq!(of_secret(&path), Ok(()));
    }
}
