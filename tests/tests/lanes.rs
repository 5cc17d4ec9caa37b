//! What goes to one queue holds up nothing that goes elsewhere, and what went with a queue is done again, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::Error;
use coditect_core::bus::{Destination, Envelope, FanoutName, MessageBus, QueueName};
use coditect_core::prelude::*;

mod stage;

use stage::{Count, Gate, Meddled, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
const QUICK: Call<u64, u64> = Call::new("quick");
/// Longer than anything here takes that is not held up.
const SOON: Duration = Duration::from_secs(60);

/// An agent that counts its calls, does one at a time, and answers once it is let through.
fn work(gate: &Gate, calls: &Count) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x + 1),
                () = context.cancelled() => Err(AgentError::retryable("told to stop")),
            }
        }
    });
    work.with_concurrency(1)
}

fn queue() -> QueueName {
    QueueName::for_capability("work.v1").expect("a name")
}

async fn one_queue_is_full(more: usize, cancels: bool) -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().dispatch_window(100_000).start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let quick = agent("quick", async |x: u64| Ok::<_, AgentError>(x));
    let _quick = shared.runtime().worker_only().agent(quick).start().await?;
    let stuck = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    assert_eq!(within(coordinator.run(&QUICK, 7)).await?, 7);
    let to = Destination::Queue(queue());
    let request = || Envelope::new("1").with_header("coditect-kind", "request");
    let is_full = async {
        loop {
            let filler = (0..1_000).map(|_| request()).collect();
            if shared.bus.publish_batch(&to, filler).await.is_err() {
                break;
            }
        }
    };
    within(is_full).await;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..more as u64)
        .map(|x| plan.task(format!("work-{x}"), &WORK, x))
        .collect();
    let plan: Plan<Vec<u64>> = plan.output(tasks)?;
    let _waits = coordinator.submit_plan(plan).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    if cancels {
        stuck.cancel("not needed").await?;
        // The handler stops, and the worker goes on with the next.
        gate.arrived(1).await;
    }
    let quick = coordinator.submit(&QUICK, 8).await?;
    let result = tokio::time::timeout(SOON, quick.result()).await;
    let result = result.expect("one full queue holds up another");
    assert_eq!(result?, 8);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_no_other_capability() -> Result<(), Error> {
    one_queue_is_full(1, false).await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_no_other_capability_however_much_waits_for_it() -> Result<(), Error>
{
    one_queue_is_full(9_000, false).await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_no_cancel() -> Result<(), Error> {
    one_queue_is_full(1, true).await
}

/// Starts 20 tasks with 8 workers, each of which has one, and takes their queue away.
async fn the_queue_is_deleted(after: Duration, times: usize) -> Result<usize, Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let mut workers = Vec::new();
    for _ in 0..8 {
        let worker = shared.runtime().worker_only();
        workers.push(worker.agent(work(&gate, &calls)).start().await?);
    }
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(8).await;
    for _ in 0..times {
        shared.bus.delete(&queue()).await.expect("the bus is there");
        tokio::time::sleep(after).await;
    }
    gate.open(1_000_000);
    for run in &runs {
        within(run.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    Ok(calls.get())
}

#[tokio::test(start_paused = true)]
async fn what_went_with_a_queue_is_done_again_once() -> Result<(), Error> {
    let calls = the_queue_is_deleted(Duration::from_secs(4), 1).await?;
    assert!(calls <= 8 + 20, "{calls} calls of 20 tasks");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_a_queue_goes_again_and_again() -> Result<(), Error> {
    for after in [100, 300, 1_000, 2_300, 3_000] {
        the_queue_is_deleted(Duration::from_millis(after), 3).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_finds_its_queue_gone_is_published_once() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    gate.open(1_000_000);
    within(coordinator.run(&WORK, 0)).await?;
    shared.bus.delete(&queue()).await.expect("the bus is there");
    // Before its consumer is back.
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    for run in &runs {
        within(run.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(calls.get(), 1 + 20);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_went_while_nobody_could_be_told_is_done_again() -> Result<(), Error> {
    let gone = Arc::new(AtomicBool::new(false));
    let unheard = Arc::clone(&gone);
    let bus = Meddled::new().on_publish(move |envelope| {
        let is_notice = envelope.header("coditect-kind") == Some("control");
        let arrives = !(is_notice && unheard.load(Ordering::SeqCst));
        Box::pin(std::future::ready(arrives))
    });
    let shared = Shared::on(Arc::new(bus.clone())).with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let mut runs = Vec::new();
    for x in 0..5 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(1).await;
    gone.store(true, Ordering::SeqCst);
    shared.bus.delete(&queue()).await.expect("the bus is there");
    tokio::time::sleep(SOON).await;
    gate.open(1_000);
    bus.end_fanouts();
    for run in &runs {
        within(run.result()).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn however_many_queues_are_new_what_waits_in_others_is_done_once() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let mut runs = Vec::new();
    for x in 0..5 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(1).await;
    tokio::time::sleep(SOON).await;
    let mut many = shared.runtime().worker_only();
    for number in 0..100 {
        let other = async |x: u64| Ok::<_, AgentError>(x);
        many = many.agent(agent(format!("other-{number}"), other));
    }
    let _many = many.start().await?;
    tokio::time::sleep(SOON).await;
    gate.open(1_000);
    for run in &runs {
        within(run.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(calls.get(), 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_noticed_though_there_is_always_something_to_hear() -> Result<(), Error> {
    let gone = Arc::new(AtomicBool::new(false));
    let unheard = Arc::clone(&gone);
    let bus = Meddled::new().on_publish(move |envelope| {
        let is_notice = envelope.header("coditect-kind") == Some("control");
        let arrives = !(is_notice && unheard.load(Ordering::SeqCst));
        Box::pin(std::future::ready(arrives))
    });
    let shared = Shared::on(Arc::new(bus.clone())).with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let mut runs = Vec::new();
    for x in 0..5 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(1).await;
    gone.store(true, Ordering::SeqCst);
    shared.bus.delete(&queue()).await.expect("the bus is there");
    tokio::time::sleep(SOON).await;
    gate.open(1_000);
    bus.miss_on_fanouts();
    let control = Destination::Fanout(FanoutName::new("control").expect("a name"));
    let talk = async {
        loop {
            let word = Envelope::new("of no meaning to anybody");
            bus.publish(&control, word).await.expect("the bus is there");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let results = async {
        for run in &runs {
            within(run.result()).await?;
        }
        Ok(())
    };
    tokio::select! {
        results = results => results,
        () = talk => Ok(()),
    }
}
