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
    use std::path::Path;

    use super::*;
    use crate::config::{Layer, SystemAccounts};

    /// What stands between two headings.
    fn section<'p>(page: &'p str, heading: &str) -> &'p str {
        let (_, rest) = page.split_once(heading).unwrap();
        rest.split("\n.Sh ").next().unwrap()
    }

    #[test]
    fn what_the_page_gives_as_examples_is_taken() {
        let mut tried = 0;
        for table in ["socket", "log", "history", "metrics"] {
            for line in section(CONFIGURATION, &format!(".Sh [{table}]:")).lines() {
                let Some((key, value)) = line.strip_prefix(".It Ic ").and_then(|it| it.split_once(" No = "))
                else {
                    continue;
                };
                let value = value.replace("\\(dq", "\"").replace(", ...", "");
                for value in value.split(" | ") {
                    tried += 1;
                    let text = format!("[{table}]\n{key} = {value}\n");
                    let parsed = Layer::parse(Path::new("page"), &text, &SystemAccounts);
                    assert!(parsed.is_ok(), "{text}: {parsed:?}");
                }
            }
        }
        assert!(tried > 15, "{tried}");
    }

    #[test]
    fn the_tables_that_are_an_interface_are_described_column_by_column() {
        let schema = include_str!("../history/schema.sql");
        for table in ["health_alerts", "health_metrics"] {
            let (before, _) = schema.split_once(&format!("CREATE TABLE {table} ")).unwrap();
            let (_, published) = before.rsplit_once("-- Published: ").unwrap();
            let columns: Vec<&str> = published.trim().trim_end_matches('.').split(", ").collect();
            let described = section(CONFIGURATION, &format!(".Li {table} ,"));
            let list = described.split("\n.El").next().unwrap();
            let found: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix(".It Li ")).collect();
            assert_eq!(found, columns, "{table}");
        }
    }

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
