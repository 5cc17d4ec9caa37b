//! Aggregators that have enough before the last task has ended: the others are told to stop.

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, RunState, TaskState};

use crate::stage::{Count, Gate, within};

const RACE: Call<u64, u64> = Call::new("race");

/// Input 0 answers when the gate lets it through; the others wait until they are stopped.
async fn runtime(gate: &Gate, stopped: &Count, dispatch: Dispatch) -> Result<Runtime, Error> {
    let (gate, stopped) = (gate.clone(), stopped.clone());
    let race = move |context: TaskContext, x: u64| {
        let (gate, stopped) = (gate.clone(), stopped.clone());
        async move {
            if x < 10 {
                gate.pass().await;
                return Ok(x);
            }
            context.progress(0.0, "waiting");
            context.cancelled().await;
            stopped.add();
            Err(AgentError::retryable("stopped"))
        }
    };
    Runtime::builder()
        .agent(agent("race", race))
        .aggregator("below", || Below {
            limit: 5,
            best: None,
        })
        .dispatch(dispatch)
        .start()
        .await
}

/// Takes the first number below a limit, or the lowest of all.
struct Below {
    limit: u64,
    best: Option<u64>,
}

impl ResultAggregator for Below {
    type Input = u64;
    type Output = u64;

    fn absorb(&mut self, outcome: TaskOutcome<u64>) -> Verdict {
        if let Ok(x) = outcome.result {
            self.best = Some(self.best.map_or(x, |best| best.min(x)));
        }
        if self.best.is_some_and(|best| best < self.limit) {
            Verdict::Enough
        } else {
            Verdict::Continue
        }
    }

    async fn finish(self) -> Result<u64, AgentError> {
        self.best
            .ok_or_else(|| AgentError::permanent("nobody answered"))
    }
}

/// Runs until every task that is to run does, lets the gate open, and returns the result.
async fn settle<O>(
    inputs: &[u64],
    aggregation: Aggregation<u64, O>,
    dispatch: Dispatch,
) -> Result<(O, usize), Error>
where
    O: serde::de::DeserializeOwned + Send + 'static,
{
    let (gate, stopped) = (Gate::new(), Count::default());
    let runtime = runtime(&gate, &stopped, dispatch).await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(key, x)| plan.task(format!("task-{key}"), &RACE, *x))
        .collect();
    let after = plan.task("after", &RACE, &tasks[0]);
    plan.after(&after, &tasks[inputs.len() - 1]);
    let run = runtime
        .submit_plan(plan.aggregate(aggregation, tasks)?)
        .await?;
    let mut events = run.events().await?;
    let quick = inputs.iter().filter(|x| **x < 10).count();
    // The handlers that wait to be stopped have begun when each has reported.
    let mut waiting = inputs.len() - quick;
    while waiting > 0 {
        let event = within(events.next()).await?.expect("the run goes on");
        waiting -= usize::from(matches!(event.kind, RunEventKind::Progress(..)));
    }
    gate.arrived(u32::try_from(quick).expect("they are few"))
        .await;
    gate.open(quick);
    let result = within(run.result()).await?;
    assert_eq!(run.state().await?, RunState::Succeeded);
    let report = run.report().await?;
    assert_eq!(report.count(TaskState::Succeeded), quick, "{report:?}");
    assert_eq!(report.count(TaskState::Cancelled), inputs.len() + 1 - quick);
    runtime.shutdown().await?;
    Ok((result, stopped.get()))
}

#[tokio::test(start_paused = true)]
async fn the_first_success_stops_the_others_and_their_tokens_fire() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let settled = settle(&[3, 11, 12, 13], first_success(), dispatch).await?;
        assert_eq!(settled, (3, 3), "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quorum_stops_the_others_and_their_tokens_fire() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let settled = settle(&[11, 3, 12, 4], quorum(2), dispatch).await?;
        assert_eq!(settled, (vec![3, 4], 2), "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_majority_stops_the_others_and_their_tokens_fire() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let settled = settle(&[7, 11, 7, 12, 7], majority_vote(), dispatch).await?;
        assert_eq!(settled, (7, 2), "{dispatch:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_of_the_user_may_settle_early_too() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let below = Aggregation::named("below");
        assert_eq!(settle(&[9, 11, 2], below, dispatch).await?, (2, 1));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_of_the_user_that_never_has_enough_sees_them_all() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = runtime(&gate, &Count::default(), Dispatch::LocalOnly).await?;
    gate.open(3);
    let mut plan = Plan::builder();
    let tasks: Vec<_> = [9, 7, 8]
        .map(|x| plan.task(format!("{x}"), &RACE, x))
        .into();
    let tasks: Vec<TaskRef<u64>> = tasks;
    let run = runtime
        .submit_plan(plan.aggregate(Aggregation::<_, u64>::named("below"), tasks)?)
        .await?;
    assert_eq!(within(run.result()).await?, 7);
    runtime.shutdown().await
}
