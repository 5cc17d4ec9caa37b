//! The end of a process is no failure of what ran in it.

use std::time::Duration;

use coditect_core::bus::{Destination, Envelope, FanoutName};
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, RuntimeBuilder};
use serde_json::json;

use crate::stage::{Count, Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

/// Fails when it is told to stop the first time it is called, and works from then on.
fn polite(builder: RuntimeBuilder, calls: &Count, here: &Gate) -> RuntimeBuilder {
    let (calls, here) = (calls.clone(), here.clone());
    let work = move |context: TaskContext, number: u64| {
        let (calls, here) = (calls.clone(), here.clone());
        async move {
            if calls.add() == 1 {
                let stopped = context.cancelled();
                tokio::select! {
                    () = stopped => return Err(AgentError::retryable("stopped half way")),
                    () = here.pass() => {}
                }
            }
            Ok(number)
        }
    };
    builder.agent(agent("work", work))
}

async fn goes_on_elsewhere(dispatch: Dispatch) -> Result<(), Error> {
    let shared = Shared::new();
    let (calls, here) = (Count::default(), Gate::new());
    let builder = || polite(shared.runtime().dispatch(dispatch), &calls, &here);
    let first = builder().drain_limit(Duration::from_millis(300));
    let first = first.start().await?;
    let mut plan = Plan::builder();
    let task = plan.task("work", &WORK, 5);
    plan.configure(&task, |settings| settings.max_attempts(1).max_losses(0));
    let run = first.submit_plan(plan.output(task)?).await?;
    here.arrived(1).await;
    first
        .shutdown()
        .await
        .expect_err("the handler had to be told");

    let second = builder().start().await?;
    let result = within(second.attach::<u64>(run.id()).result()).await;
    assert_eq!(result?, 5, "it counts neither as a failure nor as a loss");
    // The next owner hands out again what the bus still has.
    assert!(calls.get() >= 2, "it was called {} times", calls.get());
    second.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_stop_at_the_end_goes_on_elsewhere_over_the_bus() -> Result<(), Error> {
    goes_on_elsewhere(Dispatch::Bus).await
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_stop_at_the_end_goes_on_elsewhere_in_the_process() -> Result<(), Error> {
    goes_on_elsewhere(Dispatch::LocalFirst).await
}

#[tokio::test(start_paused = true)]
async fn what_answers_although_it_was_told_to_stop_has_answered() -> Result<(), Error> {
    let shared = Shared::new();
    let (calls, here) = (Count::default(), Gate::new());
    let (counted, arrived) = (calls.clone(), here.clone());
    let work = agent("work", move |context: TaskContext, number: u64| {
        let (counted, arrived) = (counted.clone(), arrived.clone());
        async move {
            counted.add();
            let () = tokio::select! {
                () = context.cancelled() => {}
                () = arrived.pass() => {}
            };
            Ok::<_, AgentError>(number)
        }
    });
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(work);
    let worker = worker.drain_limit(Duration::ZERO).start().await?;
    let run = coordinator.submit(&WORK, 5).await?;
    here.arrived(1).await;
    worker
        .shutdown()
        .await
        .expect_err("the handler had to be told");
    assert_eq!(within(run.result()).await?, 5);
    assert_eq!(calls.get(), 1);
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_runs_through_a_drain_can_be_cancelled() -> Result<(), Error> {
    let shared = Shared::new();
    let here = Gate::new();
    let arrived = here.clone();
    let work = agent("work", move |context: TaskContext, _: u64| {
        let arrived = arrived.clone();
        async move {
            let passing = arrived.pass();
            tokio::select! {
                () = passing => Ok(1),
                () = context.cancelled() => Err::<u64, _>(AgentError::retryable("stopped")),
            }
        }
    });
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(work).start().await?;
    let run = coordinator.submit(&WORK, 5).await?;
    here.arrived(1).await;
    let began = tokio::time::Instant::now();
    let mut drained = Box::pin(worker.shutdown());
    assert!(futures::poll!(&mut drained).is_pending());
    run.cancel("enough").await?;
    drained.await?;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn owners_are_heard_beside_one_of_no_partition_and_one_of_an_absurd_token()
-> Result<(), Error> {
    let shared = Shared::new();
    let here = Gate::new();
    let (arrived, stops) = (here.clone(), Count::default());
    let stopped = stops.clone();
    let work = agent("work", move |context: TaskContext, _: u64| {
        let (arrived, stopped) = (arrived.clone(), stopped.clone());
        async move {
            let passing = arrived.pass();
            tokio::select! {
                () = passing => {}
                () = context.cancelled() => { stopped.add(); }
            }
            Ok::<_, AgentError>(1_u64)
        }
    });
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(work).start().await?;
    let run = coordinator.submit(&WORK, 5).await?;
    here.arrived(1).await;
    let attempt = json!([{ "run": run.id(), "task": 0, "attempt": 1 }]);
    let partitions = coordinator.journal().partitions().get();
    let mut messages = vec![json!({ "owner": "outcome.99", "token": 1, "stop": attempt })];
    for partition in 0..partitions {
        messages.push(
            json!({ "owner": format!("outcome.{partition}"), "token": u64::MAX, "stop": [] }),
        );
    }
    let to = Destination::Fanout(FanoutName::new("control").unwrap());
    for message in messages {
        let envelope = Envelope::json(&message)?.with_header("coditect-kind", "control");
        shared.bus.publish(&to, envelope).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(stops.get(), 0, "there is no such partition");
    run.cancel("enough").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stops.get(), 1, "the owner is heard again");
    worker.shutdown().await?;
    coordinator.shutdown().await
}
