//! The contract of [`RateLimitStore`], rule by rule, for any implementation.
//!
//! ```
//! use std::sync::Arc;
//! use coditect_resilience::{MemoryRateLimitStore, rate::shared::conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! conformance::all(async || Arc::new(MemoryRateLimitStore::new()) as _).await;
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Demand, RateDecision, RateLimitStore};
use crate::rate::RatePolicy;

/// Holds an implementation to every rule, each on an empty store.
///
/// # Panics
///
/// If a rule is broken.
pub async fn all(empty: impl AsyncFn() -> Arc<dyn RateLimitStore>) {
    r1_no_more_is_taken_than_the_rate_allows(&*empty().await).await;
    r1_what_was_waited_for_is_earned(&*empty().await).await;
    r2_a_refusal_takes_nothing(&*empty().await).await;
    r3_keys_are_apart(&*empty().await).await;
}

fn demand(tokens: u32, max_wait: Duration) -> Demand {
    Demand {
        policy: RatePolicy::new(10, Duration::from_secs(1)).expect("a fair rate"),
        tokens,
        max_wait,
    }
}

async fn reserve(store: &dyn RateLimitStore, key: &str, demand: Demand) -> RateDecision {
    store.reserve(key, demand).await.expect("the store answers")
}

/// R1: the burst, then each token a tenth of a second after the one before.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r1_no_more_is_taken_than_the_rate_allows(store: &dyn RateLimitStore) {
    let started = Instant::now();
    let mut last = Duration::ZERO;
    for i in 0..30_u32 {
        let decision = reserve(store, "a", demand(1, Duration::from_secs(60))).await;
        let RateDecision::Go(wait) = decision else {
            panic!("{decision:?}");
        };
        let due = Duration::from_millis(100) * (i + 1).saturating_sub(10);
        let at = started.elapsed() + wait;
        // Only the way to the store and its grain of a millisecond make it early.
        assert!(
            at + Duration::from_millis(2) >= due,
            "{at:?} before {due:?}"
        );
        last = wait;
    }
    assert!(
        last <= Duration::from_secs(2),
        "{last:?} is more than was taken"
    );
}

/// R1: what was not taken is there again after a while.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r1_what_was_waited_for_is_earned(store: &dyn RateLimitStore) {
    let all = reserve(store, "a", demand(10, Duration::ZERO)).await;
    assert_eq!(all, RateDecision::Go(Duration::ZERO));
    sleep(Duration::from_millis(210)).await;
    let two = reserve(store, "a", demand(2, Duration::ZERO)).await;
    assert_eq!(two, RateDecision::Go(Duration::ZERO));
}

/// R2: a refusal takes nothing, and says when to come again.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r2_a_refusal_takes_nothing(store: &dyn RateLimitStore) {
    for _ in 0..5 {
        let decision = reserve(store, "a", demand(11, Duration::ZERO)).await;
        let RateDecision::Refused(left) = decision else {
            panic!("{decision:?}");
        };
        assert!(left <= Duration::from_millis(100), "{left:?}");
    }
    let all = reserve(store, "a", demand(10, Duration::ZERO)).await;
    assert_eq!(all, RateDecision::Go(Duration::ZERO));
}

/// R3: what is taken under one key is not missing under another.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r3_keys_are_apart(store: &dyn RateLimitStore) {
    for key in ["", "a", "a b/c:d*?[x]\r\n", "ä€🙂"] {
        let decision = reserve(store, key, demand(10, Duration::ZERO)).await;
        assert_eq!(decision, RateDecision::Go(Duration::ZERO), "{key:?}");
    }
}
