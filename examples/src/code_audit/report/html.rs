//! The report as one HTML page that needs nothing else: no network, no other file.

use std::fmt::Write as _;

use super::Page;
use super::figure::{bytes, counted, duration, percent, thousands};
use super::svg;
use crate::code_audit::finding::Severity;
use crate::code_audit::rules::Rule;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Packages that the page lists.
const MAX_PACKAGES: usize = 300;

/// Renders the page. Writing to a string cannot fail, so the results of `write!` are dropped.
pub(super) fn render(page: Page<'_>) -> String {
    let root = escaped(&page.audit.root);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
         <title>Code audit of {root}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<main>\n"
    );
    header(&mut html, page);
    severities(&mut html, page);
    run(&mut html, page);
    findings(&mut html, page);
    packages(&mut html, page);
    functions(&mut html, page);
    rules(&mut html, page);
    let _ = write!(
        html,
        "</main>\n<script>\n{SCRIPT}</script>\n</body></html>\n"
    );
    html
}

/// Text as it must stand in HTML, in an attribute too.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // A path may hold anything; what turns text around or hides it is made visible.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                html.push('\u{fffd}');
            }
            c => html.push(c),
        }
    }
    html
}

fn header(html: &mut String, page: Page<'_>) {
    let volume = &page.audit.volume;
    let languages: Vec<_> = volume
        .languages
        .iter()
        .map(|(language, files)| format!("{language} {}", thousands(*files)))
        .collect();
    let _ = write!(
        html,
        "<header><p class=\"kicker\">Code audit</p><h1>{}</h1><p>{} in {} · {} · {} of code<br>{}</p>",
        escaped(&page.audit.root),
        counted(volume.files, "file"),
        counted(page.audit.packages.len() as u64, "package"),
        bytes(volume.bytes),
        counted(volume.code_lines, "line"),
        languages.join(" · ")
    );
    if page.run.cancelled {
        html.push_str(
            "<p class=\"notice\">The run was cancelled: this is about a part of the tree.</p>",
        );
    }
    html.push_str("</header>\n");
}

fn severities(html: &mut String, page: Page<'_>) {
    html.push_str("<section class=\"tiles\" aria-label=\"Findings by severity\">");
    for severity in Severity::DESCENDING {
        let count = page.audit.tally.severities.of(severity);
        let none = if count == 0 { " none" } else { "" };
        let _ = write!(
            html,
            "<button type=\"button\" class=\"tile {severity}{none}\" data-severity=\"{severity}\" \
             aria-pressed=\"false\"><b>{}</b><span>{severity}</span></button>",
            thousands(count)
        );
    }
    html.push_str("</section>\n");
}

fn run(html: &mut String, page: Page<'_>) {
    let run = page.run;
    let figures = [
        ("tasks", thousands(run.tasks)),
        ("failed", thousands(run.failed)),
        ("cancelled or skipped", thousands(run.not_done)),
        ("autonomy", percent(run.autonomy)),
        ("utilisation", percent(run.utilisation)),
        ("wall time", duration(run.wall_ms * 1_000)),
        ("most dispatched at once", thousands(run.max_concurrency)),
    ];
    html.push_str("<section><h2>Run</h2><dl class=\"figures\">");
    for (name, value) in figures {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    let _ = writeln!(
        html,
        "</dl><div class=\"scroll\">{}</div></section>",
        svg::render(page.nodes)
    );
}

fn findings(html: &mut String, page: Page<'_>) {
    let audit = page.audit;
    let total = audit.tally.severities.total();
    html.push_str("<section><h2>Findings</h2>");
    if audit.findings.is_empty() {
        html.push_str("<p class=\"empty\">None.</p></section>\n");
        return;
    }
    let rules = audit
        .tally
        .rules
        .keys()
        .map(|rule| format!("<option>{rule}</option>"));
    let _ = write!(
        html,
        "<div class=\"controls\"><input id=\"search\" type=\"search\" placeholder=\"Filter by path or text\" \
         aria-label=\"Filter by path or text\"><select id=\"rule\" aria-label=\"Rule\">\
         <option value=\"\">All rules</option>{}</select><output id=\"shown\">{}</output></div>",
        rules.collect::<String>(),
        counted(audit.findings.len() as u64, "finding")
    );
    if audit.omitted > 0 {
        let _ = write!(
            html,
            "<p class=\"notice\">Of {} the {} most important are listed; {} more are only counted.</p>",
            counted(total, "finding"),
            thousands(audit.findings.len() as u64),
            thousands(audit.omitted)
        );
    }
    html.push_str(
        "<div class=\"scroll tall\"><table id=\"findings\" class=\"sortable\"><thead><tr><th>Severity</th>\
         <th>Rule</th><th>Place</th><th>Finding</th></tr></thead><tbody>\n",
    );
    for finding in &audit.findings {
        let _ = writeln!(
            html,
            "<tr data-severity=\"{0}\" data-rule=\"{1}\"><td data-key=\"{2}\"><span class=\"badge {0}\">{0}</span>\
             </td><td class=\"rule\">{1}</td><td class=\"place\">{3}</td><td>{4}</td></tr>",
            finding.severity,
            finding.rule,
            finding.severity as u8,
            escaped(&finding.place()),
            with_code(&finding.message)
        );
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn packages(html: &mut String, page: Page<'_>) {
    let packages = &page.audit.packages;
    html.push_str(
        "<section><h2>Packages</h2><div class=\"scroll tall\"><table class=\"sortable\"><thead><tr>\
         <th>Package</th><th class=\"n\">Files</th><th class=\"n\">Lines of code</th>",
    );
    for severity in Severity::DESCENDING {
        let _ = write!(html, "<th class=\"n\">{severity}</th>");
    }
    html.push_str("<th>Worst file</th></tr></thead><tbody>\n");
    for package in packages.iter().take(MAX_PACKAGES) {
        let _ = write!(
            html,
            "<tr><td class=\"place\">{}</td>",
            escaped(&package.package)
        );
        number(html, package.volume.files, "");
        number(html, package.volume.code_lines, "");
        for severity in Severity::DESCENDING {
            number(
                html,
                package.tally.severities.of(severity),
                severity.as_str(),
            );
        }
        let worst = package.worst_files.first().map_or("", |file| &file.path);
        let _ = writeln!(html, "<td class=\"place\">{}</td></tr>", escaped(worst));
    }
    html.push_str("</tbody></table></div>");
    if let Some(rest) = packages
        .len()
        .checked_sub(MAX_PACKAGES)
        .filter(|rest| *rest > 0)
    {
        let _ = write!(
            html,
            "<p class=\"notice\">{} not listed.</p>",
            counted(rest as u64, "more package")
        );
    }
    html.push_str("</section>\n");
}

/// A cell with a number that sorts as one; zeros stand back, and counts wear their severity's colour.
fn number(html: &mut String, number: u64, class: &str) {
    let class = if number == 0 { "zero" } else { class };
    let _ = write!(
        html,
        "<td class=\"n {class}\" data-key=\"{number}\">{}</td>",
        thousands(number)
    );
}

fn functions(html: &mut String, page: Page<'_>) {
    if page.audit.functions.is_empty() {
        return;
    }
    html.push_str(
        "<section><h2>Most complex functions</h2><div class=\"scroll\"><table class=\"sortable\"><thead><tr>\
         <th>Function</th><th class=\"n\">Complexity</th><th class=\"n\">Lines of code</th><th>Place</th></tr>\
         </thead><tbody>\n",
    );
    for function in &page.audit.functions {
        let _ = write!(
            html,
            "<tr><td class=\"place\">{}</td>",
            escaped(&function.name)
        );
        number(html, function.complexity.into(), "");
        number(html, function.lines.into(), "");
        let place = format!("{}:{}", function.path, function.line);
        let _ = writeln!(html, "<td class=\"place\">{}</td></tr>", escaped(&place));
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn rules(html: &mut String, page: Page<'_>) {
    html.push_str(
        "<section><h2>Rules</h2><div class=\"scroll\"><table class=\"sortable\"><thead><tr><th>Rule</th>\
         <th>Severity</th><th class=\"n\">Findings</th><th>Meaning</th></tr></thead><tbody>\n",
    );
    for rule in Rule::ALL {
        let severity = rule.severity();
        let _ = write!(
            html,
            "<tr><td>{rule}</td><td data-key=\"{}\"><span class=\"badge {severity}\">{severity}</span></td>",
            severity as u8
        );
        number(
            html,
            page.audit.tally.rules.get(rule).copied().unwrap_or(0),
            "",
        );
        let _ = writeln!(html, "<td>{}</td></tr>", with_code(rule.explanation()));
    }
    html.push_str("</tbody></table></div></section>\n");
}

/// Escapes text and sets what stands between backticks as code.
fn with_code(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some((before, code, after)) = code_span(rest) {
        let _ = write!(html, "{}<code>{}</code>", escaped(before), escaped(code));
        rest = after;
    }
    html.push_str(&escaped(rest));
    html
}

/// What is before, in and after the first pair of backticks.
fn code_span(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}
