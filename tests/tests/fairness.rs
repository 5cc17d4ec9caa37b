//! 10,000 tenants on shared queues: one that floods takes its turns and nobody else's.
//!
//! What is asserted is the order in which handlers start, never a time; so all is on one thread, where the order of starts is
//! that of dispatch.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::QueueName;
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

mod stage;

use stage::{Gate, Notes, Shared};

const WORK: Call<u64, u64> = Call::new("work");
const PROBE: Call<u64, u64> = Call::new("probe");
const TENANTS: usize = 10_000;
const FLOOD: usize = 20_000;
const SLOTS: usize = 4;
/// How many tasks of a capability and tenant are on the bus at once.
const WINDOW: usize = 256;

/// An agent that notes for which tenant it begins, and goes on when it is let through.
fn work(gate: &Gate, begun: &Notes<Arc<str>>) -> impl Agent {
    let (gate, begun) = (gate.clone(), begun.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let gate = gate.clone();
        begun.push(context.tenant().into());
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    work.with_concurrency(SLOTS)
}

fn probe() -> impl Agent {
    agent("probe", async |x: u64| Ok::<_, AgentError>(x))
}

fn many(count: usize) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count as u64)
        .map(|x| plan.task(format!("work-{x}"), &WORK, x))
        .collect();
    plan.output(tasks)
}

/// One tenant floods, then 9,999 others ask for one task each. Returns how many tasks of the flood began before the last of
/// the others, and fails if it has begun any more than it may.
async fn the_others_are_served(
    runtime: &Runtime,
    gate: &Gate,
    begun: &Notes<Arc<str>>,
    bus: Option<&Shared>,
) -> Result<usize, Error> {
    let _flood = runtime.submit_plan(many(FLOOD)?).tenant("flood").await?;
    gate.arrived(SLOTS as u32).await;
    let mut others = FuturesUnordered::new();
    for number in 1..TENANTS {
        let run = runtime.submit(&WORK, 0).tenant(format!("tenant-{number}"));
        let run: RunHandle<u64> = run.await?;
        others.push(async move { run.result().await });
    }
    // The partition's inbox is read in order: when this has been done, all others wait.
    runtime.run(&PROBE, 0).await?;
    assert_eq!(begun.all().len(), SLOTS, "the slots are taken");
    if let Some(shared) = bus {
        let queue = QueueName::for_capability("work.v1").expect("a name");
        // All of the others, and of the flood what has not been fetched.
        while shared.bus.stats(&queue).await?.ready() < TENANTS - 1 + WINDOW - 2 * SLOTS - 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    gate.open(FLOOD + TENANTS);
    while let Some(result) = others.next().await {
        result?;
    }
    let begun = begun.all();
    let last = begun.iter().rposition(|tenant| &**tenant != "flood");
    let last = last.expect("the others have been served");
    let of_flood = begun[..last].iter().filter(|tenant| &***tenant == "flood");
    let of_flood = of_flood.count();
    assert_eq!(
        last - of_flood + 1,
        TENANTS - 1,
        "each was served, and once"
    );
    Ok(of_flood)
}

#[tokio::test]
async fn of_10_000_tenants_each_is_served_before_a_flood_has_two_turns() -> Result<(), Error> {
    let (gate, begun) = (Gate::new(), Notes::new());
    let runtime = Runtime::builder()
        .partitions(1)
        .agent(work(&gate, &begun))
        .agent(probe())
        .start()
        .await?;
    let of_flood = the_others_are_served(&runtime, &gate, &begun, None).await?;
    // Those that had the slots, one turn among those who waited, and what was dispatched beside the last of them.
    assert!(of_flood <= 2 * SLOTS, "{of_flood} of the flood were before");
    Ok(())
}

#[tokio::test]
async fn over_the_bus_a_flood_is_ahead_by_its_window_at_most() -> Result<(), Error> {
    let (gate, begun) = (Gate::new(), Notes::new());
    let shared = Shared::new().with_partitions(1);
    let coordinator = shared.runtime().dispatch_window(WINDOW).agent(probe());
    let coordinator = coordinator.start().await?;
    let worker = shared.runtime().worker_only().agent(work(&gate, &begun));
    let _worker = worker.start().await?;
    let of_flood = the_others_are_served(&coordinator, &gate, &begun, Some(&shared)).await?;
    // What was on the bus already, and one turn.
    assert!(
        of_flood <= WINDOW + 1,
        "{of_flood} of the flood were before"
    );
    Ok(())
}

#[tokio::test]
async fn local_first_a_flood_is_ahead_by_its_slots_and_its_window() -> Result<(), Error> {
    let (gate, begun) = (Gate::new(), Notes::new());
    let shared = Shared::new().with_partitions(1);
    let runtime = shared.runtime().dispatch(Dispatch::LocalFirst);
    let runtime = runtime.dispatch_window(WINDOW).agent(probe());
    let runtime = runtime.agent(work(&gate, &begun)).start().await?;
    let of_flood = the_others_are_served(&runtime, &gate, &begun, Some(&shared)).await?;
    assert!(
        of_flood <= SLOTS + WINDOW + 1,
        "{of_flood} of the flood were before"
    );
    Ok(())
}

#[tokio::test]
async fn a_tenant_whose_window_is_full_keeps_nothing_from_others_of_lower_priority()
-> Result<(), Error> {
    let (gate, begun) = (Gate::new(), Notes::new());
    let shared = Shared::new().with_partitions(1);
    let coordinator = shared.runtime().dispatch_window(1).agent(probe());
    let coordinator = coordinator.start().await?;
    let worker = shared.runtime().worker_only().agent(work(&gate, &begun));
    let _worker = worker.start().await?;
    let urgent = coordinator.submit_plan(many(10)?).tenant("flood");
    let urgent = urgent.priority(Priority::P0).await?;
    gate.arrived(1).await;
    // One slot of four is taken, and the tenant may not have more on the bus.
    let run = coordinator.submit(&WORK, 7).tenant("other");
    let run = run.priority(Priority::P2).await?;
    gate.arrived(1).await;
    assert_eq!(begun.all(), ["flood".into(), Arc::from("other")]);
    gate.open(11);
    assert_eq!(run.result().await?, 7);
    assert_eq!(urgent.result().await?.len(), 10);
    Ok(())
}
