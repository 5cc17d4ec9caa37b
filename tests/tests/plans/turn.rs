//! Whose turn it is: priorities within a run and among runs, slots, the window of the bus.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};

use crate::stage::{Gate, Notes, within};

const STEP: Call<String, String> = Call::new("step");

/// One slot, and a gate in front of the first task, so that the others queue behind it.
async fn runtime(gate: &Gate, notes: &Notes<String>, dispatch: Dispatch) -> Result<Runtime, Error> {
    let (gate, notes) = (gate.clone(), notes.clone());
    Runtime::builder()
        .agent(
            agent("step", move |name: String| {
                let (gate, notes) = (gate.clone(), notes.clone());
                async move {
                    if name == "first" {
                        gate.pass().await;
                    } else {
                        notes.push(name.clone());
                    }
                    Ok::<_, AgentError>(name)
                }
            })
            .with_concurrency(1),
        )
        .dispatch(dispatch)
        .partitions(1)
        .start()
        .await
}

const LEVELS: [(Priority, &str); 3] = [
    (Priority::P2, "low"),
    (Priority::P0, "high"),
    (Priority::P1, "middle"),
];

#[tokio::test(start_paused = true)]
async fn within_a_run_the_more_urgent_go_first_whatever_the_order_of_the_plan() -> Result<(), Error>
{
    let (gate, notes) = (Gate::new(), Notes::new());
    let runtime = runtime(&gate, &notes, Dispatch::LocalOnly).await?;
    let first = runtime.submit(&STEP, "first".to_owned()).await?;
    gate.arrived(1).await;
    let mut plan = Plan::builder();
    let mut tasks = Vec::new();
    for number in 0..4 {
        for (priority, name) in LEVELS {
            let task = plan.task(format!("{name}-{number}"), &STEP, name.to_owned());
            plan.configure(&task, |task| task.priority(priority));
            tasks.push(task);
        }
    }
    let run = runtime
        .submit_plan(plan.output::<Vec<String>>(tasks)?)
        .await?;
    gate.open(1);
    within(first.result()).await?;
    within(run.result()).await?;
    let expected: Vec<_> = ["high", "middle", "low"]
        .iter()
        .flat_map(|name| [*name; 4])
        .collect();
    assert_eq!(notes.all(), expected);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn among_runs_the_urgent_come_first_and_the_others_are_not_starved() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let (gate, notes) = (Gate::new(), Notes::new());
        let runtime = runtime(&gate, &notes, dispatch).await?;
        let first = runtime.submit(&STEP, "first".to_owned()).await?;
        gate.arrived(1).await;
        let mut runs = Vec::new();
        for (priority, name) in LEVELS {
            for _ in 0..64 {
                let run = runtime.submit(&STEP, name.to_owned()).priority(priority);
                runs.push(run.await?);
            }
        }
        // Paused time passes only when there is nothing left to do: every run has been taken up.
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.open(1);
        within(first.result()).await?;
        for run in &runs {
            within(run.result()).await?;
        }
        let order = notes.all();
        let among_first =
            |count: usize, name: &str| order[..count].iter().filter(|noted| *noted == name).count();
        // What the worker took ahead of its turn may be any.
        assert!(among_first(34, "high") >= 20, "{dispatch:?}: {order:?}");
        assert!(among_first(34, "low") >= 1, "{dispatch:?}: {order:?}");
        assert!(among_first(34, "low") <= 6, "{dispatch:?}: {order:?}");
        assert_eq!(order.len(), 192);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tenants_take_turns_however_much_one_of_them_asks() -> Result<(), Error> {
    let (gate, notes) = (Gate::new(), Notes::new());
    let runtime = runtime(&gate, &notes, Dispatch::LocalOnly).await?;
    let first = runtime.submit(&STEP, "first".to_owned()).await?;
    gate.arrived(1).await;
    let mut runs = Vec::new();
    for _ in 0..50 {
        runs.push(
            runtime
                .submit(&STEP, "greedy".to_owned())
                .tenant("greedy")
                .await?,
        );
    }
    for _ in 0..2 {
        runs.push(
            runtime
                .submit(&STEP, "modest".to_owned())
                .tenant("modest")
                .await?,
        );
    }
    gate.open(1);
    within(first.result()).await?;
    for run in &runs {
        within(run.result()).await?;
    }
    let order = notes.all();
    let last = order
        .iter()
        .rposition(|name| name == "modest")
        .expect("it ran");
    assert!(last <= 4, "{order:?}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_agent_never_has_more_tasks_than_slots() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::LocalFirst, Dispatch::Bus] {
        let gate = Gate::new();
        let (held, now, peak) = (gate.clone(), Notes::new(), Notes::new());
        let (running, noted) = (now.clone(), peak.clone());
        let handler = move |x: u64| {
            let (gate, running, noted) = (held.clone(), running.clone(), noted.clone());
            async move {
                running.push(1_i64);
                noted.push(running.all().iter().sum::<i64>());
                gate.pass().await;
                running.push(-1);
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("slots", handler).with_concurrency(3))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let tasks: Vec<_> = (0..20)
            .map(|x| plan.task(format!("{x}"), &call::<u64, u64>("slots"), x))
            .collect();
        let run = runtime.submit_plan(plan.output::<Vec<u64>>(tasks)?).await?;
        gate.arrived(3).await;
        gate.open(20);
        within(run.result()).await?;
        assert_eq!(peak.all().into_iter().max(), Some(3), "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_before_its_turn_leaves_it_to_others() -> Result<(), Error> {
    let gate = Gate::new();
    let held = gate.clone();
    let step = move |name: String| {
        let held = held.clone();
        async move {
            if name != "first" {
                return Ok(name);
            }
            held.pass().await;
            Err(AgentError::permanent("it fails"))
        }
    };
    let runtime = Runtime::builder()
        .agent(agent("step", step))
        .dispatch(Dispatch::Bus)
        .dispatch_window(1)
        .partitions(1)
        .start()
        .await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = ["first", "second"]
        .map(|name| plan.task(name, &STEP, name.to_owned()))
        .into();
    for task in &tasks {
        plan.configure(task, |task| task.priority(Priority::P0));
    }
    let plan = plan.output::<Vec<String>>(tasks)?;
    let failing = runtime
        .submit_plan(plan.on_failure(FailurePolicy::FailFast))
        .await?;
    gate.arrived(1).await;
    let patient = runtime
        .submit(&STEP, "patient".to_owned())
        .priority(Priority::P2)
        .await?;
    // It waits behind the window when the run before it ends with a task still in the queue of P0.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open(1);
    assert!(within(failing.result()).await.is_err());
    assert_eq!(within(patient.result()).await?, "patient");
    runtime.shutdown().await
}
