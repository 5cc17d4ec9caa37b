//! The report as Markdown.

use std::fmt::Write as _;

use super::Page;
use super::figure::{bytes, counted, duration, percent, thousands};
use crate::code_audit::finding::Severity;
use crate::code_audit::model::PackageSummary;

/// Findings that the Markdown lists; the HTML page lists more.
const MAX_FINDINGS: usize = 300;
/// Packages that it lists.
const MAX_PACKAGES: usize = 100;

/// Renders the page. Writing to a string cannot fail, so the results of `writeln!` are dropped.
pub(super) fn render(page: Page<'_>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# Code audit of {}\n", code(&page.audit.root));
    overview(&mut text, page);
    run(&mut text, page);
    packages(&mut text, page);
    functions(&mut text, page);
    findings(&mut text, page);
    rules(&mut text, page);
    text
}

fn overview(text: &mut String, page: Page<'_>) {
    let volume = &page.audit.volume;
    let _ = writeln!(
        text,
        "{}, {}, {} of code in {}: {}.\n",
        counted(volume.files, "file"),
        bytes(volume.bytes),
        counted(volume.code_lines, "line"),
        counted(page.audit.packages.len() as u64, "package"),
        counted(page.audit.tally.severities.total(), "finding")
    );
    if page.run.cancelled {
        let _ = writeln!(
            text,
            "**The run was cancelled: this is about a part of the tree.**\n"
        );
    }
    let _ = writeln!(text, "| severity | findings |\n|---|---:|");
    for severity in Severity::DESCENDING {
        let count = page.audit.tally.severities.of(severity);
        let _ = writeln!(text, "| {severity} | {} |", thousands(count));
    }
}

fn run(text: &mut String, page: Page<'_>) {
    let run = page.run;
    let _ = writeln!(text, "\n## Run\n\n| | |\n|---|---:|");
    let rows = [
        ("tasks", thousands(run.tasks)),
        ("of these failed", thousands(run.failed)),
        ("of these cancelled or skipped", thousands(run.not_done)),
        ("autonomy", percent(run.autonomy)),
        ("utilisation", percent(run.utilisation)),
        ("wall time", duration(run.wall_ms * 1_000)),
        ("most dispatched at once", thousands(run.max_concurrency)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
}

fn packages(text: &mut String, page: Page<'_>) {
    let packages = &page.audit.packages;
    let _ = writeln!(text, "\n## Packages\n");
    let _ = writeln!(
        text,
        "| package | files | lines of code | critical | high | medium | low | info | worst file |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    for package in packages.iter().take(MAX_PACKAGES) {
        let counts =
            Severity::DESCENDING.map(|severity| thousands(package.tally.severities.of(severity)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            code(&package.package),
            thousands(package.volume.files),
            thousands(package.volume.code_lines),
            counts.join(" | "),
            worst_file(package)
        );
    }
    rest(
        text,
        packages.len().saturating_sub(MAX_PACKAGES) as u64,
        "package",
    );
}

fn worst_file(package: &PackageSummary) -> String {
    package
        .worst_files
        .first()
        .map_or_else(String::new, |file| code(&file.path))
}

fn functions(text: &mut String, page: Page<'_>) {
    if page.audit.functions.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n## Most complex functions\n\n| function | complexity | lines of code | place |\n|---|---:|---:|---|"
    );
    for function in &page.audit.functions {
        let place = code(&format!("{}:{}", function.path, function.line));
        let name = code(&function.name);
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {place} |",
            function.complexity, function.lines
        );
    }
}

fn findings(text: &mut String, page: Page<'_>) {
    let findings = &page.audit.findings;
    let _ = writeln!(text, "\n## Findings\n");
    if findings.is_empty() {
        let _ = writeln!(text, "None.");
        return;
    }
    let _ = writeln!(
        text,
        "| severity | rule | place | finding |\n|---|---|---|---|"
    );
    for finding in findings.iter().take(MAX_FINDINGS) {
        let place = code(&finding.place());
        let message = escaped(&finding.message);
        let _ = writeln!(
            text,
            "| {} | {} | {place} | {message} |",
            finding.severity, finding.rule
        );
    }
    let listed = findings.len().min(MAX_FINDINGS) as u64;
    rest(
        text,
        page.audit.tally.severities.total() - listed,
        "finding",
    );
}

fn rules(text: &mut String, page: Page<'_>) {
    let mut rules: Vec<_> = page.audit.tally.rules.iter().collect();
    if rules.is_empty() {
        return;
    }
    rules.sort_by(|a, b| b.0.severity().cmp(&a.0.severity()).then(b.1.cmp(a.1)));
    let _ = writeln!(
        text,
        "\n## Rules that fired\n\n| rule | findings | meaning |\n|---|---:|---|"
    );
    for (rule, count) in rules {
        let _ = writeln!(
            text,
            "| {rule} | {} | {} |",
            thousands(*count),
            rule.explanation()
        );
    }
}

fn rest(text: &mut String, count: u64, noun: &str) {
    if count > 0 {
        let _ = writeln!(text, "\n… and {} more.", counted(count, noun));
    }
}

/// A code span that holds whatever it is given, inside a table too.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let text = one_line(text).replace('|', "\\|");
    match longest {
        0 => format!("{fence}{text}{fence}"),
        _ => format!("{fence} {text} {fence}"),
    }
}

/// Text in a table cell: no HTML, no column marks, no line breaks; code spans stay.
fn escaped(text: &str) -> String {
    one_line(text).replace('|', "\\|").replace('<', "&lt;")
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
