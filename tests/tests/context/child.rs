//! Child requests: a handler asks another agent, or its own kind, and waits without a slot.

use std::time::Duration;

use coditect_core::dag::journal::RunFilter;
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, FailureKind, RunState};

use crate::stage::{Count, Gate, Notes, failure, within};

const ASK: Call<u64, u64> = Call::new("ask");
const ANSWER: Call<u64, u64> = Call::new("answer");
const EVERYWHERE: [Dispatch; 3] = [Dispatch::LocalOnly, Dispatch::LocalFirst, Dispatch::Bus];

/// Asks itself for the number below, down to nothing.
async fn count_down(context: TaskContext, x: u64) -> Result<u64, AgentError> {
    if x == 0 {
        return Ok(0);
    }
    Ok(1 + context.request("below", &ASK, x - 1).await?)
}

async fn counting(dispatch: Dispatch) -> Result<Runtime, Error> {
    Runtime::builder()
        .agent(agent("ask", count_down).with_concurrency(1))
        .dispatch(dispatch)
        .start()
        .await
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_one_slot_may_ask_its_own_kind() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = counting(dispatch).await?;
        assert_eq!(within(runtime.run(&ASK, 1)).await?, 1, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_one_slot_may_ask_its_own_kind_down_to_the_limit() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = counting(dispatch).await?;
        assert_eq!(within(runtime.run(&ASK, 16)).await?, 16, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_parents_may_wait_for_children_of_their_own_kind() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = counting(dispatch).await?;
        let mut runs = Vec::new();
        for _ in 0..10 {
            runs.push(runtime.submit(&ASK, 2).await?);
        }
        for run in runs {
            assert_eq!(within(run.result()).await?, 2, "{dispatch:?}");
        }
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_ask_several_at_once_with_a_single_slot() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let fan = async |context: TaskContext, x: u64| {
            if x == 0 {
                return Ok(1);
            }
            let names: Vec<_> = (0..x).map(|child| format!("child-{child}")).collect();
            let children = names
                .iter()
                .map(|name| context.request(name, &ASK, 0).into_future());
            let answers = futures::future::try_join_all(children).await?;
            Ok::<_, AgentError>(answers.into_iter().sum())
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", fan).with_concurrency(1))
            .dispatch(dispatch)
            .start()
            .await?;
        assert_eq!(within(runtime.run(&ASK, 5)).await?, 5, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_nested_too_deep_fail_and_say_that_they_may_be_circular() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let circular = async |context: TaskContext, x: u64| context.request("same", &ASK, x).await;
        let runtime = Runtime::builder()
            .agent(agent("ask", circular))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&ASK, 1).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::Permanent);
        assert!(why.to_string().contains("16 requests are nested"), "{why}");
        let all = runtime.runs(RunFilter::default()).await?;
        assert_eq!(all.len(), 17, "nobody was tried twice");
        assert!(all.iter().all(|run| run.state == RunState::Failed));
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_meets_the_children_of_the_first() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (asked, notes) = (Count::default(), Notes::new());
        let (counted, noted) = (asked.clone(), notes.clone());
        let parent = move |context: TaskContext, x: u64| {
            let notes = noted.clone();
            async move {
                let one = context.request("one", &ANSWER, x).await?;
                notes.push((context.attempt(), one));
                if context.attempt() < 3 {
                    return Err(AgentError::retryable("after its child"));
                }
                let two = context.request("two", &ANSWER, x).await?;
                Ok::<_, AgentError>(one * 100 + two)
            }
        };
        let answer = move |_: u64| {
            let number = counted.add() as u64;
            std::future::ready(Ok::<_, AgentError>(number))
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        assert_eq!(within(runtime.run(&ASK, 7)).await?, 102, "{dispatch:?}");
        assert_eq!(notes.all(), [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(asked.get(), 2, "once under each name");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_a_timeout_asks_anew_what_the_first_took_with_it() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (asked, stopped) = (Count::default(), Count::default());
        let (counted, noted) = (asked.clone(), stopped.clone());
        let parent = async |context: TaskContext, x: u64| context.request("slow", &ANSWER, x).await;
        let answer = move |context: TaskContext, x: u64| {
            let (number, stopped) = (counted.add(), noted.clone());
            async move {
                if number < 3 {
                    context.cancelled().await;
                    stopped.add();
                }
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let task = plan.task("task", &ASK, 3);
        plan.configure(&task, |task| {
            task.timeout(Duration::from_secs(10)).max_attempts(4)
        });
        let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
        assert_eq!(within(run.result()).await?, 3, "{dispatch:?}");
        assert_eq!((asked.get(), stopped.get()), (3, 2), "{dispatch:?}");
        assert_eq!(run.report().await?.tasks[0].attempts, 3);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_that_somebody_cancelled_fails_its_parent() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let gate = Gate::new();
        let held = gate.clone();
        let parent =
            async |context: TaskContext, x: u64| context.request("child", &ANSWER, x).await;
        let answer = move |x: u64| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&ASK, 1).await?;
        gate.arrived(1).await;
        let runs = runtime.runs(RunFilter::default()).await?;
        let child = runs.iter().find(|other| other.run != run.id());
        let child = runtime.attach::<u64>(child.expect("there is one").run);
        child.cancel("an operator said so").await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::Permanent);
        assert!(why.to_string().contains("an operator said so"), "{why}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_for_good_fails_its_parent_for_good_with_the_reason() -> Result<(), Error>
{
    for dispatch in EVERYWHERE {
        let asked = Count::default();
        let counted = asked.clone();
        let parent =
            async |context: TaskContext, x: u64| context.request("child", &ANSWER, x).await;
        let answer = move |_: u64| {
            counted.add();
            std::future::ready(Err::<u64, _>(AgentError::permanent("no such page")))
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&ASK, 1).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::Permanent);
        assert!(why.to_string().contains("no such page"), "{why}");
        assert_eq!(asked.get(), 1);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_parent_reaches_the_child() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (gate, stopped) = (Gate::new(), Count::default());
        let (held, counted) = (gate.clone(), stopped.clone());
        let parent =
            async |context: TaskContext, x: u64| context.request("child", &ANSWER, x).await;
        let answer = move |context: TaskContext, x: u64| {
            let (gate, stopped) = (held.clone(), counted.clone());
            async move {
                tokio::select! {
                    () = gate.pass() => {}
                    () = context.cancelled() => {
                        stopped.add();
                    }
                }
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&ASK, 1).await?;
        gate.arrived(1).await;
        run.cancel("enough").await?;
        within(run.settled()).await?;
        for child in runtime.runs(RunFilter::default()).await? {
            let child = runtime.attach::<u64>(child.run);
            let summary = within(child.settled()).await?;
            assert_eq!(summary.state, RunState::Cancelled, "{dispatch:?}");
        }
        runtime.shutdown().await?;
        assert_eq!(stopped.get(), 1, "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_has_no_later_deadline_than_its_parent() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let parent =
            async |context: TaskContext, x: u64| context.request("child", &ANSWER, x).await;
        let answer = async |context: TaskContext, _: u64| {
            let left = context.time_left().map(|left| left.as_secs_f64().round());
            Ok::<_, AgentError>(left.map_or(0, |left| left as u64))
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent))
            .agent(agent("answer", answer))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime
            .submit(&ASK, 1)
            .tenant("acme")
            .deadline(Duration::from_secs(90))
            .await?;
        assert_eq!(within(run.result()).await?, 90);
        let all = runtime.runs(RunFilter::default()).await?;
        assert!(
            all.iter().all(|run| &*run.tenant == "acme"),
            "and its tenant"
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_may_be_decomposed() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let parent = async |context: TaskContext, x: u64| {
            let all: Vec<u64> = context.request("child", &call("split"), x).await?;
            Ok::<_, AgentError>(all.into_iter().sum::<u64>())
        };
        let split = async |_: TaskContext, x: u64| {
            let mut plan = Plan::builder();
            let parts: Vec<_> = (0..x)
                .map(|part| plan.task(format!("{part}"), &ANSWER, part))
                .collect();
            plan.output::<Vec<u64>>(parts)
        };
        let runtime = Runtime::builder()
            .agent(agent("ask", parent).with_concurrency(1))
            .agent(agent("answer", async |x: u64| Ok::<_, AgentError>(x)))
            .orchestrator(orchestrator("split", split))
            .dispatch(dispatch)
            .start()
            .await?;
        assert_eq!(within(runtime.run(&ASK, 5)).await?, 10);
        runtime.shutdown().await?;
    }
    Ok(())
}
