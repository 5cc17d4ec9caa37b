//! What was cancelled before it began does not begin.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;

use crate::stage::{Count, Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn a_task_that_is_cancelled_in_its_queue_never_starts() -> Result<(), Error> {
    let shared = Shared::new();
    let (calls, here) = (Count::default(), Gate::new());
    let (counted, arrived) = (calls.clone(), here.clone());
    let work = agent("work", move |context: TaskContext, number: u64| {
        let (counted, arrived) = (counted.clone(), arrived.clone());
        async move {
            counted.add();
            let passing = arrived.pass();
            tokio::select! {
                () = passing => {}
                () = context.cancelled() => {}
            }
            Ok::<_, AgentError>(number)
        }
    });
    let runtime = shared.runtime().agent(work.with_concurrency(1)).start();
    let runtime = Arc::new(runtime.await?);
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..10)
        .map(|number| plan.task(format!("work-{number}"), &WORK, number))
        .collect();
    let run = runtime.submit_plan(plan.output(tasks)?).await?;
    here.arrived(1).await;
    run.cancel("enough").await?;
    within(run.settled()).await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // The slot may have gone to the next task in the moment between the two.
    assert!(calls.get() <= 2, "{} were started", calls.get());
    let after = runtime.submit(&WORK, 1).await?;
    here.arrived(1).await;
    here.open(1);
    assert_eq!(within(after.result()).await?, 1, "what is new starts");
    runtime.shutdown().await
}
