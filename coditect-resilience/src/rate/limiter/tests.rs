//! The limiter between threads, and several limits at once.

#[cfg(not(loom))]
use std::sync::Barrier;

use super::*;

fn limiter(amount: u32, burst: u32) -> RateLimiter {
    let policy = RatePolicy::new(amount, Duration::from_secs(1)).unwrap();
    RateLimiter::new(policy.with_burst(burst).unwrap())
}

#[cfg(not(loom))]
#[test]
fn threads_together_get_no_more_than_one_alone() {
    let (limiter, now, barrier) = (limiter(10, 1_000), Instant::now(), Barrier::new(4));
    let granted: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..1_000)
                        .map(|_| u32::from(limiter.reserve_at(now, 1, Duration::ZERO).is_ok()))
                        .sum::<u32>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    // Started a moment before `now`, when it was full already.
    assert_eq!(granted, 1_000);
}

#[cfg(not(loom))]
#[tokio::test(start_paused = true)]
async fn all_limits_are_taken_or_none() {
    let (requests, tokens) = (limiter(10, 2), limiter(100, 50));
    let both = |cost| RateLimiter::reserve_all(&[(&requests, 1), (&tokens, cost)], Duration::ZERO);
    assert!(both(51).is_err());
    assert!(both(50).is_ok(), "the refusal before took no request");
    let refused = both(10).unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    tokens.refund(10);
    assert!(both(10).is_ok());
    requests.charge(10);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(both(1).is_err(), "a second earned what was overdrawn");
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(both(1).unwrap().at(), Instant::now());
}

#[cfg(loom)]
#[test]
fn loom_two_threads_never_take_the_same_token() {
    loom::model(|| {
        let limiter = std::sync::Arc::new(limiter(1, 1));
        let now = Instant::now();
        let other = {
            let limiter = std::sync::Arc::clone(&limiter);
            loom::thread::spawn(move || limiter.reserve_at(now, 1, Duration::ZERO).is_ok())
        };
        let mine = limiter.reserve_at(now, 1, Duration::ZERO).is_ok();
        assert!(mine != other.join().unwrap(), "one of the two");
    });
}
