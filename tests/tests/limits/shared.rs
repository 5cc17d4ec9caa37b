//! Several coordinators and workers: together no more than the limit, and no less than they could.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, Limit, LimitOn};
use tokio::time::{Instant, sleep};

use super::stage::{Gate, Shared, within};
use super::{Census, WORK, shares, work};

const EVERY: [Dispatch; 3] = [Dispatch::Bus, Dispatch::LocalFirst, Dispatch::LocalOnly];

#[tokio::test(start_paused = true)]
async fn all_together_do_as_much_as_they_may_and_no_more() -> Result<(), Error> {
    for (dispatch, max) in EVERY
        .into_iter()
        .flat_map(|one| [1, 3, 20].map(|max| (one, max)))
    {
        let shared = Shared::new().with_partitions(8);
        let census = Census::default();
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let node = shared.runtime().dispatch(dispatch);
            let node = node.limit(Limit::capability("work", max));
            nodes.push(node.agent(work("work", &census)).start().await?);
        }
        let began = Instant::now();
        let mut runs = Vec::new();
        for x in 0..200 {
            runs.push(nodes[x as usize % 3].submit(&WORK, x).await?);
        }
        for (x, run) in (0..).zip(&runs) {
            assert_eq!(within(run.result()).await?, x);
        }
        let took = began.elapsed();
        assert_eq!(census.most("work"), max as usize, "with {dispatch:?}");
        // 200 tasks of 48 ms.
        let alone = Duration::from_millis(9_600) / max;
        assert!(
            took < alone * 3 + Duration::from_secs(2),
            "{took:?} with {max} at once, {dispatch:?}"
        );
        // What is idle is given back.
        let idle = async {
            while !shares(shared.store()).await.is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        within(idle).await;
        let uses = nodes[0].limits().await?;
        assert_eq!(uses.len(), 1);
        assert_eq!((uses[0].held, uses[0].waiting), (0, 0));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_partition_does_not_need_goes_to_those_who_do() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(8);
    let gate = Gate::new();
    let passing = gate.clone();
    let hold = agent("work", move |x: u64| {
        let gate = passing.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let node = shared.runtime().limit(Limit::capability("work", 6));
    let node = node.agent(hold.with_concurrency(32)).start().await?;
    // All of one partition.
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..10)
        .map(|x| plan.task(format!("{x}"), &WORK, x))
        .collect();
    let one = node.submit_plan(plan.output::<Vec<u64>>(tasks)?).await?;
    gate.arrived(6).await;
    let uses = node.limits().await?;
    assert_eq!(uses[0].on, LimitOn::Capability("work".to_owned()));
    assert_eq!((uses[0].max, uses[0].held, uses[0].waiting), (6, 6, 4));
    // Then others come, of other partitions: each has its turn, though the first has more to do.
    let mut others = Vec::new();
    for x in 0..12 {
        others.push(node.submit(&WORK, x).await?);
    }
    gate.open(22);
    for (x, run) in (0..).zip(&others) {
        assert_eq!(within(run.result()).await?, x);
    }
    assert_eq!(within(one.result()).await?.len(), 10);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_at_once_goes_round_among_partitions_that_always_have_more() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(8);
    let census = Census::default();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = shared.runtime().limit(Limit::capability("work", 1));
        nodes.push(node.agent(work("work", &census)).start().await?);
    }
    // Each of these is in one partition, and takes some 5 s alone.
    let mut floods = Vec::new();
    for _ in 0..12 {
        let mut plan = Plan::builder();
        let tasks: Vec<_> = (0..100)
            .map(|x| plan.task(format!("{x}"), &WORK, x))
            .collect();
        floods.push(
            nodes[0]
                .submit_plan(plan.output::<Vec<u64>>(tasks)?)
                .await?,
        );
    }
    sleep(Duration::from_secs(1)).await;
    // Whoever comes behind them all waits for some turns of others, not for the end of their work.
    for x in 0..20 {
        let began = Instant::now();
        let run = nodes[1].submit(&WORK, x).await?;
        within(run.result()).await?;
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(6), "it waited for {waited:?}");
    }
    for flood in &floods {
        assert_eq!(within(flood.result()).await?.len(), 100);
    }
    assert_eq!(census.most("work"), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_backs_off_or_is_cancelled_holds_nobody_up() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let gate = Gate::new();
    let passing = gate.clone();
    let hold = agent("work", move |context: TaskContext, x: u64| {
        let gate = passing.clone();
        async move {
            match (x, context.attempt()) {
                (0, _) => {
                    context.cancelled().await;
                    Err(AgentError::retryable("it was told to stop"))
                }
                (1, 1) => Err(AgentError::retryable("later").retry_after(Duration::from_secs(60))),
                _ => {
                    gate.pass().await;
                    Ok(x)
                }
            }
        }
    });
    let node = shared.runtime().limit(Limit::capability("work", 1));
    let node = node.agent(hold.with_concurrency(8)).start().await?;
    let (first, second) = (node.submit(&WORK, 1).await?, node.submit(&WORK, 2).await?);
    gate.arrived(1).await;
    gate.open(1);
    assert_eq!(within(second.result()).await?, 2);
    gate.open(1);
    assert_eq!(within(first.result()).await?, 1);
    let stuck = node.submit(&WORK, 0).await?;
    sleep(Duration::from_secs(1)).await;
    let waiting = node.submit(&WORK, 3).await?;
    sleep(Duration::from_secs(10)).await;
    stuck.cancel("enough").await?;
    gate.open(1);
    assert_eq!(within(waiting.result()).await?, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_of_limits_is_kept() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let census = Census::default();
    let node = shared
        .runtime()
        .agent(work("work", &census))
        .start()
        .await?;
    for x in 0..20 {
        let run = node.submit(&WORK, x).await?;
        within(run.result()).await?;
    }
    assert!(shares(shared.store()).await.is_empty());
    assert!(node.limits().await?.is_empty());
    Ok(())
}
