//! What outlasts an attempt, and what the tasks of a run share.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, FailureKind};

use crate::stage::{Count, Notes, failure, within};

const STEP: Call<u64, u64> = Call::new("step");
const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

#[tokio::test(start_paused = true)]
async fn a_step_that_was_done_is_not_done_again_by_a_later_attempt() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (charged, failed) = (Count::default(), Count::default());
        let (charge, fail) = (charged.clone(), failed.clone());
        let pay = move |context: TaskContext, x: u64| {
            let (charge, fail) = (charge.clone(), fail.clone());
            async move {
                let receipt: u64 = context
                    .once("charge", || async {
                        charge.add();
                        Ok::<_, AgentError>(100 + u64::from(context.attempt()))
                    })
                    .await?;
                // A step that fails is not kept, and another name is another step.
                let checked: u64 = context
                    .once("check", || async {
                        if fail.add() < 3 {
                            return Err(AgentError::retryable("not yet"));
                        }
                        Ok(u64::from(context.attempt()))
                    })
                    .await?;
                Ok::<_, AgentError>(receipt * 1_000 + checked * 10 + x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("step", pay))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let one = plan.task("one", &STEP, 1);
        plan.configure(&one, |task| task.max_attempts(3));
        let run = runtime.submit_plan(plan.output::<u64>(one)?).await?;
        assert_eq!(within(run.result()).await?, 101_031, "{dispatch:?}");
        assert_eq!((charged.get(), failed.get()), (1, 3));
        // Another task's step is its own.
        assert_eq!(within(runtime.run(&STEP, 2)).await?, 101_012);
        assert_eq!(charged.get(), 2);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_idempotency_key_is_the_tasks_and_its_attempts_share_it() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let notes = Notes::new();
        let noted = notes.clone();
        let handler = move |context: TaskContext, x: u64| {
            noted.push((
                context.key().to_owned(),
                context.attempt(),
                context.idempotency_key(),
            ));
            let failed = context.attempt() < 3;
            std::future::ready(if failed {
                Err(AgentError::retryable("again"))
            } else {
                Ok(x)
            })
        };
        let runtime = Runtime::builder()
            .agent(agent("step", handler))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let tasks = [plan.task("a", &STEP, 1), plan.task("b", &STEP, 2)];
        let run = runtime
            .submit_plan(plan.output::<Vec<u64>>(tasks.to_vec())?)
            .await?;
        within(run.result()).await?;
        let notes = notes.all();
        assert_eq!(notes.len(), 6);
        let of = |key: &str| -> Vec<_> {
            let of = notes.iter().filter(|(task, ..)| task == key);
            of.map(|(_, attempt, key)| (*attempt, key.clone()))
                .collect()
        };
        let (a, b) = (of("a"), of("b"));
        let numbers: Vec<_> = a.iter().map(|(attempt, _)| *attempt).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(a.iter().all(|(_, key)| *key == a[0].1), "{a:?}");
        assert!(b.iter().all(|(_, key)| *key == b[0].1), "{b:?}");
        assert_ne!(a[0].1, b[0].1);
        assert!(a[0].1.contains(&run.id().to_string()));
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_blackboard_is_shared_by_a_run_and_by_no_other() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let add = async |context: TaskContext, x: u64| {
            let board = context.blackboard()?;
            let sum = board
                .update("sum", |sum: &mut Option<u64>| {
                    *sum.get_or_insert(0) += x;
                    *sum
                })
                .await?;
            Ok::<_, AgentError>(sum.unwrap_or(0))
        };
        let read = async |context: TaskContext, _: u64| {
            let sum: Option<u64> = context.blackboard()?.get("sum").await?;
            Ok::<_, AgentError>(sum.unwrap_or(0))
        };
        let runtime = Runtime::builder()
            .agent(agent("add", add))
            .agent(agent("read", read))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let read_all = plan.task("read", &call::<u64, u64>("read"), 0);
        for x in 1..=50 {
            let add = plan.task(format!("add-{x}"), &call::<u64, u64>("add"), x);
            plan.after(&read_all, &add);
        }
        let run = runtime.submit_plan(plan.output::<u64>(read_all)?).await?;
        assert_eq!(within(run.result()).await?, 1_275);
        assert_eq!(within(runtime.run(&call::<u64, u64>("read"), 0)).await?, 0);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_can_read_what_others_of_its_run_have_answered() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let look = async |context: TaskContext, _: u64| {
            let first: Option<u64> = context.upstream("first").await?;
            let own: Option<u64> = context.upstream("look").await?;
            let wrong: Result<Option<String>, _> = context.upstream("first").await;
            let nobody: Result<Option<u64>, _> = context.upstream("third").await;
            assert!(nobody.is_err(), "the plan has no such task");
            assert!(own.is_none(), "it has not answered yet");
            assert!(wrong.is_err(), "a number is no text");
            Ok::<_, AgentError>(first)
        };
        let runtime = Runtime::builder()
            .agent(agent("step", async |x: u64| Ok::<_, AgentError>(x)))
            .agent(agent("look", look))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let first = plan.task("first", &STEP, 42);
        let look = plan.task("look", &call::<u64, Option<u64>>("look"), 0);
        plan.after(&look, &first);
        let run = runtime
            .submit_plan(plan.output::<Option<u64>>(look)?)
            .await?;
        assert_eq!(within(run.result()).await?, Some(42));
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_its_deadline_and_the_time_it_has_left() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let left = async |context: TaskContext, seconds: u64| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!(context.deadline().is_some(), context.time_left().is_some());
            Ok::<_, AgentError>(context.time_left().map(|left| left.as_secs_f64().round()))
        };
        let runtime = Runtime::builder()
            .agent(agent("left", left))
            .dispatch(dispatch)
            .start()
            .await?;
        let left: Call<u64, Option<f64>> = call("left");
        assert_eq!(within(runtime.run(&left, 1)).await?, None);
        let run = runtime
            .submit(&left, 10)
            .deadline(Duration::from_secs(60))
            .await?;
        assert_eq!(within(run.result()).await?, Some(50.0));
        let mut plan = Plan::builder();
        let sooner = plan.task("sooner", &left, 10);
        plan.configure(&sooner, |task| task.deadline(Duration::from_secs(25)));
        let later = plan.task("later", &left, 10);
        plan.configure(&later, |task| task.deadline(Duration::from_secs(250)));
        let plan = plan.output::<(Option<f64>, Option<f64>)>((sooner, later))?;
        let run = runtime
            .submit_plan(plan)
            .deadline(Duration::from_secs(60))
            .await?;
        assert_eq!(within(run.result()).await?, (Some(15.0), Some(50.0)));
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_the_run_is_for_is_told_to_its_handlers() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = Runtime::builder()
            .agent(agent("who", async |context: TaskContext, _: u64| {
                Ok::<_, AgentError>(format!("{} {:?}", context.tenant(), context.run()))
            }))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime
            .submit(&call::<u64, String>("who"), 0)
            .tenant("acme")
            .await?;
        let told = within(run.result()).await?;
        assert_eq!(told, format!("acme {:?}", Some(run.id())));
        let request = runtime.request(&call::<u64, String>("who"), 0);
        assert_eq!(within(request.into_future()).await?, "default None");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_runs_says_so_outside_of_them() -> Result<(), Error> {
    let handler = async |context: TaskContext, which: u64| {
        match which {
            0 => context.blackboard().map(drop),
            1 => context
                .once("step", async || Ok::<_, AgentError>(1))
                .await
                .map(drop),
            _ => context.request("child", &STEP, 0).await.map(drop),
        }?;
        Ok::<_, AgentError>(which)
    };
    let runtime = Runtime::builder()
        .agent(agent("step", handler))
        .start()
        .await?;
    for (which, name) in [(0, "`blackboard`"), (1, "`once`"), (2, "`request`")] {
        let why = failure(within(runtime.request(&STEP, which).into_future()).await);
        assert_eq!(why.kind, FailureKind::Permanent);
        assert!(why.message.contains(name), "{why}");
    }
    runtime.shutdown().await
}
