//! Agents that panic, that ignore cancellation, that answer nonsense.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, ErrorKind, FailureKind, RunState, TaskState};
use tokio::time::Instant;

use crate::stage::{Count, Gate, failure, follow, within};

const SHAKY: Call<u64, u64> = Call::new("shaky");
const STUBBORN: Call<u64, u64> = Call::new("stubborn");

const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_and_retried_and_the_worker_goes_on() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let calls = Count::default();
        let counted = calls.clone();
        let shaky = move |x: u64| {
            let calls = counted.clone();
            async move {
                assert!(calls.add() > 2, "not yet {x}");
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("shaky", shaky).with_concurrency(1))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let task = plan.task("task", &SHAKY, 9);
        plan.configure(&task, |task| task.max_attempts(3));
        let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
        assert_eq!(within(run.result()).await?, 9, "{dispatch:?}");
        assert_eq!(run.report().await?.tasks[0].attempts, 3);
        let retried: Vec<_> = follow(&run)
            .await?
            .into_iter()
            .filter_map(|event| match event.kind {
                RunEventKind::Retrying(_, failure, _) => Some(failure),
                _ => None,
            })
            .collect();
        assert_eq!(retried.len(), 2);
        for failure in retried {
            assert_eq!(failure.kind, FailureKind::Panic);
            assert!(failure.message.contains("not yet 9"), "{failure}");
        }
        assert_eq!(runtime.run(&SHAKY, 1).await?, 1, "its slot is free again");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_is_caught_as_well() -> Result<(), Error> {
    let bad = |x: u64| {
        assert!(x != 13, "unlucky");
        std::future::ready(Ok::<_, AgentError>(x))
    };
    let runtime = Runtime::builder()
        .agent(agent("shaky", bad).with_concurrency(1))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (12..=14)
        .map(|x| {
            let task = plan.task(format!("{x}"), &SHAKY, x);
            plan.configure(&task, |task| task.max_attempts(1));
            task
        })
        .collect();
    let run = runtime
        .submit_plan(plan.aggregate(collect_succeeded(), tasks)?)
        .await?;
    assert_eq!(within(run.result()).await?, [12, 14]);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_request_answers_the_requester() -> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(agent("shaky", async |x: u64| {
            assert!(x != 13, "unlucky");
            Ok::<_, AgentError>(x)
        }))
        .start()
        .await?;
    let error = within(runtime.request(&SHAKY, 13).into_future())
        .await
        .expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(
        error
            .failure()
            .expect("a failure")
            .message
            .contains("unlucky")
    );
    assert_eq!(runtime.request(&SHAKY, 1).await?, 1);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ignores_cancellation_is_dropped_after_its_grace() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let gate = Gate::new();
        let held = gate.clone();
        let dropped = Count::default();
        let counted = dropped.clone();
        let stubborn = move |x: u64| {
            let (gate, dropped) = (held.clone(), OnDrop(counted.clone()));
            async move {
                let _dropped = dropped;
                if x == 0 {
                    gate.pass().await;
                }
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("stubborn", stubborn).with_concurrency(1))
            .agent(agent("shaky", async |x: u64| Ok::<_, AgentError>(x)))
            .grace(Duration::from_secs(3))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&STUBBORN, 0).await?;
        gate.arrived(1).await;
        let next = runtime.submit(&STUBBORN, 1).await?;
        let asked = Instant::now();
        run.cancel("enough").await?;
        let summary = within(run.settled()).await?;
        assert_eq!(summary.state, RunState::Cancelled);
        assert!(
            asked.elapsed() < Duration::from_millis(1),
            "the run does not wait for it"
        );
        assert_eq!(runtime.run(&SHAKY, 5).await?, 5, "others go on");
        assert_eq!(dropped.get(), 0, "it has its grace");
        assert_eq!(within(next.result()).await?, 1, "its slot is free again");
        assert_eq!(dropped.get(), 2);
        let waited = asked.elapsed();
        assert!(waited >= Duration::from_secs(3), "{waited:?}");
        assert!(waited < Duration::from_secs(4), "{dispatch:?}: {waited:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_over_its_timeout_is_counted_against_the_task_even_if_it_ignores_it()
-> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let calls = Count::default();
        let counted = calls.clone();
        let slow_once = move |x: u64| {
            let first = counted.add() == 1;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("stubborn", slow_once).with_concurrency(1))
            .grace(Duration::from_secs(1))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let task = plan.task("task", &STUBBORN, 3);
        plan.configure(&task, |task| {
            task.timeout(Duration::from_secs(10)).max_attempts(2)
        });
        let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
        assert_eq!(within(run.result()).await?, 3);
        let why = follow(&run)
            .await?
            .into_iter()
            .find_map(|event| match event.kind {
                RunEventKind::Retrying(_, failure, _) => Some(failure),
                _ => None,
            });
        let why = why.expect("it was tried again");
        assert_eq!(why.kind, FailureKind::Timeout);
        assert!(why.message.contains("longer than 10s"), "{why}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Unwritable {
    map: std::collections::HashMap<(u8, u8), u8>,
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_no_json_fails_its_task_for_good() -> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(agent("shaky", async |x: u64| Ok::<_, AgentError>(x)))
        .agent(agent("unwritable", async |_: u64| {
            Ok::<_, AgentError>(Unwritable {
                map: [((1, 2), 3)].into(),
            })
        }))
        .start()
        .await?;
    let run = runtime.submit(&call::<u64, u64>("unwritable"), 1).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::Permanent);
    assert!(why.message.contains("cannot be written as JSON"), "{why}");
    let report = run.report().await?;
    assert_eq!(
        (report.tasks[0].state, report.tasks[0].attempts),
        (TaskState::Failed, 1)
    );
    assert_eq!(runtime.run(&SHAKY, 2).await?, 2);
    runtime.shutdown().await
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb went off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_what_a_dropped_handler_held_fails_its_task_alone() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let pending = async |_: u64| {
            let _bomb = Bomb;
            std::future::pending::<Result<u64, AgentError>>().await
        };
        let runtime = Runtime::builder()
            .agent(agent("stubborn", pending).with_concurrency(1))
            .agent(agent("shaky", async |x: u64| Ok::<_, AgentError>(x)))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let task = plan.task("task", &STUBBORN, 3);
        plan.configure(&task, |task| {
            task.timeout(Duration::from_secs(1)).max_attempts(2)
        });
        let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::Panic, "{dispatch:?}");
        assert!(why.message.contains("a bomb went off"), "{why}");
        assert_eq!(within(runtime.run(&SHAKY, 5)).await?, 5);
        runtime.shutdown().await?;
    }
    Ok(())
}
