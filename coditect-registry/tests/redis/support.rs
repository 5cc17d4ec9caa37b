//! What the tests have in common.

use std::sync::Arc;

use coditect_harness::{Redis, required};
use coditect_registry::conformance::Subject;
use coditect_registry::{RedisRegistry, RedisRegistryBuilder};

/// A builder for a namespace that nobody else uses.
pub(crate) fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
    RedisRegistry::builder(url).with_namespace(Redis::namespace())
}

/// A namespace of its own on the shared server.
pub(crate) async fn subject() -> Option<Subject> {
    let redis = required(Redis::shared()).await?;
    let registry = builder(redis.url()).with_watch_buffer(16).connect();
    Some(Subject {
        registry: Arc::new(registry.await.expect("connect")),
        watch_buffer: 16,
    })
}
