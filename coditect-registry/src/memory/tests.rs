//! The contract on the memory registry, and what only this one promises.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{ErrorKind, Incarnation, Instance, RemovalReason};

#[cfg(feature = "test-util")]
mod conformance {
    use crate::MemoryRegistry;
    use crate::conformance::Subject;

    async fn subject() -> Subject {
        let registry = MemoryRegistry::builder().with_watch_buffer(16).build();
        Subject {
            registry: std::sync::Arc::new(registry),
            watch_buffer: 16,
        }
    }

    crate::registry_conformance!(paused: subject);
}

fn record(agent: &str) -> AgentRecord {
    AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh())
}

const TTL: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Counts {
    registered: AtomicUsize,
    renewed: AtomicUsize,
    refused: AtomicUsize,
    removed: AtomicUsize,
    resynced: AtomicUsize,
}

impl Observer for Counts {
    fn registered(&self, _: &Registration) {
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    fn renewed(&self, _: &Registration) {
        self.renewed.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, _: &Instance, kind: ErrorKind) {
        assert_eq!(kind, ErrorKind::LeaseLost);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn removed(&self, _: &Instance, reason: RemovalReason) {
        assert_eq!(reason, RemovalReason::Expired);
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    fn resynced(&self, _: usize) {
        self.resynced.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_observer_is_told_of_each_event_once() {
    let counts = Arc::new(Counts::default());
    let registry = MemoryRegistry::builder()
        .with_observer(Arc::clone(&counts) as _)
        .build();
    let registration = registry.register(record("a"), TTL).await.unwrap();
    registry
        .renew(&registration, Load::idle(1), Health::Ready)
        .await
        .unwrap();
    registry.watch().await.unwrap();
    tokio::time::advance(TTL).await;
    registry
        .renew(&registration, Load::idle(1), Health::Ready)
        .await
        .unwrap_err();
    for count in [
        &counts.registered,
        &counts.renewed,
        &counts.refused,
        &counts.removed,
        &counts.resynced,
    ] {
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_at_its_instant_and_not_before() {
    let registry = MemoryRegistry::new();
    registry.register(record("a"), TTL).await.unwrap();
    tokio::time::advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(registry.list(&Filter::all()).await.unwrap().len(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(registry.list(&Filter::all()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_agents_that_are_gone() {
    let registry = MemoryRegistry::new();
    for i in 0..100 {
        let capability = crate::Capability::new(format!("c{i}"), "1.0.0".parse().unwrap()).unwrap();
        let record = record(&format!("a{i}")).with_capabilities([capability]);
        registry.register(record, TTL).await.unwrap();
    }
    tokio::time::advance(TTL).await;
    registry.with_live(|state, _| assert!(state.is_bare()));
}

#[tokio::test]
async fn tokens_can_be_made_to_repeat_exactly() {
    let registry = MemoryRegistry::builder()
        .with_first_token(FencingToken::new(1))
        .build();
    assert_eq!(
        registry.register(record("a"), TTL).await.unwrap().token,
        FencingToken::new(1)
    );
    let by_clock = MemoryRegistry::new()
        .register(record("a"), TTL)
        .await
        .unwrap()
        .token;
    let later = MemoryRegistry::new()
        .register(record("a"), TTL)
        .await
        .unwrap()
        .token;
    assert!(by_clock.as_u64() > 1_600_000_000_000_000 && by_clock <= later);
}
