//! Handlers that wait for children: they do not count, nor do more go on than may.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, Limit};
use tokio::time::sleep;

use super::stage::{Gate, Shared, within};
use super::{Census, WORK};

/// An agent that asks itself for as long as its input says, and works before and after.
fn asks_itself(census: &Census) -> impl Agent {
    let census = census.clone();
    let work = agent("work", move |context: TaskContext, x: u64| {
        let census = census.clone();
        async move {
            {
                let _at_work = census.enter("work", &context);
                sleep(Duration::from_millis(5)).await;
            }
            let below = match x % 10 {
                0 => 0,
                _ => context.request("below", &WORK, x - 1).await?,
            };
            let _at_work = census.enter("work", &context);
            sleep(Duration::from_millis(5)).await;
            Ok::<_, AgentError>(below + 1)
        }
    });
    work.with_concurrency(4)
}

#[tokio::test(start_paused = true)]
async fn parents_of_their_own_kind_come_to_an_end_one_at_a_time() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst, Dispatch::LocalOnly] {
        for limit in [Limit::capability("work", 1), Limit::tenant("one", 1)] {
            let shared = Shared::new().with_partitions(6);
            let census = Census::default();
            let mut nodes = Vec::new();
            for _ in 0..2 {
                let node = shared.runtime().dispatch(dispatch).limit(limit.clone());
                nodes.push(node.agent(asks_itself(&census)).start().await?);
            }
            let mut runs = Vec::new();
            for depth in (0..4).cycle().take(24) {
                let run = nodes[depth as usize % 2].submit(&WORK, depth);
                runs.push((depth, run.tenant("one").await?));
            }
            for (depth, run) in &runs {
                assert_eq!(
                    within(run.result()).await?,
                    depth + 1,
                    "{limit:?} {dispatch:?}"
                );
            }
            assert_eq!(census.most("work"), 1, "{limit:?} {dispatch:?}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn under_two_limits_they_come_to_an_end_too() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(6);
    let census = Census::default();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = shared.runtime().limit(Limit::capability("work", 2));
        let node = node.limit(Limit::each_tenant(1));
        nodes.push(node.agent(asks_itself(&census)).start().await?);
    }
    let mut runs = Vec::new();
    for depth in (0..4).cycle().take(32) {
        let run = nodes[depth as usize % 2].submit(&WORK, depth);
        runs.push((depth, run.tenant(format!("t{}", runs.len() % 3)).await?));
    }
    for (depth, run) in &runs {
        assert_eq!(within(run.result()).await?, depth + 1);
    }
    assert!(census.most("work") <= 2);
    Ok(())
}

/// An agent that is held before and after it asks another.
fn held(name: &str, before: &Gate, after: &Gate) -> impl Agent {
    const CHILD: Call<u64, u64> = Call::new("work");
    let (before, after) = (before.clone(), after.clone());
    let parent = agent(name, move |context: TaskContext, x: u64| {
        let (before, after) = (before.clone(), after.clone());
        async move {
            before.pass().await;
            if x > 0 {
                context.request("below", &CHILD, x - 1).await?;
                after.pass().await;
            }
            Ok::<_, AgentError>(x)
        }
    });
    parent.with_concurrency(8)
}

#[tokio::test(start_paused = true)]
async fn who_would_go_on_waits_for_room_and_comes_before_what_has_not_begun() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (before, after) = (Gate::new(), Gate::new());
    let node = shared.runtime().limit(Limit::capability("work", 1));
    let node = node.agent(held("work", &before, &after)).start().await?;
    let parent = node.submit(&WORK, 1).await?;
    before.arrived(1).await;
    before.open(1);
    // The child has the place of its parent. Others wait for it, too.
    before.arrived(1).await;
    let others = [node.submit(&WORK, 0).await?, node.submit(&WORK, 0).await?];
    sleep(Duration::from_secs(1)).await;
    before.open(1);
    // One of the others may have taken the place that the child left; the parent is next.
    tokio::select! {
        biased;
        () = after.arrived(1) => {}
        () = before.arrived(1) => {
            before.open(1);
            after.arrived(1).await;
        }
    }
    let begun = tokio::time::timeout(Duration::from_secs(60), before.arrived(1)).await;
    assert!(begun.is_err(), "nobody begins while the parent works");
    after.open(1);
    before.open(2);
    assert_eq!(within(parent.result()).await?, 1);
    for other in &others {
        within(other.result()).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_comes_while_a_parent_waits_does_not_count_it() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (before, after) = (Gate::new(), Gate::new());
    let node = shared.runtime().start().await?;
    let worker = shared
        .runtime()
        .worker_only()
        .agent(held("work", &before, &after));
    let worker = worker.start().await?;
    let parent = node.submit(&WORK, 2).await?;
    before.arrived(1).await;
    before.open(1);
    before.arrived(1).await;
    // The parent waits for its child, which is at work.
    node.set_limit(Limit::capability("work", 1)).await?;
    sleep(Duration::from_secs(1)).await;
    before.open(2);
    after.arrived(1).await;
    after.open(2);
    assert_eq!(within(parent.result()).await?, 2);
    drop(worker);
    Ok(())
}
