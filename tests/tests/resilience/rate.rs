//! Rates: what is beyond them waits without a slot.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::RatePolicy;
use coditect_core::{Dispatch, Error, RateLimits};
use tokio::time::Instant;

use crate::stage::{Notes, within};

const WORK: Call<u64, u64> = Call::new("work");
const OTHER: Call<u64, u64> = Call::new("other");
const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

fn side_by_side(count: u64) -> Plan<Vec<u64>> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|number| plan.task(number.to_string(), &WORK, number))
        .collect();
    plan.aggregate(collect_all(), tasks).unwrap()
}

fn ten_a_second() -> RatePolicy {
    let policy = RatePolicy::new(10, Duration::from_secs(1)).unwrap();
    policy.with_burst(1).unwrap()
}

async fn runtime(
    dispatch: Dispatch,
    limits: impl Into<RateLimits>,
    cost: u32,
) -> Result<(Runtime, Notes<Instant>), Error> {
    let notes = Notes::new();
    let noted = notes.clone();
    let handler = move |context: TaskContext, x: u64| {
        if context.key() != "other" {
            noted.push(Instant::now());
            context.charge(cost);
        }
        std::future::ready(Ok::<_, AgentError>(x))
    };
    let card = AgentCard::new("both")
        .with_capability("work")
        .with_capability("other")
        .with_concurrency(1);
    let runtime = Runtime::builder()
        .dispatch(dispatch)
        .rate_limit("work", limits)
        .agent(agent("both", handler).with_card(card))
        .start()
        .await?;
    Ok((runtime, notes))
}

#[tokio::test(start_paused = true)]
async fn calls_go_at_the_rate_and_what_waits_holds_no_slot() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (runtime, notes) = runtime(dispatch, ten_a_second(), 0).await?;
        let run = runtime.submit_plan(side_by_side(31)).await?;
        let began = Instant::now();
        // There is one slot.
        for number in 0..20 {
            let mut plan = Plan::builder();
            let other = plan.task("other", &OTHER, number);
            let other = runtime.submit_plan(plan.output::<u64>(other)?).await?;
            assert_eq!(within(other.result()).await?, number);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{dispatch:?}");
        assert_eq!(within(run.result()).await?.len(), 31);
        let notes = notes.all();
        let took = notes[30] - notes[0];
        let fits = Duration::from_millis(2_900)..Duration::from_millis(3_600);
        assert!(fits.contains(&took), "{dispatch:?}: {took:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_calls_turn_out_to_cost_delays_those_after_them() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let tokens = RatePolicy::new(1_000, Duration::from_secs(60)).unwrap();
        let requests = RatePolicy::new(1_000, Duration::from_secs(1)).unwrap();
        let limits = RateLimits::requests(requests).with_tokens(tokens);
        let (runtime, notes) = runtime(dispatch, limits, 500).await?;
        let run = runtime.submit_plan(side_by_side(8)).await?;
        assert_eq!(within(run.result()).await?.len(), 8);
        let notes = notes.all();
        let took = notes[7] - notes[0];
        // 3500 tokens were spent before the last call, of which 1000 were there: the rest takes two minutes and a half.
        let fits = Duration::from_secs(115)..Duration::from_secs(155);
        assert!(fits.contains(&took), "{dispatch:?}: {took:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_run_keep_to_the_rate_too() -> Result<(), Error> {
    let (runtime, notes) = runtime(Dispatch::LocalOnly, ten_a_second(), 0).await?;
    for number in 0..11 {
        assert_eq!(runtime.request(&WORK, number).await?, number);
    }
    let notes = notes.all();
    assert!(notes[10] - notes[0] >= Duration::from_millis(1_000));
    runtime.shutdown().await
}
