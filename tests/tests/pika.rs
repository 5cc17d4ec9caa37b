//! Agents in another language: Python ones, on `pika`, that know of CODITECT what `docs/wire.md` says.
//!
//! They serve Rust orchestrators and ask Rust agents over a real RabbitMQ. `tests/setup.sh` prepares their Python.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "pika/permissions.rs"]
mod permissions;
#[path = "pika/python.rs"]
mod python;
#[path = "pika/refused.rs"]
mod refused;
#[path = "pika/requests.rs"]
mod requests;
#[path = "pika/tasks.rs"]
mod tasks;
#[path = "pika/topology.rs"]
mod topology;
#[path = "pika/trouble.rs"]
mod trouble;
#[path = "pika/wrong.rs"]
mod wrong;

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Vhost, required};

/// A place on a broker of this test's own; `None` if servers are left out.
async fn vhost() -> Option<Vhost<'static>> {
    let broker = required(RabbitMq::shared()).await?;
    Some(broker.vhost().await.unwrap())
}

async fn coordinator(url: String) -> Runtime {
    Runtime::builder().bus(url).start().await.unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(90);
    tokio::time::timeout(limit, what).await.expect("in time")
}
