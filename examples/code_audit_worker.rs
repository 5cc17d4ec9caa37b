//! Analyses files for audits that other processes run.
//!
//! ```sh
//! cargo run --release -p coditect-examples --example code_audit_worker -- --bus amqp://… \
//!     [--agents rust,markdown,…] [--jobs N]
//! cargo run --release -p coditect-examples --example code_audit -- --bus amqp://… PATH
//! ```
//!
//! It hosts the agents of `code_audit` that analyse, and nothing else: no orchestrator, no journal, no tree. Its audits
//! send it the files within their tasks. Start as many as there is work for, on any machine, before an audit or
//! during one. Ctrl-C ends it when what has begun is done; the tasks of one that is killed go to another.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    coditect_examples::code_audit::worker::main().await
}
