//! What a virtual machine is started for, and how it gets in: an archive in the place of a disk.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// What a guest is to do.
pub(crate) struct Job {
    /// What it is called where its files are kept.
    pub(crate) name: &'static str,
    /// The files it gets, in the folder that it works in, by their names there.
    pub(crate) files: Vec<(String, Content)>,
    /// The program that is run there, as root; a script by its first line.
    pub(crate) command: String,
    /// Number of its CPUs.
    pub(crate) cpus: u32,
    /// More words for its kernel's command line.
    pub(crate) kernel_options: &'static str,
    /// Whether what it writes is shown as it comes.
    pub(crate) shown: bool,
    /// How long the command may take, each time.
    pub(crate) timeout: Duration,
    /// How often the machine is started, with what is on its disk then; the command finds the number in `BOOT`.
    pub(crate) boots: u32,
}

/// What is in a file of a job.
pub(crate) enum Content {
    /// The same as in this file, which is executable.
    Copy(PathBuf),
    /// This.
    Text(String),
}

impl Job {
    /// Writes it as an archive that a guest reads as a disk.
    pub(crate) fn pack(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut tar = tar::Builder::new(io::BufWriter::new(file));
        text(&mut tar, "run", &self.command)?;
        text(&mut tar, "seconds", &self.timeout.as_secs().to_string())?;
        text(&mut tar, "boots", &self.boots.to_string())?;
        for (name, content) in &self.files {
            match content {
                Content::Text(content) => text(&mut tar, name, content)?,
                Content::Copy(source) => tar
                    .append_path_with_name(source, name)
                    .with_context(|| format!("cannot pack {}", source.display()))?,
            }
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }
}

/// Adds an executable text.
fn text(tar: &mut tar::Builder<impl io::Write>, name: &str, content: &str) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, name, content.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_job_is_an_archive_of_whole_sectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.tar");
        let job = Job {
            name: "one",
            files: vec![("tests/one".to_owned(), Content::Text("1".to_owned()))],
            command: "#!/bin/true\n".to_owned(),
            cpus: 1,
            kernel_options: "",
            shown: false,
            timeout: Duration::from_secs(7),
            boots: 1,
        };
        job.pack(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len() % 512, 0);
        let mut tar = tar::Archive::new(File::open(&path).unwrap());
        let names: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["run", "seconds", "boots", "tests/one"]);
    }
}
