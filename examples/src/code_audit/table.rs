//! The table at the end of a run.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::code_audit::finding::Severity;
use crate::code_audit::model::AuditReport;
use crate::code_audit::report::{duration, percent, thousands};
use crate::code_audit::run::RunStatistics;

/// Renders findings by severity and how the run went.
pub(crate) fn render(audit: &AuditReport, run: &RunStatistics) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED.with_rounded_corners());
    table.set_header(["findings", "", "run", ""]);
    let figures = [
        ("tasks", thousands(run.tasks)),
        ("autonomy", percent(run.autonomy)),
        ("utilisation", percent(run.utilisation)),
        ("wall time", duration(run.wall_ms * 1_000)),
        ("most dispatched at once", thousands(run.max_concurrency)),
    ];
    for (severity, (name, value)) in Severity::DESCENDING.into_iter().zip(figures) {
        let count = thousands(audit.tally.severities.of(severity));
        table.add_row([
            Cell::new(severity.as_str()),
            Cell::new(count).set_alignment(CellAlignment::Right),
            Cell::new(name),
            Cell::new(value).set_alignment(CellAlignment::Right),
        ]);
    }
    let files = thousands(audit.volume.files);
    let lines = thousands(audit.volume.code_lines);
    let mut text = format!(
        "{table}\n{files} files, {lines} lines of code, {} packages",
        audit.packages.len()
    );
    for worker in &run.workers {
        text.push_str("\nworker ");
        text.push_str(&worker.line(Duration::from_millis(run.wall_ms)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_audit::work::WorkerFigures;

    #[test]
    fn shows_every_severity_and_every_figure() {
        let run = RunStatistics {
            tasks: 5_321,
            succeeded: 5_321,
            failed: 0,
            not_done: 0,
            autonomy: 1.0,
            utilisation: 0.876,
            wall_ms: 12_340,
            max_concurrency: 128,
            cancelled: false,
            workers: vec![WorkerFigures {
                worker: "far-away:7".into(),
                slots: 4,
                tasks: 1_200,
                busy_us: 24_680_000,
            }],
        };
        let text = render(&AuditReport::new("."), &run);
        for part in [
            "critical",
            "info",
            "5,321",
            "100.0 %",
            "87.6 %",
            "12.34 s",
            "128",
            "worker far-away:7: 1,200 files, 4 slots, 50.0 %",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
