//! Rust, parsed with `syn`: panics, unsafe code, missing documentation, long and complex functions.

mod attribute;
mod complexity;
mod depth;
mod docs;
mod lines;
mod reach;
mod visit;

use proc_macro2::{Span, TokenStream};

use crate::code_audit::analysis::milder_in_tests;
use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::model::Function;
use crate::code_audit::rules::Rule;

use lines::Lines;
pub(crate) use reach::Reach;

/// Sources over this many bytes are bindings that a program wrote; a tree of them would not be
/// bounded, since syntax takes some fifty times the memory of its text.
const MAX_PARSED_BYTES: usize = 2 << 20;

/// What [`check`] found and measured.
#[derive(Debug, Default)]
pub(crate) struct RustReport {
    /// Lines that are neither blank nor a line comment.
    pub(crate) code_lines: u64,
    /// Every function outside tests.
    pub(crate) functions: Vec<Function>,
    /// All findings.
    pub(crate) findings: Vec<Finding>,
}

/// Analyses the Rust source `text` at `path`, of which users of its library see what `reach` says.
///
/// Parsing recurses, so it happens on a thread whose stack fits the nesting of the source; nesting
/// that would fit no stack is a finding.
pub(crate) fn check(text: &str, path: &str, reach: &Reach) -> RustReport {
    let lines = Lines::of(text);
    let mut report = RustReport {
        code_lines: lines.code(),
        ..RustReport::default()
    };
    if text.len() > MAX_PARSED_BYTES {
        let message = format!("{} bytes of Rust: not parsed", text.len());
        report
            .findings
            .push(Finding::new(Rule::LargeFile, path, 0, message));
        return report;
    }
    let parsed = depth::with_stack(without_prelude(text), |file| {
        let file = file?;
        let mut report = visit::check(&file, path, &lines);
        report.findings.extend(docs::check(&file, path, reach));
        Ok(report)
    });
    match parsed {
        Ok(parsed) => {
            report.functions = parsed.functions;
            report.findings.extend(parsed.findings);
        }
        Err(NotParsed::Syntax { line, message }) => {
            let finding = Finding::new(Rule::RustSyntax, path, line, message);
            report
                .findings
                .push(milder_in_tests(finding, Severity::Info));
        }
        Err(NotParsed::TooDeep) => {
            let message = "nested too deeply to be parsed";
            report
                .findings
                .push(Finding::new(Rule::RustTooDeep, path, 0, message));
        }
    }
    report
}

/// Why a source has no syntax tree.
#[derive(Debug)]
enum NotParsed {
    Syntax { line: usize, message: String },
    TooDeep,
}

impl NotParsed {
    fn syntax(span: Span, message: &impl ToString) -> Self {
        Self::Syntax {
            line: span.start().line,
            message: message.to_string(),
        }
    }
}

/// Parses a file from its tokens.
fn parse(tokens: TokenStream) -> Result<syn::File, NotParsed> {
    syn::parse2(tokens).map_err(|error| NotParsed::syntax(error.span(), &error))
}

/// Blanks what precedes the tokens of a file, a byte order mark or `#!…`, keeping lines and columns.
fn without_prelude(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_shebang = text
        .strip_prefix("#!")
        .is_some_and(|rest| !rest.trim_start().starts_with('['));
    match text.find('\n') {
        Some(end) if is_shebang => &text[end..],
        None if is_shebang => "",
        _ => text,
    }
}

#[cfg(test)]
mod tests;
