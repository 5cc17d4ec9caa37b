//! Discovery on a real Redis, tasks over a real RabbitMQ, by nothing but their URLs.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "discovery_servers/fault.rs"]
mod fault;
#[path = "discovery_servers/fleet.rs"]
mod fleet;
#[path = "discovery_servers/place.rs"]
mod place;
#[path = "rabbitmq/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "discovery_servers/url.rs"]
mod url;
