//! Routing: finding an agent by what it can do and in which version.
//!
//! ```sh
//! cargo run -p coditect-examples --example routing -- [--bus amqp://…]
//! ```
//!
//! Two translators are at work side by side: an old one, which callers of version 1 still need, and a new one, whose
//! answers have another shape. Nobody addresses an agent. A call says `translate@^1` or `translate@^2`, in the manner of Cargo,
//! and reaches an agent whose version will do. A version that nobody offers is refused at once when it is a request; in a
//! run the task waits, is reported as unserved, and fails at its deadline with that reason.
//!
//! Last, one is chosen by hand: whoever has something to do with agents beside giving them tasks can look them up, and let a
//! selector (here: round-robin) choose among those that meet a requirement.
//!
//! ```text
//! agents: translator-new offers translate@2.1.0
//! agents: translator-old offers translate@1.4.0
//! translate@^1: bonjour
//! translate@^2: bonjour (fr)
//! translate@^3: Unavailable: no agent offers `translate@^3` now
//! translate@^3: unserved, waiting for an agent
//! translate@^3: DeadlineExceeded: task `translate`: the run's deadline passed, and no agent offers `translate@^3`
//! picked in turn: translator-old, translator-new, translator-old, translator-new
//! ```
//!
//! With `--bus` there is RabbitMQ behind it. Agents of all processes are found in the same way once they share a registry, in which each
//! announces what it offers under a lease, so that one that dies vanishes. Tasks travel through one queue for each line of compatible versions.

use std::time::Duration;

use anyhow::{Context, bail};
use coditect_core::prelude::*;
use coditect_core::registry::{Requirement, RoundRobin};
use coditect_examples::say;
use serde::{Deserialize, Serialize};

const V1: Call<String, String> = Call::new("translate@^1");
const V2: Call<String, Translation> = Call::new("translate@^2");
const V3: Call<String, Translation> = Call::new("translate@^3");

/// What version 2 answers with.
#[derive(Serialize, Deserialize)]
struct Translation {
    text: String,
    language: String,
}

async fn translate_old(word: String) -> Result<String, AgentError> {
    match word.as_str() {
        "hello" => Ok("bonjour".to_owned()),
        _ => Err(AgentError::permanent(format!(
            "{word} is not in the dictionary"
        ))),
    }
}

async fn translate_new(word: String) -> Result<Translation, AgentError> {
    let text = translate_old(word).await?;
    Ok(Translation {
        text,
        language: "fr".to_owned(),
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = coditect_examples::bus::from_arguments();
    let runtime = Runtime::builder()
        .bus(bus.as_str())
        .agent(agent("translate@1.4.0", translate_old).with_name("translator-old"))
        .agent(agent("translate@2.1.0", translate_new).with_name("translator-new"))
        .start()
        .await
        .map_err(|error| bus.explain(error))?;

    let mut records = runtime.agents().records();
    records.sort_by(|a, b| a.agent().cmp(b.agent()));
    for record in &records {
        let offered: Vec<_> = record
            .capabilities
            .iter()
            .map(ToString::to_string)
            .collect();
        say!("agents: {} offers {}", record.agent(), offered.join(", "));
    }

    let hello = || "hello".to_owned();
    say!("{}: {}", V1.requirement(), runtime.run(&V1, hello()).await?);
    let translation = runtime.run(&V2, hello()).await?;
    say!(
        "{}: {} ({})",
        V2.requirement(),
        translation.text,
        translation.language
    );

    match runtime.request(&V3, hello()).await {
        Ok(_) => bail!("there is a version 3 after all"),
        Err(error) => say!("{}: {:?}: {error}", V3.requirement(), error.kind()),
    }
    unserved(&runtime, hello()).await?;

    let any: Requirement = "translate".parse()?;
    let mut picked = Vec::new();
    for _ in 0..4 {
        // Counts as busy with something until it is dropped; the number is what a random choice would go by.
        let chosen = runtime
            .agents()
            .pick(&any, &RoundRobin, 0)
            .context("nobody can translate")?;
        picked.push(chosen.record().agent().to_string());
    }
    say!("picked in turn: {}", picked.join(", "));

    runtime.shutdown().await?;
    Ok(())
}

/// Submits a task for which there is no agent, and follows what becomes of it.
async fn unserved(runtime: &Runtime, word: String) -> anyhow::Result<()> {
    let run = runtime
        .submit(&V3, word)
        .deadline(Duration::from_millis(200))
        .await?;
    let mut events = run.events().await?;
    while let Some(event) = events.next().await? {
        if let RunEventKind::Unserved(task) = event.kind {
            say!("{}: unserved, waiting for an agent", task.capability);
        }
    }
    let Err(error) = run.result().await else {
        bail!("there is a version 3 after all");
    };
    let failure = error.failure().context("the run says why it failed")?;
    say!("{}: {:?}: {failure}", V3.requirement(), error.kind());
    Ok(())
}
