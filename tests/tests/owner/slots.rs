//! Who gets a slot that is free: somebody, and the most urgent first.

use bytes::Bytes;
use coditect_core::dag::Timestamp;
use coditect_core::dag::journal::{Submission, partition_of};
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, RunId};
use serde_json::json;

use crate::stage::{Gate, Notes, Shared, within};

/// Takes one task at a time, of several capabilities, and holds each at a gate.
struct Clerk {
    name: &'static str,
    offers: &'static [&'static str],
    gate: Gate,
    seen: Notes<u64>,
}

impl Clerk {
    fn new(name: &'static str, offers: &'static [&'static str]) -> Self {
        Self {
            name,
            offers,
            gate: Gate::new(),
            seen: Notes::new(),
        }
    }
}

impl Agent for Clerk {
    type Input = u64;
    type Output = u64;

    fn card(&self) -> AgentCard {
        let card = AgentCard::new(self.name).with_concurrency(1);
        self.offers
            .iter()
            .fold(card, |card, offer| card.with_capability(*offer))
    }

    async fn handle(&self, _: TaskContext, x: u64) -> Result<u64, AgentError> {
        self.seen.push(x);
        self.gate.pass().await;
        Ok(x)
    }
}

/// Submits a run of one task to a partition, and waits until its owner has taken it up.
async fn submit_to(
    runtime: &Runtime,
    partition: u16,
    capability: &str,
    x: u64,
) -> Result<RunHandle<u64>, Error> {
    let journal = runtime.journal();
    let count = journal.partitions();
    let run = std::iter::repeat_with(RunId::new)
        .find(|run| partition_of(*run, count).get() == partition)
        .expect("there is no end of them");
    let spec = json!({ "plan": {
        "calls": [capability],
        "settings": [{}],
        "tasks": [{ "key": "it", "call": 0, "input": { "value": x } }],
        "result": { "output": { "task": 0 } },
    }});
    let spec = Bytes::from(spec.to_string());
    let now = Timestamp::from(std::time::SystemTime::now());
    journal.submit(Submission::new(run, spec, now)).await?;
    let run = runtime.attach(run);
    taken_up(&run).await?;
    Ok(run)
}

/// Waits until an owner has taken a run up, and handed out what there is room for.
async fn taken_up<O>(run: &RunHandle<O>) -> Result<(), Error> {
    let mut events = run.events().await?;
    let first = within(events.next()).await?.expect("the run begins");
    assert!(matches!(first.kind, RunEventKind::Started), "{first:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_slot_stays_free_while_another_partition_waits_for_it() -> Result<(), Error> {
    let (p, q) = (Clerk::new("p", &["x", "y"]), Clerk::new("q", &["x", "z"]));
    let (at_p, at_q) = (p.gate.clone(), q.gate.clone());
    let (seen_p, seen_q) = (p.seen.clone(), q.seen.clone());
    let shared = Shared::new().with_partitions(3);
    let runtime = shared.runtime().dispatch(Dispatch::LocalOnly);
    let runtime = runtime.agent(p).agent(q).start().await?;
    submit_to(&runtime, 2, "y", 0).await?;
    submit_to(&runtime, 2, "z", 1).await?;
    at_p.arrived(1).await;
    at_q.arrived(1).await;
    // Both partitions wait for `p`; the first of them, for `q` as well.
    let either = submit_to(&runtime, 0, "x", 2).await?;
    let waiting = submit_to(&runtime, 1, "y", 3).await?;

    at_q.open(1);
    at_q.arrived(1).await;
    // Whom `p` tells first no longer needs it.
    at_p.open(1);
    at_p.arrived(1).await;
    assert_eq!((seen_p.all(), seen_q.all()), (vec![0, 3], vec![1, 2]));
    at_p.open(1);
    assert_eq!(within(waiting.result()).await?, 3);
    at_q.open(1);
    assert_eq!(within(either.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_urgent_task_of_another_capability_goes_before_a_flood() -> Result<(), Error> {
    const LOW: Call<u64, u64> = Call::new("low");
    const HIGH: Call<u64, u64> = Call::new("high");
    const URGENT: u64 = 1_000;
    for dispatch in [Dispatch::LocalFirst, Dispatch::LocalOnly] {
        let clerk = Clerk::new("clerk", &["low", "high"]);
        let (gate, seen) = (clerk.gate.clone(), clerk.seen.clone());
        let shared = Shared::new().with_partitions(1);
        let runtime = shared.runtime().dispatch(dispatch);
        // What waits on the bus is in the bus's order; here everything waits for the slot.
        let runtime = runtime.dispatch_window(1).agent(clerk).start().await?;
        let mut plan = Plan::builder();
        let tasks: Vec<_> = (0..500)
            .map(|x| plan.task(format!("low-{x}"), &LOW, x))
            .collect();
        let plan: Plan<Vec<u64>> = plan.output(tasks)?;
        let flood = runtime.submit_plan(plan).priority(Priority::P2).await?;
        gate.arrived(1).await;
        let urgent = runtime.submit(&HIGH, URGENT).priority(Priority::P0);
        let urgent = urgent.await?;
        taken_up(&urgent).await?;
        gate.open(501);
        assert_eq!(within(urgent.result()).await?, URGENT);
        within(flood.result()).await?;
        let seen = seen.all();
        let turn = seen.iter().position(|x| *x == URGENT);
        assert!(turn.is_some_and(|turn| turn < 10), "{dispatch:?}: {turn:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}
