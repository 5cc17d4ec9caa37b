//! How agents are found, chosen, checked and replaced: leases, routes and probes on registries in memory.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "discovery/balance.rs"]
mod balance;
#[path = "discovery/checker.rs"]
mod checker;
#[path = "discovery/drain.rs"]
mod drain;
#[path = "discovery/evict.rs"]
mod evict;
#[path = "discovery/exclusive.rs"]
mod exclusive;
#[path = "discovery/failover.rs"]
mod failover;
#[path = "discovery/health.rs"]
mod health;
#[path = "discovery/lease.rs"]
mod lease;
#[path = "discovery/request.rs"]
mod request;
#[path = "discovery/route.rs"]
mod route;
mod stage;

/// Waits in real time for what comes about by itself.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
