//! Cancelling runs, dropping handles, and shutting down.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, ErrorKind, FailureKind, RunState, TaskState};
use tokio::time::Instant;

use crate::stage::{Count, Gate, failure, follow, within};

mod stage;

const HOLD: Call<u64, u64> = Call::new("hold");
const STEP: Call<u64, u64> = Call::new("step");
const EVERYWHERE: [Dispatch; 3] = [Dispatch::LocalOnly, Dispatch::LocalFirst, Dispatch::Bus];

/// `hold` waits at the gate and notices when it is told to stop; `step` counts how often it ran.
fn builder(gate: &Gate, stopped: &Count, steps: &Count) -> coditect_core::RuntimeBuilder {
    let (gate, stopped, steps) = (gate.clone(), stopped.clone(), steps.clone());
    Runtime::builder()
        .agent(agent("hold", move |context: TaskContext, x: u64| {
            let (gate, stopped) = (gate.clone(), stopped.clone());
            async move {
                tokio::select! {
                    () = gate.pass() => Ok(x),
                    () = context.cancelled() => {
                        assert!(context.is_cancelled());
                        stopped.add();
                        Err(AgentError::retryable("stopped"))
                    }
                }
            }
        }))
        .agent(agent("step", move |x: u64| {
            steps.add();
            std::future::ready(Ok::<_, AgentError>(x))
        }))
}

fn chain_of_three() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let one = plan.task("one", &STEP, 1);
    let two = plan.task("two", &HOLD, &one);
    let three = plan.task("three", &STEP, &two);
    plan.task("beside", &HOLD, 4);
    plan.output(three)
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_what_runs_and_what_hangs_on_it() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped, steps) = (Gate::new(), Count::default(), Count::default());
        let runtime = builder(&gate, &stopped, &steps)
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit_plan(chain_of_three()?).await?;
        gate.arrived(2).await;
        run.cancel("changed my mind").await?;
        let result = within(run.result()).await;
        assert_eq!(
            result.as_ref().expect_err("cancelled").kind(),
            ErrorKind::Cancelled
        );
        let why = failure(result);
        assert_eq!(
            (why.kind, &*why.message),
            (FailureKind::Cancelled, "changed my mind")
        );
        let report = run.report().await?;
        let states: Vec<_> = report.tasks.iter().map(|task| task.state).collect();
        assert_eq!(
            states,
            [
                TaskState::Succeeded,
                TaskState::Cancelled,
                TaskState::Cancelled,
                TaskState::Cancelled
            ]
        );
        runtime.shutdown().await?;
        assert_eq!((stopped.get(), steps.get()), (2, 1), "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_leaves_other_runs_alone() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped) = (Gate::new(), Count::default());
        let runtime = builder(&gate, &stopped, &Count::default())
            .dispatch(dispatch)
            .partitions(1)
            .start()
            .await?;
        let run = runtime.submit(&HOLD, 1).await?;
        let other = runtime.submit(&HOLD, 2).await?;
        gate.arrived(2).await;
        run.cancel("enough").await?;
        within(run.settled()).await?;
        // The stopped handler may still stand at the gate.
        gate.open(2);
        assert_eq!(within(other.result()).await?, 2, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_before_it_began_never_begins() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, steps) = (Gate::new(), Count::default());
        let held = gate.clone();
        let counted = steps.clone();
        let runtime = Runtime::builder()
            .agent(
                agent("hold", move |x: u64| {
                    counted.add();
                    let gate = held.clone();
                    async move {
                        gate.pass().await;
                        Ok::<_, AgentError>(x)
                    }
                })
                .with_concurrency(1),
            )
            .dispatch(dispatch)
            .start()
            .await?;
        let first = runtime.submit(&HOLD, 1).await?;
        gate.arrived(1).await;
        let waiting = runtime.submit(&HOLD, 2).await?;
        waiting.cancel("not needed").await?;
        let summary = within(waiting.settled()).await?;
        assert_eq!(summary.state, RunState::Cancelled);
        gate.open(2);
        assert_eq!(within(first.result()).await?, 1);
        assert_eq!(within(runtime.run(&HOLD, 3)).await?, 3);
        runtime.shutdown().await?;
        if dispatch != Dispatch::LocalOnly {
            // What was on the bus already may have been taken and stopped.
            assert!(steps.get() <= 3);
        } else {
            assert_eq!(steps.get(), 2);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_with_its_submission_runs_nothing() -> Result<(), Error> {
    let steps = Count::default();
    let runtime = builder(&Gate::new(), &Count::default(), &steps)
        .start()
        .await?;
    let run = runtime.submit(&call::<u64, u64>("unserved"), 1).await?;
    run.cancel("never mind").await?;
    assert_eq!(within(run.settled()).await?.state, RunState::Cancelled);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn cancelling_twice_is_cancelling_once_with_the_first_reason() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped) = (Gate::new(), Count::default());
        let runtime = builder(&gate, &stopped, &Count::default())
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&HOLD, 1).await?;
        gate.arrived(1).await;
        run.cancel("first").await?;
        run.cancel("second").await?;
        assert_eq!(failure(within(run.result()).await).message, "first");
        run.cancel("third").await?;
        assert_eq!(failure(within(run.result()).await).message, "first");
        let ends = follow(&run).await?;
        let ends = ends
            .iter()
            .filter(|event| matches!(event.kind, RunEventKind::RunSettled(_)));
        assert_eq!(ends.count(), 1);
        runtime.shutdown().await?;
        assert_eq!(stopped.get(), 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_what_has_ended_changes_nothing() -> Result<(), Error> {
    let runtime = builder(&Gate::new(), &Count::default(), &Count::default())
        .start()
        .await?;
    let run = runtime.submit(&STEP, 1).await?;
    assert_eq!(within(run.result()).await?, 1);
    run.cancel("too late").await?;
    assert_eq!(within(runtime.run(&STEP, 2)).await?, 2);
    assert_eq!(within(run.result()).await?, 1);
    assert_eq!(run.state().await?, RunState::Succeeded);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_cancels_nothing() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped) = (Gate::new(), Count::default());
        let runtime = builder(&gate, &stopped, &Count::default())
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&HOLD, 7).await?;
        let id = run.id();
        let waiting = run.clone();
        let waiter = tokio::spawn(async move { waiting.result().await });
        gate.arrived(1).await;
        drop(run);
        waiter.abort();
        gate.open(1);
        assert_eq!(within(runtime.attach::<u64>(id).result()).await?, 7);
        runtime.shutdown().await?;
        assert_eq!(stopped.get(), 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutting_down_lets_running_handlers_end_and_keeps_what_they_answer() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::LocalFirst] {
        let (gate, stopped) = (Gate::new(), Count::default());
        let runtime = builder(&gate, &stopped, &Count::default())
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&HOLD, 7).await?;
        gate.arrived(1).await;
        let shutdown = tokio::spawn({
            let runtime = runtime.clone();
            async move { runtime.shutdown().await }
        });
        // Every task that can has run by now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!shutdown.is_finished(), "it waits for the handler");
        gate.open(1);
        within(shutdown).await.expect("it does not panic")?;
        assert_eq!(within(run.result()).await?, 7, "{dispatch:?}");
        assert_eq!(stopped.get(), 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutting_down_with_a_handler_that_never_ends_tells_so_and_ends() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let gate = Gate::new();
        let held = gate.clone();
        let stubborn = move |x: u64| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("hold", stubborn))
            .drain_limit(Duration::from_secs(20))
            .grace(Duration::from_secs(3))
            .dispatch(dispatch)
            .start()
            .await?;
        runtime.submit(&HOLD, 1).await?;
        gate.arrived(1).await;
        let began = Instant::now();
        let error = within(runtime.shutdown()).await.expect_err("it never ends");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.to_string().contains("20s"), "{error}");
        let took = began.elapsed().as_secs_f64();
        assert!((20.0..30.0).contains(&took), "{dispatch:?}: {took}");
        within(runtime.shutdown())
            .await
            .expect("again does no harm");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutting_down_answers_the_requests_that_run() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = builder(&gate, &Count::default(), &Count::default())
        .start()
        .await?;
    let asked = tokio::spawn(runtime.request(&HOLD, 5).into_future());
    gate.arrived(1).await;
    let shutdown = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.shutdown().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open(1);
    assert_eq!(within(asked).await.expect("it does not panic")?, 5);
    within(shutdown).await.expect("it does not panic")
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_was_shut_down_says_so_to_everyone() -> Result<(), Error> {
    let runtime = builder(&Gate::new(), &Count::default(), &Count::default())
        .start()
        .await?;
    let run = runtime.submit(&STEP, 1).await?;
    within(run.result()).await?;
    let other = runtime.clone();
    runtime.shutdown().await?;
    for error in [
        other.submit(&STEP, 1).await.map(drop).expect_err("no run"),
        other
            .submit_plan(Plan::answer(1)?)
            .await
            .map(drop)
            .expect_err("no plan"),
        other.run(&STEP, 1).await.map(drop).expect_err("no result"),
        other
            .request(&STEP, 1)
            .await
            .map(drop)
            .expect_err("no answer"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    assert_eq!(run.result().await?, 1, "what has ended can still be read");
    other.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_of_a_runtime_tells_its_handlers_to_stop() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped) = (Gate::new(), Count::default());
        let runtime = builder(&gate, &stopped, &Count::default())
            .dispatch(dispatch)
            .start()
            .await?;
        drop(runtime.submit(&HOLD, 1).await?);
        gate.arrived(1).await;
        drop(runtime);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(stopped.get(), 1, "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_run_that_nobody_will_finish_is_told_so() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = builder(&gate, &Count::default(), &Count::default())
        .start()
        .await?;
    let run = runtime.submit_plan(chain_of_three()?).await?;
    let waiting = run.clone();
    let waiter = tokio::spawn(async move { waiting.result().await });
    let mut events = run.events().await?;
    gate.arrived(2).await;
    gate.open(2);
    runtime.shutdown().await?;
    let error = within(waiter).await.expect("it does not panic");
    assert_eq!(error.expect_err("unfinished").kind(), ErrorKind::Closed);
    let error = loop {
        match within(events.next()).await {
            Ok(event) => assert!(event.is_some(), "the run has not ended"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains(&run.id().to_string()), "{error}");

    let runtime = builder(&gate, &Count::default(), &Count::default())
        .start()
        .await?;
    let run = runtime.submit(&HOLD, 1).await?;
    gate.arrived(1).await;
    drop(runtime);
    let error = within(run.result()).await.expect_err("unfinished");
    assert_eq!(error.kind(), ErrorKind::Closed);
    Ok(())
}
