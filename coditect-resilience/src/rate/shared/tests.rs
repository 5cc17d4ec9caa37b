//! Three processes with one allowance, and a store that goes away.

use std::future::pending;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::*;
use crate::ErrorKind;

#[derive(Default)]
struct Flaky {
    memory: MemoryRateLimitStore,
    mood: AtomicU8,
    asked: AtomicU32,
}

#[async_trait]
impl RateLimitStore for Flaky {
    async fn reserve(&self, key: &str, demand: Demand) -> Result<RateDecision, BoxError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.mood.load(Ordering::Relaxed) {
            0 => self.memory.reserve(key, demand).await,
            1 => Err("connection refused".into()),
            _ => pending().await,
        }
    }
}

#[derive(Default)]
struct Failures(AtomicU32);

impl RateObserver for Failures {
    fn on_store_failure(&self, _: &(dyn std::error::Error + 'static)) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn policy() -> RatePolicy {
    RatePolicy::new(30, Duration::from_secs(1)).unwrap()
}

async fn granted(limiters: &[SharedRateLimiter], rounds: u32) -> u32 {
    let mut granted = 0;
    for _ in 0..rounds {
        for limiter in limiters {
            granted += u32::from(limiter.reserve(1, Duration::ZERO).await.is_ok());
        }
    }
    granted
}

#[tokio::test(start_paused = true)]
async fn processes_share_one_allowance_and_fall_back_to_their_part_of_it() {
    let (store, failures) = (Arc::new(Flaky::default()), Arc::new(Failures::default()));
    let limiter = |_| {
        SharedRateLimiter::new(store.clone(), "provider", policy(), 3)
            .with_timeout(Duration::from_millis(20))
            .with_observer(failures.clone())
    };
    let limiters: Vec<_> = (0..3).map(limiter).collect();
    assert_eq!(granted(&limiters, 20).await, 30);
    let refused = limiters[0].reserve(1, Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    assert!(refused.retry_after().is_some());

    for mood in [1, 2] {
        store.mood.store(mood, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (asked, failed) = (
            store.asked.load(Ordering::Relaxed),
            failures.0.load(Ordering::Relaxed),
        );
        let started = Instant::now();
        // Ten each, and what is earned while the store lets them wait.
        let granted = granted(&limiters, 20).await;
        assert!((30..=36).contains(&granted), "{granted}");
        assert!(started.elapsed() <= Duration::from_millis(3 * 3 * 20));
        let asked = store.asked.load(Ordering::Relaxed) - asked;
        assert!(
            asked <= 9,
            "after three failures each leaves the store alone: {asked}"
        );
        assert_eq!(failures.0.load(Ordering::Relaxed) - failed, asked);
    }

    store.mood.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(granted(&limiters, 20).await, 30);
    assert!(format!("{:?}", limiters[0]).contains("provider"));
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_by_the_store_is_not_granted_again_when_it_goes_away() {
    let store = Arc::new(Flaky::default());
    let limiters = [SharedRateLimiter::new(
        store.clone(),
        "provider",
        policy(),
        1,
    )];
    assert_eq!(granted(&limiters, 40).await, 30);
    store.mood.store(1, Ordering::Relaxed);
    assert_eq!(granted(&limiters, 40).await, 0);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(
        granted(&limiters, 40).await,
        14,
        "half a second's worth, in whole tokens"
    );
}
