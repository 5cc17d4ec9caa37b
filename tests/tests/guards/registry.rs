//! The guard of a registry: what may have happened is said to be unknown, and answers are answers.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::guard::{GuardPolicy, GuardedRegistry};
use coditect_core::registry::{ErrorKind, Filter, Incarnation, MemoryRegistry, Registry, Role};
use coditect_core::resilience::BreakerState;
use tokio::time::Instant;

use crate::shaky::{Mode, Shaky};

#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_up_and_may_have_happened_unless_it_only_reads() {
    let shaky = Shaky::new(MemoryRegistry::new());
    let registry = GuardedRegistry::new(Arc::new(shaky.clone()), GuardPolicy::registry());
    shaky.line.set(Mode::Hangs);
    let begun = Instant::now();
    let role = Role::new("checker").unwrap();
    let me = Incarnation::fresh();
    let ttl = Duration::from_secs(5);
    let all = Filter::all();
    let (listed, elected) = tokio::join!(registry.list(&all), registry.elect(&role, me, ttl));
    assert_eq!(begun.elapsed(), Duration::from_secs(8));
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Unavailable);
    let unknown = elected.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(unknown.to_string(), "the registry gave no answer within 8s");
    shaky.line.set(Mode::Gone);
    while registry.breaker().state() == BreakerState::Closed {
        registry.list(&all).await.unwrap_err();
    }
    let refused = registry.elect(&role, me, ttl).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "it was not made");
    assert!(refused.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn what_it_refuses_is_an_answer() {
    let shaky = Shaky::new(MemoryRegistry::new());
    let registry = GuardedRegistry::new(Arc::new(shaky), GuardPolicy::registry());
    let role = Role::new("checker").unwrap();
    for _ in 0..100 {
        let elected = registry.elect(&role, Incarnation::fresh(), Duration::ZERO);
        assert_eq!(elected.await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(registry.breaker().state(), BreakerState::Closed);
}
