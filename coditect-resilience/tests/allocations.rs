//! What a call that succeeds allocates on its way through the layers, and what a hundred thousand keys take.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use coditect_resilience::{
    AdaptivePolicy, Breaker, BreakerPolicy, BreakerState, Breakers, CircuitBreakerLayer,
    Classification, ConcurrencyLimitLayer, ConcurrencyLimiter, Error, FallbackLayer, HedgeLayer,
    HedgePolicy, RateLimitLayer, RateLimiter, RatePolicy, SheddingPolicy, StackLayer, StackPolicy,
    Window,
};
use tower::{Layer, Service};

/// A service that answers at once and allocates nothing.
#[derive(Clone)]
struct Echo;

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Error;
    type Future = Ready<Result<u32, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

fn judge(outcome: &Result<u32, Error>) -> Classification {
    outcome
        .as_ref()
        .err()
        .map_or(Classification::Success, Error::classification)
}

/// Counts what the second of two calls allocates; the first one fills what is filled once.
fn allocations(mut service: impl Service<u32, Response = u32, Error = Error>) -> u64 {
    let mut call = || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut future = std::pin::pin!(service.call(7));
        assert!(matches!(future.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    };
    call();
    measure(call).count_total
}

#[tokio::test]
async fn a_call_that_succeeds_allocates_nothing_in_any_layer_nor_in_the_stack() {
    let stack = StackLayer::new(StackPolicy::service(), judge);
    assert_eq!(allocations(stack.layer(Echo)), 0, "the default stack");

    let breakers = Breakers::new(BreakerPolicy::default(), 10).unwrap();
    let keyed = CircuitBreakerLayer::new(move |_: &u32| breakers.breaker("agent"), judge);
    assert_eq!(allocations(keyed.layer(Echo)), 0, "a keyed breaker");

    let limiter =
        ConcurrencyLimiter::new(AdaptivePolicy::default()).with_shedding(SheddingPolicy::default());
    let limited = ConcurrencyLimitLayer::new(limiter, 0, judge);
    assert_eq!(allocations(limited.layer(Echo)), 0, "an adaptive limit");

    let rate = RatePolicy::new(1_000, Duration::from_secs(1)).unwrap();
    let rated = RateLimitLayer::new(Duration::ZERO)
        .with_limit(Arc::new(RateLimiter::new(rate)), |_: &u32| 1);
    assert_eq!(allocations(rated.layer(Echo)), 0, "a rate");

    let policy = HedgePolicy::default().with_min_calls(1);
    let hedged = HedgeLayer::new(policy, |_: &u32| true, judge);
    assert_eq!(allocations(hedged.layer(Echo)), 0, "a hedge");

    let fallback = FallbackLayer::new(Echo, judge);
    assert_eq!(allocations(fallback.layer(Echo)), 0, "a fallback");
}

#[test]
fn the_counter_counts() {
    let boxed = tower::service_fn(|request: u32| {
        let boxed = Box::new(request);
        ready(Ok::<_, Error>(*std::hint::black_box(boxed)))
    });
    assert_eq!(allocations(boxed), 1);
}

#[test]
fn a_hundred_thousand_breakers_are_bounded_in_memory() {
    const KEYS: usize = 100_000;
    let policies = [
        BreakerPolicy::default(),
        BreakerPolicy::builder()
            .failure_rate(0.5)
            .window(Window::Calls(100))
            .build()
            .unwrap(),
    ];
    for policy in policies {
        let breakers = Breakers::new(policy, KEYS).unwrap();
        let use_keys = |from: usize| {
            for key in from..from + KEYS {
                let breaker: Breaker = breakers.breaker(&format!("agent-{key:06}"));
                breaker.acquire().unwrap().success();
            }
        };
        // Twice as many keys as fit: the table reaches its size, with room for the marks that removals leave.
        let filled = measure(|| {
            use_keys(0);
            use_keys(KEYS);
        });
        assert_eq!(breakers.len(), KEYS);
        let each = filled.bytes_current / KEYS as i64;
        println!("{each} bytes for each key, {policy:?}");
        assert!(each < 600, "{each} bytes for each key");
        let more = measure(|| use_keys(2 * KEYS)).bytes_current;
        assert_eq!(breakers.len(), KEYS);
        assert!(more.abs() < filled.bytes_current / 100, "{more} bytes more");
        assert_eq!(breakers.tripped().len(), 0);
        assert_eq!(
            breakers.breaker("agent-250000").state(),
            BreakerState::Closed
        );
    }
}
