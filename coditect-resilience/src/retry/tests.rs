//! The layer as a caller meets it, on paused time.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use super::*;
use crate::{Backoff, Classification, Jitter, retry_errors};

/// Answers from a script, and insists on being asked whether it is ready before each call.
struct Scripted {
    script: Arc<Mutex<VecDeque<Result<u32, Failure>>>>,
    calls: Arc<Mutex<Vec<Instant>>>,
    ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Passing,
    Busy(u64),
    Final,
    Ignored,
    NotReady,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Result<u32, Failure>>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            calls: Arc::default(),
            ready: false,
        }
    }

    fn calls(&self) -> usize {
        self.calls.lock().len()
    }

    fn waits(&self) -> Vec<u128> {
        let calls = self.calls.lock();
        let waits = calls.windows(2).map(|pair| pair[1] - pair[0]);
        waits.map(|wait| wait.as_millis()).collect()
    }
}

impl Clone for Scripted {
    /// A clone has to be asked for itself whether it is ready, as with any service.
    fn clone(&self) -> Self {
        Self {
            script: Arc::clone(&self.script),
            calls: Arc::clone(&self.calls),
            ready: false,
        }
    }
}

impl Service<&'static str> for Scripted {
    type Response = u32;
    type Error = Failure;
    type Future = Ready<Result<u32, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.script.lock().front() == Some(&Err(Failure::NotReady)) {
            return Poll::Ready(Err(Failure::NotReady));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before ready");
        assert_eq!(request, "request");
        self.calls.lock().push(Instant::now());
        let answer = self.script.lock().pop_front();
        ready(answer.unwrap_or(Err(Failure::Passing)))
    }
}

type Judge = fn(&Result<u32, Failure>) -> Classification;

fn judge(outcome: &Result<u32, Failure>) -> Classification {
    match outcome {
        Ok(_) => Classification::Success,
        Err(Failure::Passing) => Classification::Retry,
        Err(Failure::Busy(ms)) => Classification::RetryAfter(Duration::from_millis(*ms)),
        Err(Failure::Final | Failure::NotReady) => Classification::Fail,
        Err(Failure::Ignored) => Classification::Ignore,
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl RetryObserver for Log {
    fn on_retry(&self, attempt: u32, delay: Duration) {
        self.0.lock().push(format!("retry {attempt} {delay:?}"));
    }

    fn on_success(&self, attempts: u32) {
        self.0.lock().push(format!("success {attempts}"));
    }

    fn on_give_up(&self, attempts: u32, why: GiveUp) {
        self.0.lock().push(format!("give up {attempts} {why:?}"));
    }
}

fn policy(max_attempts: u32) -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).unwrap();
    RetryPolicy::builder(max_attempts)
        .backoff(backoff)
        .build()
        .unwrap()
}

async fn call(service: &Scripted, layer: RetryLayer<Judge>) -> Result<u32, Failure> {
    layer.layer(service.clone()).oneshot("request").await
}

fn layer(max_attempts: u32) -> RetryLayer<Judge> {
    RetryLayer::new(policy(max_attempts), judge as Judge).with_randomness(|| 0.5)
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_repeated_after_the_backoff_until_it_succeeds() {
    let service = Scripted::new([Err(Failure::Passing), Err(Failure::Passing), Ok(7)]);
    let log = Arc::new(Log::default());
    assert_eq!(
        call(&service, layer(5).with_observer(log.clone())).await,
        Ok(7)
    );
    assert_eq!(service.waits(), [50, 100], "half of 100 ms, half of 200 ms");
    assert_eq!(
        *log.0.lock(),
        ["retry 2 50ms", "retry 3 100ms", "success 3"]
    );
}

#[tokio::test(start_paused = true)]
async fn each_wait_knows_the_one_before() {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(9))
        .and_then(|backoff| backoff.with_multiplier(3.0))
        .unwrap()
        .with_jitter(Jitter::Decorrelated);
    let policy = RetryPolicy::builder(3).backoff(backoff).build().unwrap();
    let service = Scripted::new([]);
    let layer = RetryLayer::new(policy, judge as Judge).with_randomness(|| 0.5);
    assert_eq!(call(&service, layer).await, Err(Failure::Passing));
    assert_eq!(
        service.waits(),
        [200, 350],
        "half-way from 100 to 300 ms, then to 600 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_returned_when_the_attempts_are_used_up() {
    let script = [Err(Failure::Passing), Err(Failure::Busy(1)), Ok(1)];
    let service = Scripted::new(script);
    let log = Arc::new(Log::default());
    let outcome = call(&service, layer(2).with_observer(log.clone())).await;
    assert_eq!(outcome, Err(Failure::Busy(1)));
    assert_eq!(service.calls(), 2);
    assert_eq!(*log.0.lock(), ["retry 2 50ms", "give up 2 Attempts"]);
}

#[tokio::test(start_paused = true)]
async fn the_callee_is_asked_again_when_it_said() {
    let service = Scripted::new([Err(Failure::Busy(30_000)), Ok(7)]);
    assert_eq!(call(&service, layer(5)).await, Ok(7));
    assert_eq!(service.waits(), [30_000]);
}

#[tokio::test(start_paused = true)]
async fn final_and_ignored_failures_are_returned_at_once() {
    for (failure, told) in [
        (Failure::Final, vec!["give up 1 NotRetryable"]),
        (Failure::Ignored, vec![]),
    ] {
        let service = Scripted::new([Err(failure)]);
        let log = Arc::new(Log::default());
        let outcome = call(&service, layer(5).with_observer(log.clone())).await;
        assert_eq!(outcome, Err(failure));
        assert_eq!(service.calls(), 1);
        assert_eq!(*log.0.lock(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn no_try_begins_after_the_time_limit() {
    let limited = RetryPolicy::builder(u32::MAX)
        .backoff(Backoff::constant(Duration::from_millis(400)))
        .max_elapsed(Duration::from_secs(1))
        .build()
        .unwrap();
    let service = Scripted::new([]);
    let log = Arc::new(Log::default());
    let layer = RetryLayer::new(limited, retry_errors).with_observer(log.clone());
    let started = Instant::now();
    let outcome = layer.layer(service.clone()).oneshot("request").await;
    assert_eq!(outcome, Err(Failure::Passing));
    assert_eq!(service.waits(), [400, 400]);
    assert_eq!(started.elapsed(), Duration::from_millis(800));
    assert_eq!(
        log.0.lock().last().map(String::as_str),
        Some("give up 3 Elapsed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_between_tries_ends_the_call() {
    let service = Scripted::new([Err(Failure::Passing), Err(Failure::NotReady)]);
    assert_eq!(call(&service, layer(5)).await, Err(Failure::NotReady));
    assert_eq!(service.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_services_of_a_layer_share_its_budget() {
    let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(0.0, 3).unwrap()));
    let log = Arc::new(Log::default());
    let layer = layer(10)
        .with_budget(Arc::clone(&budget))
        .with_observer(log.clone());
    let service = Scripted::new([]);
    for _ in 0..2 {
        let outcome = call(&service, layer.clone()).await;
        assert_eq!(outcome, Err(Failure::Passing));
    }
    assert_eq!(service.calls(), 2 + 3);
    assert_eq!(log.0.lock()[3..], ["give up 4 Budget", "give up 1 Budget"]);
}

#[tokio::test(start_paused = true)]
async fn only_a_success_pays_into_the_budget() {
    let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(1.0, 5).unwrap()));
    while budget.withdraw() {}
    let service = Scripted::new([Ok(1), Err(Failure::Ignored), Err(Failure::Final)]);
    for _ in 0..3 {
        let _ = call(&service, layer(1).with_budget(Arc::clone(&budget))).await;
    }
    assert_eq!(budget.balance(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_not_tried_again() {
    let service = Scripted::new([]);
    let call = call(&service, layer(5));
    let outcome = tokio::time::timeout(Duration::from_millis(10), call).await;
    assert!(outcome.is_err(), "it was waiting for its second try");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(service.calls(), 1);
}

#[tokio::test]
async fn one_attempt_does_not_clone_the_request() {
    #[derive(Debug)]
    struct Unclonable;
    impl Clone for Unclonable {
        fn clone(&self) -> Self {
            panic!("cloned although no second attempt is allowed");
        }
    }
    let echo = tower::service_fn(|_: Unclonable| ready(Ok::<_, Failure>(3)));
    let layer = RetryLayer::new(RetryPolicy::none(), retry_errors);
    assert_eq!(layer.layer(echo).oneshot(Unclonable).await, Ok(3));
}

#[test]
fn debug_shows_the_policy_and_needs_nothing_of_the_classifier() {
    let layer = layer(5);
    let text = format!("{layer:?} {:?}", layer.layer(()));
    assert!(text.contains("max_attempts: 5"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_calls_together_never_retry_more_than_the_budget_allows(
        capacity in 0_u32..10,
        share in 0_u32..=1_000,
        max_attempts in 1_u32..6,
        answers in proptest::collection::vec(any::<bool>(), 0..100),
    ) {
        let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(f64::from(share) / 1_000.0, capacity).unwrap()));
        let layer = layer(max_attempts).with_budget(Arc::clone(&budget));
        let successes = answers.iter().filter(|good| **good).count();
        let service = Scripted::new(answers.iter().map(|good| if *good { Ok(1) } else { Err(Failure::Passing) }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let calls = runtime.block_on(async {
            let mut calls = 0;
            while !service.script.lock().is_empty() {
                let before = service.calls();
                let _ = call(&service, layer.clone()).await;
                calls += 1;
                assert!(service.calls() - before <= max_attempts as usize);
            }
            calls
        });
        let retries = service.calls() - calls;
        let allowed = f64::from(capacity) + successes as f64 * f64::from(share) / 1_000.0;
        prop_assert!(retries as f64 <= allowed + 1e-9, "{retries} of {allowed}");
    }
}
