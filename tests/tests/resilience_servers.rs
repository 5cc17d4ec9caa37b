//! Failing well on real servers: an outage, an overload, and what processes share. Each test prints what it has measured.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "resilience_servers/adaptive.rs"]
mod adaptive;
#[path = "resilience_servers/guards.rs"]
mod guards;
#[path = "resilience_servers/outage.rs"]
mod outage;
#[path = "resilience_servers/overload.rs"]
mod overload;
#[path = "resilience_servers/shared.rs"]
mod shared;

/// One after the other: what they measure would be felt by each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
