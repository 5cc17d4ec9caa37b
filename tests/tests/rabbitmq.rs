//! Runs over a real RabbitMQ, by nothing but its URL.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "rabbitmq/fault.rs"]
mod fault;
#[path = "rabbitmq/flow.rs"]
mod flow;
#[path = "rabbitmq/irreversible.rs"]
mod irreversible;
#[path = "rabbitmq/letters.rs"]
mod letters;
#[path = "rabbitmq/operator.rs"]
mod operator;
#[path = "rabbitmq/orphan.rs"]
mod orphan;
#[path = "rabbitmq/place.rs"]
mod place;
#[path = "rabbitmq/process.rs"]
mod process;
#[path = "rabbitmq/stranger.rs"]
mod stranger;
#[path = "rabbitmq/turn.rs"]
mod turn;
#[path = "rabbitmq/url.rs"]
mod url;
#[path = "rabbitmq/without_registry.rs"]
mod without_registry;
