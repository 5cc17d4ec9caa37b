//! The report for people: Markdown and a self-contained HTML page.

mod figure;
mod graph;
mod html;
mod markdown;
mod svg;

use std::fs;
use std::io;
use std::path::Path;

use crate::code_audit::model::AuditReport;
use crate::code_audit::run::{RunNode, RunStatistics};

pub(crate) use figure::{duration, percent, thousands};

/// Everything that a report shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// What was found.
    pub(crate) audit: &'a AuditReport,
    /// How the run went.
    pub(crate) run: &'a RunStatistics,
    /// The tasks of the run.
    pub(crate) nodes: &'a [RunNode],
}

/// Writes the page as Markdown and as HTML, making the directories above them.
///
/// # Errors
///
/// If a directory or a file cannot be written; the error names the path.
pub(crate) fn write(page: Page<'_>, markdown: &Path, html: &Path) -> io::Result<()> {
    write_file(markdown, &markdown::render(page))?;
    write_file(html, &html::render(page))
}

fn write_file(path: &Path, content: &str) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    directory
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content))
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot write {}: {error}", path.display()),
            )
        })
}

#[cfg(test)]
mod tests;
