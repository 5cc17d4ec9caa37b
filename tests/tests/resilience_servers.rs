//! Failing well on real servers: an outage, an overload, and what processes share. Each test prints what it has measured.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "resilience_servers/outage.rs"]
mod outage;
#[path = "resilience_servers/shared.rs"]
mod shared;
