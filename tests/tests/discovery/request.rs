//! Requests that are routed to one instance.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use coditect_core::prelude::*;
use coditect_core::registry::{Reason, Strategy, Verdict};
use coditect_core::{Dispatch, Error, ErrorKind};

use crate::stage::{Gate, Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

/// An agent that notes where it was called, and answers at once.
fn prompt(name: &'static str, notes: &Notes<&'static str>) -> impl Agent {
    let notes = notes.clone();
    let work = move |x: u64| {
        notes.push(name);
        async move { Ok::<_, AgentError>(x) }
    };
    agent("work", work).with_name(name)
}

/// An agent that answers ten times as much, once it is let through, one after the other.
fn held(gate: &Gate) -> impl Agent {
    let gate = gate.clone();
    let work = move |x: u64| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(10 * x)
        }
    };
    agent("work", work).with_name("held").with_concurrency(1)
}

async fn worker(shared: &Shared, agent: impl Agent) -> Result<Runtime, Error> {
    shared.runtime().worker_only().agent(agent).start().await
}

async fn asker(shared: &Shared, strategy: Strategy) -> Result<Runtime, Error> {
    let asker = shared.runtime().worker_only().route("work", strategy);
    asker.start().await
}

fn ask(asker: &Runtime, x: u64) -> tokio::task::JoinHandle<Result<u64, Error>> {
    tokio::spawn(asker.request(&WORK, x).into_future())
}

async fn answer(asked: tokio::task::JoinHandle<Result<u64, Error>>) -> Result<u64, Error> {
    within(asked).await.expect("no panic")
}

/// Waits until a process knows of so many agents.
async fn knows(asker: &Runtime, agents: usize) {
    loop {
        let view = asker.agents();
        let changed = view.changed();
        if view.len() == agents {
            return;
        }
        within(changed).await;
    }
}

fn counted(notes: &Notes<&'static str>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for name in notes.all() {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn requests_follow_the_route_of_whoever_asks() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(worker(&shared, prompt(name, &notes)).await?);
    }
    let asker = asker(&shared, Strategy::RoundRobin).await?;
    for round in 1..=10 {
        for x in 0..3 {
            assert_eq!(within(asker.request(&WORK, x).into_future()).await?, x);
        }
        let each = [("a", round), ("b", round), ("c", round)];
        assert_eq!(counted(&notes), BTreeMap::from(each));
    }
    for runtime in workers.into_iter().chain([asker]) {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_of_tasks_follow_the_route_of_the_coordinator() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(worker(&shared, prompt(name, &notes)).await?);
    }
    let sum = agent("sum", async |context: TaskContext, count: u64| {
        let mut sum = 0;
        for x in 0..count {
            sum += context.request(&x.to_string(), &WORK, x).await?;
        }
        Ok::<_, AgentError>(sum)
    });
    workers.push(worker(&shared, sum).await?);
    let sum = Call::<u64, u64>::new("sum");
    assert_eq!(within(coordinator.run(&sum, 12)).await?, 66);
    assert_eq!(
        counted(&notes),
        BTreeMap::from([("a", 4), ("b", 4), ("c", 4)])
    );
    for runtime in workers.into_iter().chain([coordinator]) {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_is_made_elsewhere_as_soon_as_its_instance_is_evicted() -> Result<(), Error> {
    let (shared, gate, notes) = (Shared::new(), Gate::new(), Notes::new());
    let asker = asker(&shared, Strategy::LeastConnections).await?;
    let hung = worker(&shared, held(&gate)).await?;
    knows(&asker, 1).await;
    let asked = ask(&asker, 1);
    gate.arrived(1).await;
    let other = worker(&shared, prompt("other", &notes)).await?;
    knows(&asker, 2).await;
    let records = asker.agents().records();
    let hanging = records
        .iter()
        .find(|record| record.agent().as_str() == "held");
    let instance = &hanging.expect("it is registered").instance;
    let evicted = Verdict::evicted(Reason::new("it hangs", SystemTime::now()));
    let judged = tokio::time::Instant::now();
    shared.registry.judge(instance, Some(evicted)).await?;
    assert_eq!(answer(asked).await?, 1);
    assert!(judged.elapsed() < Duration::from_secs(1), "{judged:?}");
    assert_eq!(notes.all(), ["other"]);
    gate.open(1);
    for runtime in [hung, other, asker] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_instance_whose_queue_is_gone_goes_to_whoever_is_free() -> Result<(), Error>
{
    let (shared, notes) = (Shared::new(), Notes::new());
    let worker = worker(&shared, prompt("work", &notes)).await?;
    let asker = asker(&shared, Strategy::RoundRobin).await?;
    let record = asker.agents().records().pop().expect("one agent");
    let queue = record.endpoint.as_deref().expect("a queue of its own");
    assert!(shared.bus.delete(&queue.parse()?).await?);
    let asked = tokio::time::Instant::now();
    assert_eq!(within(asker.request(&WORK, 1).into_future()).await?, 1);
    assert!(asked.elapsed() < Duration::from_secs(1), "{asked:?}");
    worker.shutdown().await?;
    asker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_that_leaves_has_not_begun_goes_to_another() -> Result<(), Error> {
    let (shared, gate, notes) = (Shared::new(), Gate::new(), Notes::new());
    let asker = asker(&shared, Strategy::LeastConnections).await?;
    let leaving = worker(&shared, held(&gate)).await?;
    knows(&asker, 1).await;
    let begun = ask(&asker, 1);
    gate.arrived(1).await;
    let waiting = ask(&asker, 2);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let other = worker(&shared, prompt("other", &notes)).await?;
    knows(&asker, 2).await;
    let left = tokio::spawn(async move { leaving.shutdown().await });
    assert_eq!(answer(waiting).await?, 2);
    assert_eq!(notes.all(), ["other"]);
    gate.open(1);
    assert_eq!(answer(begun).await?, 10, "what it had begun it has ended");
    within(left).await.expect("no panic")?;
    assert_eq!(notes.all().len(), 1);
    other.shutdown().await?;
    asker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_busy_agent_of_this_process_leaves_requests_to_the_chosen_one() -> Result<(), Error> {
    let (shared, gate, notes) = (Shared::new(), Gate::new(), Notes::new());
    let here = shared
        .runtime()
        .dispatch(Dispatch::LocalFirst)
        .worker_only()
        .route("work", Strategy::LeastConnections)
        .agent(held(&gate))
        .start()
        .await?;
    let there = worker(&shared, prompt("there", &notes)).await?;
    knows(&here, 2).await;
    let first = ask(&here, 1);
    gate.arrived(1).await;
    assert_eq!(within(here.request(&WORK, 2).into_future()).await?, 2);
    assert_eq!(notes.all(), ["there"]);
    gate.open(1);
    assert_eq!(answer(first).await?, 10);
    there.shutdown().await?;
    here.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_routed_request_that_is_not_answered_ends_with_its_time() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let asker = asker(&shared, Strategy::RoundRobin).await?;
    let nobody = within(asker.request(&WORK, 1).into_future()).await;
    assert_eq!(nobody.expect_err("unserved").kind(), ErrorKind::Unavailable);
    let worker = worker(&shared, held(&gate)).await?;
    knows(&asker, 1).await;
    let patience = Duration::from_secs(3);
    let asked = tokio::time::Instant::now();
    let late = within(asker.request(&WORK, 1).deadline(patience).into_future()).await;
    assert_eq!(
        late.expect_err("late").kind(),
        ErrorKind::DeadlineExceeded,
        "after {:?}",
        asked.elapsed()
    );
    assert_eq!(asked.elapsed().as_secs(), patience.as_secs());
    gate.open(1);
    worker.shutdown().await?;
    asker.shutdown().await
}
