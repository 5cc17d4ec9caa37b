//! The audit of a source tree: what the examples `code_audit` and `code_audit_worker` run.
//!
//! `agents.rs` has all that is about agents, `audit.rs` follows the run, `worker.rs` is a process that analyses for
//! the runs of others; the other files find the files of a tree, analyse them, and write the report, and know nothing of
//! either.

mod agents;
mod analysis;
mod audit;
mod cli;
mod finding;
mod language;
mod manifest;
mod markdown;
mod material;
mod model;
mod progress;
mod report;
mod rules;
mod run;
mod rust_source;
mod secrets;
mod source;
mod state;
mod summary;
mod table;
mod text;
mod waiting;
mod walk;
mod work;
pub mod worker;

use std::process::ExitCode;

use clap::Parser;
use coditect_core::telemetry::Telemetry;

use crate::bus::LOG;
use crate::say;

use self::audit::Interrupted;
use self::cli::Cli;
use self::report::Page;

/// The audit could not be done.
const FAILED: u8 = 2;
/// What a shell reports for a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Reads the command line, audits, and reports; gives the code to exit with.
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    match audit_and_report(&cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(match error.is::<Interrupted>() {
                true => INTERRUPTED,
                false => FAILED,
            })
        }
    }
}

async fn audit_and_report(cli: &Cli) -> anyhow::Result<ExitCode> {
    let _telemetry = Telemetry::builder()
        .with_service("code_audit")
        // Tasks that nobody serves are told of in words of its own.
        .with_default_filter(format!("{LOG},coditect_core::coordinator::unserved=error"))
        .install()?;
    let audited = audit::audit(cli).await?;
    let (audit, run) = (&audited.report, &audited.run);
    if let Some((markdown, html)) = cli.report_paths() {
        let page = Page {
            audit,
            run,
            nodes: &audited.nodes,
        };
        report::write(page, &markdown, &html)?;
        if !cli.json {
            eprintln!("report: {} and {}", markdown.display(), html.display());
        }
    }
    if cli.json {
        say!("{}", serde_json::json!({ "audit": audit, "run": run }));
    } else {
        say!("{}", table::render(audit, run));
    }
    if run.cancelled {
        let rest = match &cli.state {
            Some(_) => "; the same command goes on with the rest",
            None => "",
        };
        eprintln!(
            "interrupted: {} of {} tasks had ended, and the report is about those alone{rest}",
            run.succeeded, run.tasks
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    // Only now: who is killed before is told the end by the next one.
    if let Some((store, run)) = &audited.kept {
        state::reported(&**store, *run).await?;
    }
    if audit.volume.files == 0 {
        anyhow::bail!(
            "nothing was audited: {} has no files, or none that its .gitignore does not exclude\n  \
             help: name a directory with sources, or one file",
            cli.shown_path()
        );
    }
    let worst = audit.tally.severities.worst();
    let is_clean = cli.fail_on.is_none_or(|limit| worst < Some(limit));
    Ok(ExitCode::from(u8::from(!is_clean)))
}
