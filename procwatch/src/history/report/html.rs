//! A report as one page of HTML that needs nothing else: no scripts, no fonts, no pictures from elsewhere.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::Path,
};

use jiff::tz::TimeZone;

use super::{
    Report, plot,
    sections::{self, Section, Table},
};
use crate::text::escape;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1d2430;background:#fff;max-width:72rem;\
    margin:2rem auto;padding:0 1rem}h1{font-size:1.4rem;margin-bottom:0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}\
    p{margin:.2rem 0}.when{color:#5a6472}table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem}\
    th,td{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid #e3e7ec;overflow-wrap:anywhere}\
    th{color:#5a6472;font-weight:600;overflow-wrap:normal}td.n{text-align:right}svg{display:block;margin:.5rem 0;\
    max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#5a6472}\
    @media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}th,td{border-color:#2b323b}\
    th,.when,svg text{color:#97a3b1;fill:#97a3b1}}";

/// The page.
pub fn page(report: &Report, zone: &TimeZone) -> String {
    let title = escaped(&sections::title(report, zone));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>procwatch: {title}</title>\n\
         <style>{STYLE}</style></head>\n<body><h1>procwatch report</h1><p class=\"when\">{title}</p>\n"
    );
    for section in sections::of(report, zone) {
        add_section(&mut page, &section);
        match section.title {
            "agent" => page += &plot::memory(report, zone),
            "alerts" => page += &plot::alerts(report, zone),
            "threads" => {
                page += &plot::heights(report);
                page += &plot::curves(report, zone);
            }
            _ => {}
        }
    }
    page += "</body></html>\n";
    page
}

/// Writes the page to a file, all of it or nothing: into another file first, which then takes its place.
///
/// # Errors
/// What the kernel says.
pub fn write(report: &Report, zone: &TimeZone, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file: what the umask leaves of that.
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file =
        tempfile::Builder::new().prefix(".procwatch-report-").permissions(mode).tempfile_in(folder)?;
    file.write_all(page(report, zone).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn add_section(page: &mut String, section: &Section) {
    // A string takes everything.
    let _ = writeln!(page, "<h2>{}</h2><p>{}</p>", escaped(section.title), escaped(&section.summary));
    if let Some(table) = &section.table {
        add_table(page, table);
    }
}

fn add_table(page: &mut String, table: &Table) {
    page.push_str("<table><tr>");
    for name in table.head {
        let _ = write!(page, "<th>{}</th>", escaped(&name.to_lowercase()));
    }
    page.push_str("</tr>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for cell in row {
            let number = !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
            let class = if number { " class=\"n\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// Text that means nothing to a reader of HTML, within and without quotes, and has no control characters.
pub(super) fn escaped(text: &str) -> String {
    let text = if text.chars().any(char::is_control) { escape(text.as_bytes()) } else { text.into() };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
