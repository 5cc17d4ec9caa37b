//! The stack through an outage and its presets, on paused time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{
    Breaker, BreakerPolicy, BreakerState, BudgetPolicy, Classification, Error, ErrorKind,
    RetryBudget, RetryObserver, RetryPolicy, SplitMix, TimeoutObserver,
};

fn judge(outcome: &Result<(), Error>) -> Classification {
    outcome
        .as_ref()
        .err()
        .map_or(Classification::Success, Error::classification)
}

#[derive(Default)]
struct Counts {
    retries: AtomicU32,
    timeouts: AtomicU32,
}

impl RetryObserver for Counts {
    fn on_retry(&self, _: u32, _: Duration) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl TimeoutObserver for Counts {
    fn on_timeout(&self, _: Duration) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

/// An agent that can be switched off.
#[derive(Default)]
struct Agent {
    is_down: AtomicBool,
    hangs: bool,
    calls: AtomicU32,
}

impl Agent {
    async fn handle(self: Arc<Self>) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            if self.hangs {
                pending::<()>().await;
            }
            return Err(Error::timeout(Duration::ZERO));
        }
        sleep(Duration::from_millis(5)).await;
        Ok(())
    }
}

struct Outage {
    offered: u32,
    calls: u32,
    retries: u32,
    first_success: Duration,
}

const OFFERED_PER_SECOND: u32 = 100;
const LASTS: Duration = Duration::from_secs(30);

/// A hundred calls a second for ten seconds, then an outage of thirty, then health again.
async fn outage(retry: RetryPolicy, hangs: bool, seed: u64) -> Outage {
    let counts = Arc::new(Counts::default());
    let agent = Arc::new(Agent {
        hangs,
        ..Agent::default()
    });
    let mut policy = StackPolicy::service()
        .with_timeouts(Duration::from_millis(500), Duration::from_secs(5))
        .unwrap();
    policy.retry = retry;
    let stack = StackLayer::new(policy, judge)
        .with_breaker(Breaker::new(policy.breaker).with_randomness({
            let random = SplitMix::from_seed(seed);
            move || crate::Randomness::next_unit(&random)
        }))
        .with_retry_observer(counts.clone())
        .with_timeout_observer(counts.clone());
    let seen = Arc::clone(&agent);
    let service = stack.layer(service_fn(move |()| Arc::clone(&seen).handle()));
    let mut calls = JoinSet::new();
    let mut offer = async |span: Duration| {
        let until = Instant::now() + span;
        let mut offered = 0;
        while Instant::now() < until {
            offered += 1;
            let call = service.clone().oneshot(());
            calls.spawn(async move { call.await.is_ok().then(Instant::now) });
            sleep(Duration::from_secs(1) / OFFERED_PER_SECOND).await;
        }
        offered
    };
    offer(Duration::from_secs(10)).await;
    let (before, retries) = (
        agent.calls.load(Ordering::Relaxed),
        counts.retries.load(Ordering::Relaxed),
    );
    agent.is_down.store(true, Ordering::Relaxed);
    let offered = offer(LASTS).await;
    let during = agent.calls.load(Ordering::Relaxed) - before;
    let retries = counts.retries.load(Ordering::Relaxed) - retries;
    agent.is_down.store(false, Ordering::Relaxed);
    let healed = Instant::now();
    offer(Duration::from_secs(10)).await;
    let outcomes = calls.join_all().await;
    let successes = outcomes.into_iter().flatten();
    let first = successes
        .filter(|at| *at > healed)
        .min()
        .expect("it healed");
    assert_eq!(stack.breaker().state(), BreakerState::Closed);
    assert_eq!(stack.slots().free(), 64);
    Outage {
        offered,
        calls: during,
        retries,
        first_success: first - healed,
    }
}

async fn holds(hangs: bool) {
    for seed in 0..5 {
        let outage = outage(StackPolicy::service().retry, hangs, seed).await;
        let Outage {
            offered,
            calls,
            retries,
            first_success,
        } = outage;
        assert!(
            calls < offered / 20,
            "seed {seed}: {calls} calls of {offered} offered"
        );
        assert!(
            retries < offered / 10,
            "seed {seed}: {retries} retries for {offered} calls"
        );
        assert!(
            first_success < Duration::from_secs(2),
            "seed {seed}: {first_success:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_fails_is_left_alone_and_found_out_soon_after_it_healed() {
    holds(false).await;
}

#[tokio::test(start_paused = true)]
async fn so_is_one_that_hangs() {
    holds(true).await;
}

#[tokio::test(start_paused = true)]
async fn retries_add_less_than_a_tenth_to_what_an_outage_costs_without_them() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..5 {
        with += outage(StackPolicy::service().retry, false, seed)
            .await
            .calls;
        without += outage(RetryPolicy::none(), false, seed).await.calls;
    }
    // Before the breaker opens, what was saved up in the budget may be spent: that is bounded by its capacity.
    let saved_up = 5 * StackPolicy::service().budget.capacity();
    assert!(
        with <= without + without / 10 + saved_up,
        "{with} with retries, {without} without"
    );
}

#[tokio::test(start_paused = true)]
async fn a_try_that_hangs_is_counted_by_the_breaker_and_ends_the_call_in_time() {
    let mut policy = StackPolicy::store();
    policy.breaker = BreakerPolicy::builder()
        .consecutive_failures(2)
        .build()
        .unwrap();
    let counts = Arc::new(Counts::default());
    let stack = StackLayer::new(policy, judge).with_timeout_observer(counts.clone());
    let service = stack.layer(service_fn(|()| pending::<Result<(), Error>>()));
    let started = Instant::now();
    let error = service.oneshot(()).await.unwrap_err();
    // Two tries trip it, the third is refused and waits until it may probe, the fourth is the probe.
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(counts.timeouts.load(Ordering::Relaxed), 3);
    assert!(started.elapsed() <= policy.timeout());
    assert_eq!(stack.breaker().state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_wants_to_be_asked_much_later_is_given_up_at_once() {
    let whole = Duration::from_secs(5);
    let policy = StackPolicy::model()
        .with_timeouts(Duration::from_secs(1), whole)
        .unwrap();
    let service = StackLayer::new(policy, judge).layer(service_fn(|later: Duration| async move {
        Err::<(), _>(Error::rate_limited(Some(later)))
    }));
    for (later, took) in [
        (whole, Duration::ZERO),
        (Duration::from_secs(2), Duration::from_secs(4)),
    ] {
        let started = Instant::now();
        let error = service.clone().oneshot(later).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(started.elapsed() >= took && started.elapsed() < took + Duration::from_secs(1));
    }
}

#[test]
fn every_preset_is_consistent_and_travels() {
    for policy in [
        StackPolicy::service(),
        StackPolicy::agent(),
        StackPolicy::model(),
        StackPolicy::store(),
        StackPolicy::bus(),
    ] {
        assert!(policy.try_timeout() <= policy.timeout());
        let sent = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<StackPolicy>(&sent).unwrap(), policy);
        assert!(policy.breaker.open_for().max() < Duration::from_secs(2));
    }
    assert_eq!(
        StackPolicy::agent().retry.max_attempts(),
        1,
        "only the run's timers retry an agent"
    );
    assert_eq!(StackPolicy::default(), StackPolicy::service());
    let (long, short) = (Duration::from_secs(2), Duration::from_secs(1));
    assert!(StackPolicy::bus().with_timeouts(long, short).is_err());
    let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(0.1, 3).unwrap()));
    let stack = StackLayer::new(StackPolicy::bus(), judge).with_budget(budget);
    assert_eq!(stack.budget().balance(), 3.0);
    assert!(format!("{stack:?}").contains("policy"));
}
