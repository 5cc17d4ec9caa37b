//! What the tests have in common.

use std::sync::Arc;
use std::time::Duration;

use coditect_harness::{Redis, required};
use coditect_registry::conformance::Subject;
use coditect_registry::{
    AgentRecord, Capability, Change, Error, Event, Filter, Health, Incarnation, Instance, Load,
    RedisRegistry, RedisRegistryBuilder, Registration, Registry, Watch,
};
use tokio::time::timeout;

/// Longer than anything takes that ends well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A lease that outlasts every test.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The namespace of tests that have a server of their own.
pub(crate) const NAMESPACE: &str = "test";

/// A namespace of its own on the shared server.
pub(crate) async fn subject() -> Option<Subject> {
    let redis = required(Redis::shared()).await?;
    let registry = RedisRegistry::builder(redis.url())
        .with_namespace(Redis::namespace())
        .with_watch_buffer(16)
        .connect();
    Some(Subject {
        registry: Arc::new(registry.await.unwrap()),
        watch_buffer: 16,
    })
}

/// A server of its own.
pub(crate) async fn server() -> Option<Redis> {
    required(Redis::private(&[])).await
}

/// A builder that finds faults out sooner than a user would want it.
pub(crate) fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
    RedisRegistry::builder(url)
        .with_namespace(NAMESPACE)
        .with_connect_timeout(Duration::from_secs(1))
        .with_response_timeout(Duration::from_millis(500))
        .with_patience(Duration::from_secs(20))
        .with_stale_after(Duration::from_secs(2))
}

pub(crate) async fn connect(url: impl Into<String>) -> Arc<RedisRegistry> {
    Arc::new(builder(url).connect().await.unwrap())
}

/// The name of one of the keys, as the script's text lists them.
pub(crate) fn key(name: &str) -> String {
    format!("{{coditect:{NAMESPACE}}}:registry:{name}")
}

pub(crate) fn record(agent: &str) -> AgentRecord {
    let work = Capability::new("work", "1.0.0".parse().unwrap()).unwrap();
    AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh()).with_capabilities([work])
}

pub(crate) async fn renew(
    registry: &RedisRegistry,
    registration: &Registration,
) -> Result<(), Error> {
    let load = Load::idle(1);
    registry.renew(registration, load, Health::Ready).await
}

/// The instances that are registered, sorted.
pub(crate) async fn instances(registry: &RedisRegistry) -> Vec<Instance> {
    sorted(registry.list(&Filter::all()).await.unwrap())
}

pub(crate) fn sorted(records: Vec<Arc<AgentRecord>>) -> Vec<Instance> {
    let mut instances: Vec<_> = records.iter().map(|it| it.instance.clone()).collect();
    instances.sort_unstable();
    instances
}

/// Opens a watch and takes its resync.
pub(crate) async fn watch(registry: &RedisRegistry) -> Watch {
    let mut watch = registry.watch().await.unwrap();
    let first = next(&mut watch).await.unwrap();
    assert!(first.change.everything().is_some(), "{first:?}");
    watch
}

pub(crate) async fn next(watch: &mut Watch) -> Option<Event> {
    let next = timeout(PATIENCE, watch.next()).await;
    next.expect("a watch tells something or ends")
}

/// Waits until a watch has told that an instance is there, by a change or by a resync.
pub(crate) async fn until_added(watch: &mut Watch, instance: &Instance) -> Event {
    loop {
        let event = next(watch).await.expect("the watch goes on");
        let is_there = match &event.change {
            Change::Added(record) => record.instance == *instance,
            Change::Resync(records) | Change::Reset(records) => {
                records.iter().any(|it| it.instance == *instance)
            }
            _ => false,
        };
        if is_there {
            return event;
        }
    }
}
