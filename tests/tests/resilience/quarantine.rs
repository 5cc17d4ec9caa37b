//! Agents that keep failing in the same way: their work is held, done by others, tried, and given back to them.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Backoff, QuarantinePolicy};
use coditect_core::{Error, ErrorKind, FailureKind, RunState, Runtime};
use tokio::time::Instant;

use crate::stage::{Count, Shared, failure, within};

const WORK: Call<u64, u64> = Call::new("work");
const MINUTE: Duration = Duration::from_secs(60);

/// Three of the last ten; tried every minute.
fn policy() -> QuarantinePolicy {
    let policy = QuarantinePolicy::new(3, 10, 10 * MINUTE).unwrap();
    policy.with_probe_after(Backoff::constant(MINUTE))
}

/// An agent that fails for good until it is told to be well, and how often it was called.
#[derive(Clone, Default)]
struct Sick {
    well: Arc<AtomicBool>,
    calls: Count,
}

impl Sick {
    fn handle(&self, x: u64) -> impl Future<Output = Result<u64, AgentError>> + Send + use<> {
        self.calls.add();
        std::future::ready(match self.well.load(Ordering::SeqCst) {
            true => Ok(x),
            false => Err(AgentError::permanent("the schema has changed")),
        })
    }

    fn agent(&self, card: &'static str) -> impl Agent + use<> {
        let sick = self.clone();
        agent(card, move |x: u64| sick.handle(x))
    }

    fn heal(&self) {
        self.well.store(true, Ordering::SeqCst);
    }
}

/// Waits for the end of runs, and counts those that have succeeded.
async fn succeeded(runs: &[RunHandle<u64>]) -> Result<usize, Error> {
    let mut count = 0;
    for run in runs {
        let summary = within(run.settled()).await?;
        count += usize::from(summary.state == RunState::Succeeded);
    }
    Ok(count)
}

/// Lets three tasks be spent, which begins the quarantine.
async fn spend(runtime: &Runtime) {
    for x in 0..3 {
        failure(within(runtime.run(&WORK, x)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn after_so_many_failures_tasks_are_held_and_shown_until_one_that_is_tried_succeeds()
-> Result<(), Error> {
    for over_the_bus in [false, true] {
        let sick = Sick::default();
        let builder = match over_the_bus {
            true => Shared::new().runtime(),
            false => Runtime::builder(),
        };
        let builder = builder.agent(sick.agent("work@1.2.0"));
        let runtime = builder.quarantine("work", policy()).start().await?;
        assert!(runtime.quarantined().await?.is_empty());
        spend(&runtime).await;
        let mut runs = Vec::new();
        for x in 0..20 {
            runs.push(runtime.submit(&WORK, x).await?);
        }
        tokio::time::sleep(MINUTE / 2).await;
        assert_eq!(sick.calls.get(), 3, "nothing more is spent");
        let held = runtime.quarantined().await?;
        let [one] = &held[..] else {
            panic!("{held:?}");
        };
        assert_eq!(one.agent.as_str(), "work");
        assert_eq!(one.version.to_string(), "1.2.0");
        assert_eq!((one.kind, one.failures), (FailureKind::Permanent, 3));
        assert_eq!(one.example.message, "the schema has changed");
        assert!(one.probe_at.is_some_and(|at| at > one.since));

        // One task is tried each minute, and none is spent by it.
        tokio::time::sleep(MINUTE + MINUTE / 4).await;
        assert_eq!(sick.calls.get(), 4);
        sick.heal();
        assert_eq!(succeeded(&runs).await?, 20);
        assert_eq!(sick.calls.get(), 4 + 20);
        assert!(runtime.quarantined().await?.is_empty());
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_it_began_is_not_spent_either() -> Result<(), Error> {
    let sick = Sick::default();
    let worker = sick.agent("work");
    let runtime = Runtime::builder().agent(worker).quarantine_all(policy());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..30)
        .map(|x| plan.task(format!("{x}"), &WORK, x))
        .collect();
    let run = runtime
        .submit_plan::<Vec<u64>>(plan.aggregate(collect_succeeded(), tasks)?)
        .await?;
    tokio::time::sleep(MINUTE / 2).await;
    sick.heal();
    // All began at once; three made the pattern, the others wait for a better time.
    assert_eq!(within(run.result()).await?.len(), 27);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_person_ends_it_and_the_policy_of_a_capability_counts() -> Result<(), Error> {
    let (sick, other) = (Sick::default(), Sick::default());
    let runtime = Runtime::builder()
        .agent(sick.agent("work"))
        .agent(other.agent("other"))
        .quarantine_all(policy())
        .quarantine("other", None)
        .start()
        .await?;
    spend(&runtime).await;
    let spent: Call<u64, u64> = Call::new("other");
    for x in 0..10 {
        failure(within(runtime.run(&spent, x)).await);
    }
    let begin = Instant::now();
    let run = runtime.submit(&WORK, 7).await?;
    tokio::time::sleep(MINUTE / 4).await;
    assert_eq!(run.state().await?, RunState::Running);
    sick.heal();
    let held = runtime.quarantined().await?;
    assert_eq!(held.len(), 1, "{held:?}");
    runtime.release(&held[0]).await?;
    assert_eq!(within(run.result()).await?, 7);
    assert!(begin.elapsed() < MINUTE / 2);
    let gone = runtime.release(&held[0]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn other_versions_and_other_agents_go_on_getting_the_tasks() -> Result<(), Error> {
    let shared = Shared::new();
    let (sick, well) = (Sick::default(), Sick::default());
    well.heal();
    let coordinator = shared.runtime().quarantine_all(policy()).start().await?;
    let first = shared
        .runtime()
        .worker_only()
        .agent(sick.agent("work@1.2.0"));
    let first = first.start().await?;
    spend(&coordinator).await;
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    tokio::time::sleep(MINUTE / 4).await;
    assert_eq!(sick.calls.get(), 3);
    // The next release of the same agent comes, and takes its tasks from the same queue.
    let second = shared
        .runtime()
        .worker_only()
        .agent(well.agent("work@1.2.1"));
    let second = second.start().await?;
    assert_eq!(succeeded(&runs).await?, 20);
    assert_eq!((sick.calls.get(), well.calls.get()), (3, 20));
    for worker in [first, second, coordinator] {
        worker.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_over_holds_what_was_held() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let sick = Sick::default();
    let worker = shared.runtime().worker_only().agent(sick.agent("work"));
    let worker = worker.start().await?;
    let first = shared.runtime().quarantine_all(policy()).start().await?;
    let second = shared.runtime().quarantine_all(policy()).start().await?;
    spend(&first).await;
    let run = first.submit(&WORK, 7).await?;
    tokio::time::sleep(MINUTE / 4).await;
    assert_eq!(second.quarantined().await?.len(), 1);
    drop(first);
    let third = shared.runtime().quarantine_all(policy()).start().await?;
    tokio::time::sleep(MINUTE / 4).await;
    assert_eq!(sick.calls.get(), 3);
    drop(second);
    tokio::time::sleep(MINUTE / 4).await;
    assert_eq!(sick.calls.get(), 3);
    sick.heal();
    let run = third.attach::<u64>(run.id());
    assert_eq!(within(run.result()).await?, 7);
    third.shutdown().await?;
    worker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_request_to_what_is_held_fails_at_once_and_now_and_then_one_is_tried() -> Result<(), Error>
{
    const OTHER: Call<u64, u64> = Call::new("other");
    for over_the_bus in [false, true] {
        let (sick, well, shared) = (Sick::default(), Sick::default(), Shared::new());
        well.heal();
        let worker = shared.runtime().worker_only();
        let worker = worker.agent(sick.agent("work@1.2.0")).start().await?;
        let builder = match over_the_bus {
            true => shared.runtime(),
            false => Runtime::builder().agent(sick.agent("work@1.2.0")),
        };
        let builder = builder.agent(well.agent("other"));
        let runtime = builder.quarantine("work", policy()).start().await?;
        spend(&runtime).await;

        let begin = Instant::now();
        let refused = runtime.request(&WORK, 7).await.expect_err("it is held");
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let text = refused.to_string();
        assert!(text.contains("in quarantine: `work/work@1.2.0`"), "{text}");
        let why = refused.source().expect("the failure").to_string();
        assert!(why.contains("the schema has changed"), "{why}");
        assert_eq!(sick.calls.get(), 3);
        assert_eq!(runtime.request(&WORK, 7).fallback(&OTHER).await?, 7);

        // Somebody is let through each minute, and told what the agent says.
        tokio::time::sleep(MINUTE + MINUTE / 4).await;
        let tried = runtime.request(&WORK, 7).await.expect_err("it fails still");
        assert_eq!(failure(Err::<u64, _>(tried)).kind, FailureKind::Permanent);
        let refused = runtime.request(&WORK, 7).await.expect_err("it is held");
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert_eq!(sick.calls.get(), 4);
        sick.heal();
        tokio::time::sleep(MINUTE + MINUTE / 4).await;
        assert_eq!(runtime.request(&WORK, 7).await?, 7);
        assert!(runtime.quarantined().await?.is_empty());
        assert_eq!(runtime.request(&WORK, 8).await?, 8);
        runtime.shutdown().await?;
        worker.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_the_version_that_is_not_held() -> Result<(), Error> {
    let (shared, sick, well) = (Shared::new(), Sick::default(), Sick::default());
    well.heal();
    let coordinator = shared.runtime().quarantine_all(policy()).start().await?;
    let first = shared.runtime().worker_only();
    let first = first.agent(sick.agent("work@1.2.0")).start().await?;
    spend(&coordinator).await;
    // An older line of it, with a queue of its own, and the next release, in the same queue.
    for card in ["work@0.9.0", "work@1.2.1"] {
        let (before, known) = (well.calls.get(), coordinator.agents().len());
        let other = shared.runtime().worker_only().agent(well.agent(card));
        let other = other.start().await?;
        while coordinator.agents().len() == known {
            within(coordinator.agents().changed()).await;
        }
        for x in 0..20 {
            assert_eq!(
                within(coordinator.request(&WORK, x).into_future()).await?,
                x
            );
        }
        assert_eq!(well.calls.get() - before, 20);
        other.shutdown().await?;
        while coordinator.agents().len() > known {
            within(coordinator.agents().changed()).await;
        }
    }
    assert_eq!(sick.calls.get(), 3);
    first.shutdown().await?;
    coordinator.shutdown().await
}
