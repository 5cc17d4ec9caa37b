//! One file from task to report: the body of every analysis agent.

use std::path::{Component, Path};

use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::language::Language;
use crate::code_audit::model::{FileReport, FileTask, Function};
use crate::code_audit::rules::Rule;
use crate::code_audit::source::Source;
use crate::code_audit::{manifest, markdown, rust_source, secrets, text};

/// Analyses the file of `task`. Whatever is wrong with the file becomes a finding; nothing is fatal.
pub(crate) fn analyse(task: &FileTask) -> FileReport {
    let mut report = FileReport::new(task);
    if let Some(obstacle) = &task.obstacle {
        report.add(vec![obstacle.clone()]);
        return report;
    }
    match Source::read(task) {
        Ok(Source::Text { text, findings }) => {
            report.add(findings);
            analyse_text(task, &text, &mut report);
        }
        Ok(Source::Binary { size }) => {
            report.language = Language::Opaque;
            report.size = size;
            let message = format!("{size} bytes, not analysed");
            report.add(vec![Finding::new(Rule::BinaryFile, &task.path, 0, message)]);
        }
        Ok(Source::Large { size, head }) => {
            report.size = size;
            report.add(secrets::scan(&head, &task.path));
            let message = format!(
                "{size} bytes: not analysed, only its first {} searched for secrets",
                head.len()
            );
            report.add(vec![Finding::new(Rule::LargeFile, &task.path, 0, message)]);
        }
        Err(error) => {
            let message = format!("cannot be read: {error}");
            report.add(vec![Finding::new(Rule::Unreadable, &task.path, 0, message)]);
        }
    }
    report
}

fn analyse_text(task: &FileTask, text: &str, report: &mut FileReport) {
    let measured = text::check(text, &task.path);
    report.size = text.len() as u64;
    report.lines = measured.lines;
    report.code_lines = measured.code_lines;
    report.add(measured.findings);
    report.add(secrets::scan(text.as_bytes(), &task.path));
    match task.language {
        Language::Rust => {
            let rust = rust_source::check(text, &task.path, &task.root);
            report.code_lines = rust.code_lines;
            report.functions = rust.functions;
            Function::keep_most_complex(&mut report.functions);
            report.add(rust.findings);
        }
        Language::Markdown => report.add(markdown::check(text, &task.path, &task.root)),
        Language::Toml => report.add(manifest::check(text, &task.path)),
        Language::Text | Language::Opaque => {}
    }
}

/// Whether a path lies among tests, fixtures, examples or benchmarks, where the rules are milder.
pub(crate) fn is_test_path(path: &str) -> bool {
    let path = Path::new(path);
    let in_test_directory = path.parent().is_some_and(|directory| {
        directory.components().any(|part| match part {
            Component::Normal(name) => TEST_DIRECTORIES.iter().any(|known| name == *known),
            _ => false,
        })
    });
    in_test_directory
        || path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| {
                stem == "test"
                    || stem == "conformance"
                    || stem == "tests"
                    || stem.starts_with("test_")
                    || stem.ends_with("_test")
                    || stem.ends_with("_tests")
            })
}

/// The severity that `finding` deserves at its place: at most `cap` in test data.
pub(crate) fn milder_in_tests(finding: Finding, cap: Severity) -> Finding {
    match is_test_path(&finding.path) {
        true => finding.at_most(cap),
        false => finding,
    }
}

const TEST_DIRECTORIES: &[&str] = &[
    "benches",
    "bench",
    "benchmarks",
    "conformance",
    "corpus",
    "examples",
    "example",
    "fixtures",
    "fixture",
    "fuzz",
    "spec",
    "test",
    "test-data",
    "test_data",
    "testdata",
    "testing",
    "tests",
];

#[cfg(test)]
mod tests;
