//! One file from task to report: the body of every analysis agent.

use std::path::{Component, Path};

use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::language::Language;
use crate::code_audit::material::{Gathered, Material, Surroundings};
use crate::code_audit::model::{FileReport, FileTask, Function};
use crate::code_audit::rules::Rule;
use crate::code_audit::source::{Content, Source};
use crate::code_audit::{manifest, markdown, rust_source, secrets, text};

/// Analyses the file of `task`. Whatever is wrong with the file becomes a finding; nothing is fatal.
pub(crate) fn analyse(task: &FileTask) -> FileReport {
    let mut report = FileReport::new(task);
    match &task.material {
        Material::Obstacle(obstacle) => report.add(vec![obstacle.clone()]),
        Material::Carried(gathered) => analyse_gathered(task, gathered, &mut report),
        Material::Here(root) => {
            let gathered = Gathered::of(root, &task.path, task.language);
            analyse_gathered(task, &gathered, &mut report);
        }
    }
    report
}

fn analyse_gathered(task: &FileTask, gathered: &Gathered, report: &mut FileReport) {
    match &gathered.content {
        Content::Whole(bytes) => match Source::of(bytes, &task.path) {
            Source::Text { text, findings } => {
                report.add(findings);
                analyse_text(task, &text, &gathered.surroundings, report);
            }
            Source::Binary { size } => add_binary(task, size, report),
        },
        Content::Binary { size } => add_binary(task, *size, report),
        Content::Large { size, head } => {
            report.size = *size;
            report.add(secrets::scan(head, &task.path));
            let message = format!(
                "{size} bytes: not analysed, only its first {} searched for secrets",
                head.len()
            );
            report.add(vec![Finding::new(Rule::LargeFile, &task.path, 0, message)]);
        }
        Content::Unreadable(why) => {
            let message = format!("cannot be read: {why}");
            report.add(vec![Finding::new(Rule::Unreadable, &task.path, 0, message)]);
        }
    }
}

fn add_binary(task: &FileTask, size: u64, report: &mut FileReport) {
    report.language = Language::Opaque;
    report.size = size;
    let message = format!("{size} bytes, not analysed");
    report.add(vec![Finding::new(Rule::BinaryFile, &task.path, 0, message)]);
}

fn analyse_text(task: &FileTask, text: &str, around: &Surroundings, report: &mut FileReport) {
    let measured = text::check(text, &task.path);
    report.size = text.len() as u64;
    report.lines = measured.lines;
    report.code_lines = measured.code_lines;
    report.add(measured.findings);
    report.add(secrets::scan(text.as_bytes(), &task.path));
    match (task.language, around) {
        (Language::Rust, Surroundings::Rust(reach)) => {
            let rust = rust_source::check(text, &task.path, reach);
            report.code_lines = rust.code_lines;
            report.functions = rust.functions;
            Function::keep_most_complex(&mut report.functions);
            report.add(rust.findings);
        }
        (Language::Markdown, Surroundings::Markdown(neighbours)) => {
            report.add(markdown::check(text, &task.path, neighbours));
        }
        (Language::Toml, _) => report.add(manifest::check(text, &task.path)),
        _ => {}
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
