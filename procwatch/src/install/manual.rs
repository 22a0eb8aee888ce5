//! Man pages: of the commands from their own help, of the configuration as written.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::Cli;

/// The configuration's page.
const CONFIGURATION: &str = include_str!("../../../packaging/man/procwatch.toml.5");

/// All pages by the names of their files.
pub(super) fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = vec![("procwatch.toml.5".to_owned(), CONFIGURATION.as_bytes().to_vec())];
    add(root, &mut pages)?;
    Ok(pages)
}

/// Adds the page of a command and those of the commands below it.
fn add(command: Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    // clap's own help command repeats all others.
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let below: Vec<Command> = command.get_subcommands().filter(shown).cloned().collect();
    // The name with those above it: `procwatch-layout-apply`.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command)
        .title(name.to_uppercase())
        .source(concat!("procwatch ", env!("CARGO_PKG_VERSION")))
        .manual("procwatch")
        .render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    below.into_iter().try_for_each(|command| add(command, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_command_and_its_options() {
        let pages = pages().unwrap();
        let page = |name: &str| {
            let (_, page) = pages.iter().find(|(file, _)| file == name).unwrap();
            String::from_utf8(page.clone()).unwrap()
        };
        let watch = page("procwatch-watch.1");
        assert!(watch.contains(".TH PROCWATCH-WATCH 1"), "{watch}");
        assert!(watch.contains("\\-\\-lineage"), "{watch}");
        assert!(page("procwatch.1").contains("procwatch\\-run"), "the commands are listed");
        assert!(page("procwatch.toml.5").starts_with(".\\\""), "written by hand");
    }
}
