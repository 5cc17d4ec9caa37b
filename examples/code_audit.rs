//! Audits a source tree with agents that nobody carries messages between.
//!
//! ```sh
//! cargo run --release -p coditect-examples --example code_audit -- PATH \
//!     [--json] [--fail-on SEVERITY] [--jobs N] [--out DIR] [--state FILE] [--bus amqp://…]
//! ```
//!
//! The user states one task, `audit`. An orchestrator walks the tree and expands it into one analysis
//! per file, by language, and one summary per package; agents found by capability carry them out, more
//! than a hundred at once; an aggregator takes the summaries in as they come and makes the report:
//! Markdown and a self-contained HTML page with a picture of the run. The agents are in
//! `src/code_audit/agents.rs`, what submits and follows the run is in `src/code_audit/audit.rs`.
//!
//! It runs in one process with nothing installed. With `--bus` the agents that analyse are in other processes, on this or
//! other machines: see `code_audit_worker.rs`. As these may not see the tree, each task then carries its file, and what
//! matters of the files around it. The report is the same.
//!
//! With `--state FILE` the run is kept in a file: where the process dies, even by kill -9, the same command goes on
//! where it was, and no file is analysed again whose result was kept.
//!
//! Ctrl-C cancels the run, or with `--state` leaves it to the next such command, and reports what was done.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    coditect_examples::code_audit::main().await
}
