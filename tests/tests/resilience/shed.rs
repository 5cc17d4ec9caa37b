//! Runs that are refused while too many wait: the least urgent first, before they are accepted, and nothing that was accepted.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::SheddingPolicy;
use coditect_core::{Dispatch, Error, ErrorKind, Priority};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::stage::{Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
const ASK: Call<u64, u64> = Call::new("ask");
/// What a task takes. With ten slots, a hundred are done in a second.
const TAKES: Duration = Duration::from_millis(100);
const LIMIT: u32 = 100;

fn work() -> impl Agent {
    let work = async |x: u64| {
        sleep(TAKES).await;
        Ok::<_, AgentError>(x)
    };
    agent("work", work).with_concurrency(10)
}

/// What became of runs of a priority.
#[derive(Debug, Default)]
struct Fate {
    took: Vec<Duration>,
    refused: usize,
}

#[tokio::test(start_paused = true)]
async fn at_twice_the_capacity_p0_is_taken_and_quick_and_p2_is_refused() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst] {
        let runtime = Shared::new().runtime().dispatch(dispatch);
        // What is on the bus waits there, and no longer here.
        let runtime = runtime.dispatch_window(20).agent(work());
        let runtime = runtime.shed_above(LIMIT, SheddingPolicy::default());
        let runtime = runtime.start().await?;
        let mut runs = JoinSet::new();
        // Two hundred a second: a fifth of it P0, two of P1, two of P2.
        for number in 0..4_000_u64 {
            let priority =
                [Priority::P0, Priority::P1, Priority::P2][(number % 5).div_ceil(2) as usize];
            let runtime = runtime.clone();
            runs.spawn(async move {
                sleep(Duration::from_millis(5 * number)).await;
                let begun = Instant::now();
                let submitted = runtime.submit(&WORK, number).priority(priority).await;
                let took = match submitted {
                    Ok(run) => {
                        assert_eq!(run.result().await.unwrap(), number);
                        Some(begun.elapsed())
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Overloaded);
                        assert!(error.is_retryable() && error.retry_after().is_some());
                        None
                    }
                };
                (priority, took)
            });
        }
        let mut fates = [Fate::default(), Fate::default(), Fate::default()];
        for (priority, took) in within(runs.join_all()).await {
            let fate = &mut fates[priority.index()];
            fate.refused += usize::from(took.is_none());
            fate.took.extend(took);
        }
        for fate in &mut fates {
            fate.took.sort_unstable();
        }
        let [urgent, usual, least] = &fates;
        let p99 = urgent.took[urgent.took.len() * 99 / 100];
        assert_eq!(urgent.refused, 0);
        assert!(p99 < 5 * TAKES, "{p99:?}");
        assert!(least.refused > 800, "{} of 1,600", least.refused);
        assert!(
            least.refused > 2 * usual.refused,
            "{} and {}",
            least.refused,
            usual.refused
        );
        // It has a sixteenth of the turns at least, six in a second, and no more than half of the limit and the window wait.
        let longest = least.took.last().unwrap();
        assert!(*longest < Duration::from_secs(12), "{longest:?}");
        let done: usize = fates.iter().map(|fate| fate.took.len()).sum();
        assert!(done > 1_950, "{done} in 20 s, of 2,000 that it could do");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_runs_need_to_end_is_never_refused_and_what_was_refused_is_taken_later()
-> Result<(), Error> {
    let gate = Gate::new();
    let opened = gate.clone();
    let ask = move |context: TaskContext, x: u64| {
        let gate = opened.clone();
        async move {
            gate.pass().await;
            context.request("work", &WORK, x).await
        }
    };
    let runtime = Shared::new().runtime().dispatch_window(4);
    let runtime = runtime
        .agent(agent("ask", ask).with_concurrency(4))
        .agent(work());
    let runtime = runtime
        .shed_above(10, SheddingPolicy::none())
        .start()
        .await?;
    let mut asking = Vec::new();
    for x in 0..4 {
        asking.push(runtime.submit(&ASK, x).await?);
        gate.arrived(1).await;
    }
    let mut waiting = Vec::new();
    let refused = loop {
        assert!(waiting.len() < 100, "all are taken");
        match runtime.submit(&WORK, 7).await {
            Ok(run) => waiting.push(run),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    gate.open(4);
    for (x, run) in (0..).zip(&asking) {
        assert_eq!(within(run.result()).await?, x);
    }
    for run in &waiting {
        assert_eq!(within(run.result()).await?, 7);
    }
    assert_eq!(within(runtime.run(&WORK, 8)).await?, 8);
    runtime.shutdown().await
}
