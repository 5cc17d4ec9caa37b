//! Tasks that are routed to one instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use coditect_core::{Error, ErrorKind, RuntimeBuilder};
use parking_lot::Mutex;

use crate::stage::{Gate, Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

/// An agent that notes where it was called.
fn work(name: &'static str, slots: usize, notes: &Notes<&'static str>) -> impl Agent {
    let notes = notes.clone();
    let work = move |x: u64| {
        notes.push(name);
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, AgentError>(x)
        }
    };
    let named = agent("work", work).with_name(name);
    named.with_concurrency(slots)
}

fn worker(builder: RuntimeBuilder, agent: impl Agent) -> RuntimeBuilder {
    builder.worker_only().agent(agent)
}

fn side_by_side(count: u64) -> Plan<Vec<u64>> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|number| plan.task(number.to_string(), &WORK, number))
        .collect();
    plan.aggregate(collect_all(), tasks).expect("a plan")
}

fn counted(notes: &Notes<&'static str>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for name in notes.all() {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn round_robin_gives_each_instance_its_turn() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(
            worker(shared.runtime(), work(name, 4, &notes))
                .start()
                .await?,
        );
    }
    for round in 1..=10 {
        let numbers = within(coordinator.submit_plan(side_by_side(9)).await?.result()).await?;
        assert_eq!(numbers, (0..9).collect::<Vec<_>>());
        let expected = 3 * round;
        let each = [("a", expected), ("b", expected), ("c", expected)];
        assert_eq!(counted(&notes), BTreeMap::from(each));
    }
    for worker in workers {
        worker.shutdown().await?;
    }
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn no_instance_is_sent_more_than_it_has_slots_and_one() -> Result<(), Error> {
    let (shared, gate) = (Shared::new().with_partitions(3), Gate::new());
    let coordinator = shared.runtime().route("work", Strategy::TwoChoices);
    let coordinator = coordinator.start().await?;
    let held = gate.clone();
    let held = agent("work", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let worker = worker(shared.runtime(), held.with_concurrency(2));
    let worker = worker.start().await?;
    let runs = [
        coordinator.submit_plan(side_by_side(20)).await?,
        coordinator.submit_plan(side_by_side(20)).await?,
    ];
    gate.arrived(2).await;
    let record = coordinator.agents().records().pop().expect("one agent");
    let queue = record.endpoint.as_deref().expect("a queue of its own");
    assert_eq!(queue, format!("agent.work.{}", record.incarnation()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stats = shared.bus.stats(&queue.parse()?).await?;
    assert_eq!(stats.ready() + stats.unacked, 3, "two at work, one next");
    gate.open(40);
    for run in runs {
        assert_eq!(within(run.result()).await?.len(), 20);
    }
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_later_is_used() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().route("work", Strategy::LeastConnections);
    let coordinator = coordinator.start().await?;
    let first = worker(shared.runtime(), work("first", 1, &notes))
        .start()
        .await?;
    let run = coordinator.submit_plan(side_by_side(40)).await?;
    tokio::time::sleep(Duration::from_millis(55)).await;
    let later = worker(shared.runtime(), work("later", 1, &notes))
        .start()
        .await?;
    assert_eq!(within(run.result()).await?.len(), 40);
    let counts = counted(&notes);
    assert!(counts["later"] >= 10, "{counts:?}");
    first.shutdown().await?;
    later.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slot_for_long_goes_to_whoever_has_one() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let done = Arc::new(Mutex::new(Vec::new()));
    let (held, noted) = (gate.clone(), Arc::clone(&done));
    let slow = agent("work", move |x: u64| {
        let (gate, done) = (held.clone(), Arc::clone(&noted));
        async move {
            gate.pass().await;
            done.lock().push(x);
            Ok::<_, AgentError>(x)
        }
    });
    let coordinator = shared.runtime().route("work", Strategy::LeastConnections);
    let coordinator = coordinator.start().await?;
    let slow = worker(shared.runtime(), slow.with_concurrency(1))
        .start()
        .await?;
    let run = coordinator.submit_plan(side_by_side(2)).await?;
    gate.arrived(1).await;
    // It has come when there was nobody else; one of the two waits for the slot.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let noted = Arc::clone(&done);
    let free = agent("work", move |x: u64| {
        noted.lock().push(x);
        async move { Ok::<_, AgentError>(x) }
    });
    let free = worker(shared.runtime(), free.with_name("free"))
        .start()
        .await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(done.lock().len(), 1, "the other one was not waited for");
    gate.open(1);
    assert_eq!(within(run.result()).await?, [0, 1]);
    assert_eq!(done.lock().len(), 2, "each was done once");
    slow.shutdown().await?;
    free.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test]
async fn a_route_for_what_is_no_capability_is_refused() {
    let builder = Runtime::builder().route("no capability", Strategy::RoundRobin);
    let error = builder.start().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`no capability`"), "{error}");
}

#[tokio::test]
async fn a_route_in_one_process_goes_to_its_own_agents() -> Result<(), Error> {
    let double = agent("work", async |x: u64| Ok::<_, AgentError>(2 * x));
    let builder = Runtime::builder().route("work", Strategy::RoundRobin);
    let runtime = builder.agent(double).start().await?;
    assert_eq!(runtime.run(&WORK, 4).await?, 8);
    runtime.shutdown().await
}
