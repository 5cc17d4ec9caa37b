//! Runs over a real RabbitMQ, by nothing but its URL.

#[path = "rabbitmq/url.rs"]
mod url;
#[path = "rabbitmq/without_registry.rs"]
mod without_registry;
