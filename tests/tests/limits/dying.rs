//! Owners and workers that die: what they had stays counted, and only as long as it is there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Randomness, SplitMix};
use coditect_core::{Dispatch, Error, Limit};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::stage::{Gate, Shared, within};
use super::{Census, WORK};

/// An agent that is held at a gate while it works, below which it asks as often as its input says.
fn held(gate: &Gate, census: &Census) -> impl Agent {
    let (gate, census) = (gate.clone(), census.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let (gate, census) = (gate.clone(), census.clone());
        async move {
            if !x.is_multiple_of(100) {
                context.request("below", &WORK, x - 1).await?;
            }
            let _at_work = census.enter("work", &context);
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    work.with_concurrency(16)
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_counts_what_is_at_work_and_begins_no_more() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let worker = shared.runtime().worker_only().agent(held(&gate, &census));
    let worker = worker.start().await?;
    let coordinator = async || {
        let node = shared.runtime().limit(Limit::capability("work", 3));
        node.start().await
    };
    let owner = coordinator().await?;
    let mut runs = Vec::new();
    for x in 0..12 {
        runs.push(worker.submit(&WORK, x * 100).await?);
    }
    gate.arrived(3).await;
    // Dropped, it gives nothing back.
    drop(owner);
    let next = coordinator().await?;
    sleep(Duration::from_secs(300)).await;
    let now = census.now("work");
    assert_eq!(now, 3, "it counts what the former owner has handed out");
    assert_eq!(next.limits().await?[0].held, 3);
    gate.open(1_000);
    for run in &runs {
        within(run.result()).await?;
    }
    assert_eq!(census.most("work"), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_hears_again_of_parents_that_wait() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let worker = shared.runtime().worker_only().agent(held(&gate, &census));
    let worker = worker.start().await?;
    let coordinator = async || {
        let node = shared.runtime().limit(Limit::capability("work", 1));
        node.start().await
    };
    let owner = coordinator().await?;
    let run = worker.submit(&WORK, 3).await?;
    gate.arrived(1).await;
    drop(owner);
    let _next = coordinator().await?;
    gate.open(1_000);
    assert_eq!(within(run.result()).await?, 3);
    assert_eq!(census.most("work"), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_dies_while_it_waits_counts_again_when_it_is_begun_anew() -> Result<(), Error>
{
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let owner = shared
        .runtime()
        .limit(Limit::capability("work", 1))
        .start()
        .await?;
    let worker = async || {
        shared
            .runtime()
            .worker_only()
            .agent(held(&gate, &census))
            .start()
            .await
    };
    let first = worker().await?;
    let run = owner.submit(&WORK, 1).await?;
    let other = owner.submit(&WORK, 100).await?;
    gate.arrived(1).await;
    // It takes the parent with it, and the child or the other.
    drop(first);
    let _second = worker().await?;
    gate.open(1_000);
    assert_eq!(within(run.result()).await?, 1);
    assert_eq!(within(other.result()).await?, 100);
    // A later attempt met the first one's child; nothing of either is counted any more.
    gate.open(1_000);
    for _ in 0..2 {
        within(owner.submit(&WORK, 200).await?.result()).await?;
    }
    Ok(())
}

/// Which attempts are open: from when one is begun to when the first who works at it has ended, whoever else still does, as after
/// the death of its owner.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Attempts>>);

#[derive(Default)]
struct Attempts {
    open: HashSet<String>,
    over: HashSet<String>,
    most: usize,
}

impl Open {
    fn begin(&self, attempt: &str) {
        let mut all = self.0.lock();
        if !all.over.contains(attempt) {
            all.open.insert(attempt.to_owned());
            all.most = all.most.max(all.open.len());
        }
    }

    fn end(&self, attempt: String) {
        let mut all = self.0.lock();
        all.open.remove(&attempt);
        all.over.insert(attempt);
    }

    fn most(&self) -> usize {
        self.0.lock().most
    }
}

/// Has 60 tasks done while owners come and go, and fails if any is lost.
async fn with_changing_owners(seed: u64, may_die: bool) -> Result<(), Error> {
    let random = SplitMix::from_seed(seed);
    let draw = |below: u32| (random.next_unit() * f64::from(below)) as u32;
    let shared = Shared::new().with_partitions(5);
    let (census, open) = (Census::default(), Open::default());
    let limit = 1 + draw(4);
    let dispatch = [Dispatch::Bus, Dispatch::LocalFirst][draw(2) as usize];
    let work = || {
        let (census, open) = (census.clone(), open.clone());
        let work = agent("work", move |context: TaskContext, x: u64| {
            let (census, open) = (census.clone(), open.clone());
            async move {
                let attempt = format!("{} {}", context.idempotency_key(), context.attempt());
                let _at_work = census.enter("work", &context);
                open.begin(&attempt);
                sleep(Duration::from_millis(x)).await;
                open.end(attempt);
                Ok::<_, AgentError>(x)
            }
        });
        work.with_concurrency(8)
    };
    let coordinator = async || {
        let node = shared.runtime().dispatch(dispatch);
        let node = node.limit(Limit::capability("work", limit));
        node.agent(work()).start().await
    };
    let worker = shared.runtime().worker_only().agent(work()).start().await?;
    let mut owners = vec![coordinator().await?, coordinator().await?];
    let mut runs = Vec::new();
    for x in 0..60 {
        runs.push(worker.submit(&WORK, x).await?);
    }
    for _ in 0..=draw(4) {
        sleep(Duration::from_secs_f64(random.next_unit() / 4.0)).await;
        let leaves = owners.remove(draw(2) as usize);
        match may_die && draw(2) == 0 {
            true => drop(leaves),
            false => within(leaves.shutdown()).await?,
        }
        owners.push(coordinator().await?);
    }
    for (x, run) in (0..).zip(&runs) {
        assert_eq!(within(run.result()).await?, x, "seed {seed}");
    }
    let most = match may_die {
        true => open.most(),
        // None is at work twice.
        false => census.most("work").max(open.most()),
    };
    assert!(most <= limit as usize, "{most} of {limit} with seed {seed}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_more_are_open_than_may_be_whichever_owners_die() -> Result<(), Error> {
    for seed in 0..24 {
        with_changing_owners(seed, true).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_more_are_at_work_than_may_be_while_owners_hand_over() -> Result<(), Error> {
    for seed in 100..124 {
        with_changing_owners(seed, false).await?;
    }
    Ok(())
}
