//! The smallest program: an agent is an async function, a runtime runs it.
//!
//! ```sh
//! cargo run -p coditect-examples --example quickstart
//! ```
//!
//! ```text
//! 6 words
//! ```
//!
//! `agent` makes an agent of a function and offers it under a capability; `run` states a task for that capability and
//! waits for its result. What the agent takes and answers with are plain serde types. Nothing is installed: bus,
//! registry and state are in this process. The program goes distributed when the builder is told where they are
//! instead, with `bus`, `registry` and `state`; agents and tasks stay as they are. `no_arguments` is there for this repository's command
//! line alone: leave it out.

use coditect_core::prelude::*;

async fn count(text: String) -> Result<usize, AgentError> {
    Ok(text.split_whitespace().count())
}

#[tokio::main]
async fn main() -> Result<(), coditect_core::Error> {
    coditect_examples::output::no_arguments();
    let runtime = Runtime::builder()
        .agent(agent("count", count))
        .start()
        .await?;
    let words: usize = runtime.run(&call("count"), "to be or not to be").await?;
    println!("{words} words");
    runtime.shutdown().await
}
