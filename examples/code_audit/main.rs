//! Audits a source tree: finds the files, analyses each by its language, summarises each package, and
//! writes one report.
//!
//! ```sh
//! cargo run --release --example code_audit -- PATH [--json] [--fail-on SEVERITY] [--jobs N] [--out DIR]
//! ```

mod analysis;
mod cli;
mod finding;
mod language;
mod manifest;
mod markdown;
mod model;
mod progress;
mod report;
mod rules;
mod run;
mod rust_source;
mod secrets;
mod source;
mod summary;
mod table;
mod text;
mod walk;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::time::Instant;

use cli::Cli;
use model::{AuditReport, FileReport, PackageTask};
use progress::Progress;
use report::Page;
use run::{NodeKind, NodeState, RunNode, RunStatistics};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match audit(&cli) {
        Ok(is_clean) => ExitCode::from(u8::from(!is_clean)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn audit(cli: &Cli) -> anyhow::Result<bool> {
    let started = Instant::now();
    let walk = walk::Walk::new(&cli.path)
        .with_context(|| format!("cannot audit {}", cli.path.display()))?;
    let progress = Progress::start(cli.json);
    let mut nodes = vec![node("walk the tree", NodeKind::Plan, None, vec![])];
    let mut packages: BTreeMap<String, (Vec<FileReport>, Vec<usize>)> = BTreeMap::new();
    for task in walk {
        progress.planned(1);
        let start = Instant::now();
        let report = analysis::analyse(&task);
        progress.ended(&task.path);
        let mut node = node(&task.path, NodeKind::Analyse, Some(&task.package), vec![0]);
        node.language = Some(task.language);
        node.duration_us = elapsed_us(start);
        nodes.push(node);
        let package = packages.entry(task.package).or_default();
        package.0.push(report);
        package.1.push(nodes.len() - 1);
    }
    let mut audit = AuditReport::new(cli.shown_path());
    let mut summaries = Vec::new();
    for (package, (files, upstream)) in packages {
        let start = Instant::now();
        let mut node = node(&package, NodeKind::Summarise, Some(&package), upstream);
        audit.add(summary::summarise(PackageTask { package, files }));
        node.duration_us = elapsed_us(start);
        nodes.push(node);
        summaries.push(nodes.len() - 1);
    }
    nodes.push(node("report", NodeKind::Report, None, summaries));
    progress.finish();
    let audit = audit.finish();
    let run = RunStatistics {
        tasks: nodes.len() as u64,
        failed: 0,
        autonomy: 1.0,
        utilisation: 1.0,
        wall_ms: elapsed_us(started) / 1_000,
        max_concurrency: 1,
        cancelled: false,
    };
    if let Some((markdown, html)) = cli.report_paths() {
        report::write(
            Page {
                audit: &audit,
                run: &run,
                nodes: &nodes,
            },
            &markdown,
            &html,
        )?;
    }
    match cli.json {
        true => println!("{}", serde_json::json!({ "audit": &audit, "run": &run })),
        false => println!("{}", table::render(&audit, &run)),
    }
    let worst = audit.tally.severities.worst();
    Ok(cli.fail_on.is_none_or(|limit| worst < Some(limit)))
}

fn node(label: &str, kind: NodeKind, package: Option<&str>, upstream: Vec<usize>) -> RunNode {
    RunNode {
        label: label.to_owned(),
        kind,
        state: NodeState::Succeeded,
        duration_us: 0,
        package: package.map(str::to_owned),
        language: None,
        upstream,
    }
}

fn elapsed_us(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
