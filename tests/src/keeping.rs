//! Runs that are submitted one after the other while processes die, and what they must come to.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::Backoff;
use coditect_core::{Error, RetryPolicy, RuntimeBuilder};

const STEP: Call<u64, u64> = Call::new("step");
/// How many tasks a run has one after the other, and how many times side by side.
const LENGTH: u64 = 3;
const WIDTH: u64 = 2;
/// The label by which runs are numbered.
pub const NUMBER: &str = "number";
/// How long a process is believed in, so that a test is not mostly waiting.
pub const LEASE: Duration = Duration::from_secs(1);

/// Adds one; every seventh number fails at first.
pub fn step() -> impl Agent {
    let handler = async |context: TaskContext, number: u64| {
        tokio::time::sleep(Duration::from_millis(number % 4)).await;
        if number.is_multiple_of(7) && context.attempt() == 1 {
            return Err(AgentError::retryable("at first"));
        }
        Ok(number + 1)
    };
    agent("step", handler)
}

/// The plan of a run: chains of steps side by side.
///
/// # Errors
///
/// None: it is sound.
pub fn plan(number: u64) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let mut ends = Vec::new();
    let backoff = Backoff::constant(Duration::from_millis(5));
    let policy = RetryPolicy::builder(5).backoff(backoff).build();
    let policy = policy.expect("there are attempts");
    for chain in 0..WIDTH {
        let mut last = plan.task(format!("{chain}-0"), &STEP, number + 10 * chain);
        plan.configure(&last, |task| task.retry(policy));
        for place in 1..LENGTH {
            last = plan.task(format!("{chain}-{place}"), &STEP, last);
            plan.configure(&last, |task| task.retry(policy));
        }
        ends.push(last);
    }
    plan.aggregate(collect_all(), ends)
}

/// What the run of a number comes to.
#[must_use]
pub fn result(number: u64) -> Vec<u64> {
    (0..WIDTH)
        .map(|chain| number + 10 * chain + LENGTH)
        .collect()
}

/// How many tasks succeed in a run.
#[must_use]
pub const fn tasks() -> usize {
    (LENGTH * WIDTH) as usize
}

/// Submits the run of a number; the same number is the same run.
///
/// # Errors
///
/// As `Submit`.
pub async fn submit(runtime: &Runtime, number: u64) -> Result<RunHandle<Vec<u64>>, Error> {
    let submit = runtime.submit_plan(plan(number)?);
    let submit = submit.idempotency_key(format!("number-{number}"));
    submit.label(NUMBER, number.to_string()).await
}

/// What a place ends with where leases are to last as long as they usually do.
pub const USUAL: &str = " usual";

/// A runtime on a state and perhaps a bus: `STATE`, `STATE BUS`, or `STATE BUS usual` for the usual leases.
pub fn on(places: &str) -> RuntimeBuilder {
    let (places, builder) = match places.strip_suffix(USUAL) {
        Some(places) => (places, Runtime::builder()),
        None => (places, Runtime::builder().leases(LEASE, LEASE)),
    };
    match places.split_once(' ') {
        Some((state, bus)) => builder.state(state).bus(bus),
        None => builder.state(places),
    }
}
