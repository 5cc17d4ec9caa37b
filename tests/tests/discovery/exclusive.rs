//! Two starts of one exclusive agent: the newer one works, the older one stops.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};

use crate::stage::{Gate, Notes, Shared, within};

/// Notes how its calls ended, and is held until then.
fn writer(
    name: &'static str,
    gate: &Gate,
    notes: &Notes<(&'static str, &'static str)>,
) -> impl Agent {
    let (gate, notes) = (gate.clone(), notes.clone());
    let work = move |context: TaskContext, _: u64| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            tokio::select! {
                () = gate.pass() => notes.push((name, "done")),
                () = context.cancelled() => {
                    notes.push((name, "stopped"));
                    return Err(AgentError::retryable("told to stop"));
                }
            }
            Ok(name)
        }
    };
    agent("work", work).with_exclusive()
}

async fn is_taken_over(dispatch: Dispatch) -> Result<(), Error> {
    let (shared, gate, notes) = (Shared::new(), Gate::new(), Notes::new());
    let builder = |name| {
        shared
            .runtime()
            .dispatch(dispatch)
            .agent(writer(name, &gate, &notes))
    };
    let older = builder("older").start().await?;
    let mut plan = Plan::builder();
    let task = plan.task("only", &call::<u64, String>("work"), 1);
    // Being replaced is no failure of the task.
    plan.configure(&task, |settings| settings.max_attempts(1));
    let run = older.submit_plan(plan.output(task)?).await?;
    gate.arrived(1).await;
    let newer = builder("newer").worker_only().start().await?;
    gate.arrived(1).await;
    assert_eq!(notes.all(), [("older", "stopped")]);
    assert_eq!(older.agents().len(), 1);
    gate.open(1);
    assert_eq!(within(run.result()).await?, "newer");
    gate.open(1);
    let again = call::<u64, String>("work");
    let once_more = within(older.run(&again, 2)).await?;
    assert_eq!(once_more, "newer", "the older one takes no more work");
    newer.shutdown().await?;
    older.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_older_one_stops_what_it_got_over_the_bus() -> Result<(), Error> {
    is_taken_over(Dispatch::Bus).await
}

#[tokio::test(start_paused = true)]
async fn the_older_one_stops_what_it_was_given_in_its_process() -> Result<(), Error> {
    is_taken_over(Dispatch::LocalFirst).await
}

#[tokio::test(start_paused = true)]
async fn agents_that_are_not_exclusive_work_side_by_side() -> Result<(), Error> {
    let shared = Shared::new();
    let builder = || {
        shared
            .runtime()
            .agent(agent("work", async |x: u64| Ok::<_, AgentError>(x)))
    };
    let (one, other) = (builder().start().await?, builder().start().await?);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(one.agents().len(), 2);
    one.shutdown().await?;
    other.shutdown().await
}
