//! What each layer and the whole default stack add to a call within the process, beside the crates that people know.
//!
//! `cargo bench -p coditect-resilience`
//!
//! A figure is the median of many short rounds, in nanoseconds for each call, and stands beside the same call without any
//! layer, measured in the same process. The calls of others go through what their documentation shows first.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use backon::Retryable;
use coditect_resilience::{
    AdaptivePolicy, Backoff, Breaker, BreakerPolicy, Breakers, BulkheadLayer, BulkheadPolicy,
    CircuitBreakerLayer, ConcurrencyLimitLayer, ConcurrencyLimiter, Error, FallbackLayer,
    HedgeLayer, HedgePolicy, RateLimitLayer, RateLimiter, RatePolicy, RetryLayer, RetryPolicy,
    SheddingPolicy, Slots, StackLayer, StackPolicy, TimeoutLayer, Window, retry_errors,
};
use failsafe::CircuitBreaker as _;
use tokio::time::Instant;
use tower::{Layer, Service};

// Rounds are short, so that most fall between two switches of a busy machine, and the median is not about its neighbours.
const CALLS: u32 = 100;
const ROUNDS: usize = 5_001;

type Judge = fn(&Result<u32, Error>) -> coditect_resilience::Classification;
const JUDGE: Judge = retry_errors::<u32, Error>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A service that answers at once.
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

fn main() -> Outcome {
    // Entered and not blocked on: within a task, tokio would make the calls of some crates yield now and then.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _entered = runtime.enter();
    println!(
        "{:<44} {:>8} {:>8} {:>8}",
        "a call that succeeds through", "ns p50", "+ bare", "allocs"
    );
    let bare = row("(the bare service)", 0.0, calls(Echo));
    ours(bare)?;
    println!(
        "\n{:<44} {:>8} {:>8} {:>8}",
        "breaker", "ns p50", "× ours", "allocs"
    );
    breakers()?;
    println!(
        "\n{:<44} {:>8} {:>8} {:>8}",
        "retry, first try succeeds", "ns p50", "× ours", "allocs"
    );
    retries()?;
    println!();
    threads()?;
    keys()
}

/// Prints each layer of this crate alone, then the default stack.
fn ours(bare: f64) -> Outcome {
    row(
        "timeout",
        bare,
        calls(TimeoutLayer::new(Duration::from_secs(1)).layer(Echo)),
    );
    row(
        "retry",
        bare,
        calls(RetryLayer::new(RetryPolicy::default(), JUDGE).layer(Echo)),
    );
    let slots = Slots::new(BulkheadPolicy::new(64)?);
    row(
        "bulkhead",
        bare,
        calls(BulkheadLayer::new(slots).layer(Echo)),
    );
    let breaker = Breaker::new(BreakerPolicy::default());
    row(
        "circuit breaker, time window",
        bare,
        calls(CircuitBreakerLayer::new(breaker, JUDGE).layer(Echo)),
    );
    let keyed = Breakers::new(BreakerPolicy::default(), 1_000)?;
    let keyed = CircuitBreakerLayer::new(move |_: &u32| keyed.breaker("summarize@1"), JUDGE);
    row(
        "circuit breaker, looked up by key",
        bare,
        calls(keyed.layer(Echo)),
    );
    let rate = Arc::new(RateLimiter::new(
        RatePolicy::new(1_000_000, Duration::from_secs(1))?.with_burst(u32::MAX)?,
    ));
    let rate = RateLimitLayer::new(Duration::ZERO).with_limit(rate, |_: &u32| 1);
    row("rate limit", bare, calls(rate.layer(Echo)));
    let limiter =
        ConcurrencyLimiter::new(AdaptivePolicy::default()).with_shedding(SheddingPolicy::default());
    row(
        "adaptive limit with shedding",
        bare,
        calls(ConcurrencyLimitLayer::new(limiter, 0, JUDGE).layer(Echo)),
    );
    row(
        "hedge",
        bare,
        calls(HedgeLayer::new(HedgePolicy::default(), |_: &u32| true, JUDGE).layer(Echo)),
    );
    row(
        "fallback",
        bare,
        calls(FallbackLayer::new(Echo, JUDGE).layer(Echo)),
    );
    row(
        "the default stack",
        bare,
        calls(StackLayer::new(StackPolicy::service(), JUDGE).layer(Echo)),
    );
    Ok(())
}

/// Prints breakers side by side: each trips on five failures in a row, then each on half of the last hundred calls.
fn breakers() -> Outcome {
    let policy = BreakerPolicy::builder().consecutive_failures(5).build()?;
    let breaker = CircuitBreakerLayer::new(Breaker::new(policy), JUDGE);
    let ours = unit("ours, in a row", calls(breaker.layer(Echo)));
    let theirs = failsafe::Config::new()
        .failure_policy(failsafe::failure_policy::consecutive_failures(
            5,
            failsafe::backoff::exponential(Duration::from_secs(1), Duration::from_secs(30)),
        ))
        .build();
    ratio("failsafe, in a row (a plain function)", ours, || {
        let _ = black_box(theirs.call(|| Ok::<_, Error>(black_box(7))));
    });
    let theirs = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .consecutive_failures(5)
        .build()?;
    ratio(
        "tower-resilience, in a row",
        ours,
        calls(theirs.layer_fn(Echo)),
    );

    let policy = BreakerPolicy::builder()
        .failure_rate(0.5)
        .window(Window::Calls(100))
        .min_calls(20)
        .build()?;
    let breaker = CircuitBreakerLayer::new(Breaker::new(policy), JUDGE);
    let ours = unit("ours, share of 100 calls", calls(breaker.layer(Echo)));
    let theirs = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(20)
        .build()?;
    ratio(
        "tower-resilience, share of 100 calls",
        ours,
        calls(theirs.layer_fn(Echo)),
    );

    let ours = unit("ours, share of 10 s", {
        let breaker = CircuitBreakerLayer::new(Breaker::new(BreakerPolicy::default()), JUDGE);
        calls(breaker.layer(Echo))
    });
    let theirs = failsafe::Config::new()
        .failure_policy(failsafe::failure_policy::success_rate_over_time_window(
            0.5,
            20,
            Duration::from_secs(10),
            failsafe::backoff::exponential(Duration::from_secs(1), Duration::from_secs(30)),
        ))
        .build();
    ratio("failsafe, share of 10 s (a plain function)", ours, || {
        let _ = black_box(theirs.call(|| Ok::<_, Error>(black_box(7))));
    });
    Ok(())
}

/// Prints retries side by side, where nothing has to be retried.
fn retries() -> Outcome {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10))?;
    let policy = RetryPolicy::builder(3).backoff(backoff).build()?;
    let ours = unit("ours", calls(RetryLayer::new(policy, JUDGE).layer(Echo)));
    let theirs = tower_resilience_retry::RetryLayer::<u32, u32, Error>::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(100))
        .build();
    ratio("tower-resilience", ours, calls(theirs.layer(Echo)));
    ratio("backon (a plain function)", ours, || {
        let policy = backon::ExponentialBuilder::default()
            .with_jitter()
            .with_max_times(3);
        let call = (|| ready(Ok::<_, Error>(black_box(7)))).retry(policy);
        poll_now(call.into_future());
    });
    Ok(())
}

/// Prints what one breaker costs where several threads share it.
fn threads() -> Outcome {
    println!("{:<44} {:>8}", "one breaker, threads at once", "ns/call");
    for threads in [1, 2, 4] {
        let breaker = Breaker::new(BreakerPolicy::builder().consecutive_failures(5).build()?);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let breaker = &breaker;
                scope.spawn(move || {
                    for _ in 0..200_000 {
                        if let Ok(permit) = breaker.acquire() {
                            permit.success();
                        }
                    }
                });
            }
        });
        let calls = f64::from(threads * 200_000);
        println!(
            "{threads:<44} {:>8.1}",
            started.elapsed().as_nanos() as f64 / calls
        );
    }
    Ok(())
}

/// Prints what 100,000 keys take, and what one more costs when the table is full.
fn keys() -> Outcome {
    const KEYS: usize = 100_000;
    let names: Vec<String> = (0..2 * KEYS).map(|key| format!("agent-{key:06}")).collect();
    let breakers = Breakers::new(BreakerPolicy::default(), KEYS)?;
    let fill = |names: &[String]| {
        for name in names {
            if let Ok(permit) = breakers.breaker(name).acquire() {
                permit.success();
            }
        }
    };
    let bytes = measure(|| fill(&names[..KEYS])).bytes_current;
    println!("\n{KEYS} keys: {} bytes each", bytes / KEYS as i64);
    let timed = |names: &[String]| {
        let started = Instant::now();
        fill(names);
        started.elapsed().as_nanos() as f64 / names.len() as f64
    };
    println!("a call of a known key: {:.0} ns", timed(&names[..KEYS]));
    println!(
        "a call of a new key in a full table: {:.0} ns",
        timed(&names[KEYS..])
    );
    for name in &names[KEYS..] {
        breakers.breaker(name).force_open();
    }
    // The first of them finds out which ones are open, and those after it need not.
    println!(
        "the first new key where all others are open: {:.0} ns",
        timed(&names[..1])
    );
    println!("each one after it: {:.0} ns", timed(&names[1..1_000]));
    Ok(())
}

/// One call through a service, polled once.
fn calls<S>(mut service: S) -> impl FnMut()
where
    S: Service<u32, Response = u32>,
{
    move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        poll_now(service.call(black_box(7)));
    }
}

fn poll_now<T, E>(call: impl Future<Output = Result<T, E>>) {
    let mut call = std::pin::pin!(call);
    let outcome = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(black_box(outcome), Poll::Ready(Ok(_))));
}

/// Prints a row beside what stands before it, and returns the median.
fn row(name: &str, bare: f64, mut call: impl FnMut()) -> f64 {
    let median = median(&mut call);
    let allocations = measure(&mut call).count_total;
    println!(
        "{name:<44} {median:>8.1} {:>8.1} {allocations:>8}",
        median - bare
    );
    median
}

/// Prints a row of which the rows after it are multiples, and returns the median.
fn unit(name: &str, mut call: impl FnMut()) -> f64 {
    let median = median(&mut call);
    let allocations = measure(&mut call).count_total;
    println!("{name:<44} {median:>8.1} {:>8.2} {allocations:>8}", 1.0);
    median
}

/// Prints a row as a multiple of ours.
fn ratio(name: &str, ours: f64, mut call: impl FnMut()) {
    let median = median(&mut call);
    let allocations = measure(&mut call).count_total;
    println!(
        "{name:<44} {median:>8.1} {:>8.2} {allocations:>8}",
        median / ours
    );
}

/// The median of the rounds, in nanoseconds for each call.
fn median(call: &mut impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..CALLS).for_each(|_| call());
            started.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
