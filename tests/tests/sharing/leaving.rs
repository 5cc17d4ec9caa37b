//! What a process goes on with that has handed its partitions over: its handlers, which others may stop.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, RunState, TaskState};
use tokio::time::sleep;

use super::even::{SOON, coordinator, even};
use crate::stage::{Count, Gate, Shared, failure, within};

const SLOW: Call<u64, u64> = Call::new("slow");
const NEXT: Call<u64, u64> = Call::new("next");

/// A coordinator with a handler that waits to be let through, and one that has it done.
struct Pair {
    shared: Shared,
    leaving: Runtime,
    staying: Runtime,
    gate: Gate,
    calls: Count,
}

impl Pair {
    async fn start() -> Result<Self, Error> {
        let shared = Shared::new().with_partitions(1);
        let (gate, calls) = (Gate::new(), Count::default());
        let (held, counted) = (gate.clone(), calls.clone());
        let slow = move |context: TaskContext, x: u64| {
            let (gate, calls) = (held.clone(), counted.clone());
            async move {
                calls.add();
                tokio::select! {
                    () = gate.pass() => Ok(x + 1),
                    () = context.cancelled() => Err(AgentError::retryable("stopped")),
                }
            }
        };
        let leaving = coordinator(&shared).dispatch(Dispatch::LocalFirst);
        let leaving = leaving.drain_limit(Duration::from_secs(3_000));
        let leaving = leaving.agent(agent("slow", slow)).start().await?;
        let next = agent("next", async |x: u64| Ok::<_, AgentError>(x + 10));
        let staying = coordinator(&shared).agent(next).start().await?;
        Ok(Self {
            shared,
            leaving,
            staying,
            gate,
            calls,
        })
    }

    /// Submits a run of two tasks, and lets the first begin in the process that leaves while it runs.
    async fn leave(
        &self,
    ) -> Result<(RunHandle<u64>, tokio::task::JoinHandle<Result<(), Error>>), Error> {
        let mut plan = Plan::<()>::builder();
        let slow = plan.task("slow", &SLOW, 1);
        let next = plan.task("next", &NEXT, slow);
        let run = self.staying.submit_plan(plan.output(next)?).await?;
        self.gate.arrived(1).await;
        let leaving = self.leaving.clone();
        let left = tokio::spawn(async move { leaving.shutdown().await });
        let roster = even(&self.shared.journal, 1).await;
        assert_eq!(roster.count(roster.members().next().unwrap()), 1);
        assert!(!left.is_finished(), "the handler still runs");
        Ok((run, left))
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_goes_on_when_its_process_has_handed_the_run_over() -> Result<(), Error> {
    let pair = Pair::start().await?;
    let (run, left) = pair.leave().await?;
    // Many times as long as silence lasts until a worker is taken for dead.
    sleep(Duration::from_secs(120)).await;
    pair.gate.open(1);
    assert_eq!(within(run.result()).await?, 12);
    within(left).await.expect("no panic")?;
    assert_eq!(pair.calls.get(), 1);
    assert_eq!(run.report().await?.attempts, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_stops_a_handler_of_the_former() -> Result<(), Error> {
    let pair = Pair::start().await?;
    let (run, left) = pair.leave().await?;
    run.cancel("nobody needs it").await?;
    let ended = within(run.settled()).await?;
    assert_eq!(ended.state, RunState::Cancelled);
    let stopped = tokio::time::timeout(SOON, left).await;
    stopped
        .expect("the handler is stopped")
        .expect("no panic")?;
    assert_eq!(pair.calls.get(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_handler_counts_with_the_next_owner() -> Result<(), Error> {
    const FAIL: Call<u64, u64> = Call::new("fail");
    let shared = Shared::new().with_partitions(1);
    let gate = Gate::new();
    let held = gate.clone();
    let fail = move |_: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Err::<u64, _>(AgentError::permanent("it cannot be done"))
        }
    };
    let leaving = coordinator(&shared).dispatch(Dispatch::LocalFirst);
    let leaving = leaving.agent(agent("fail", fail)).start().await?;
    let staying = coordinator(&shared).start().await?;
    let run = staying.submit(&FAIL, 1).await?;
    gate.arrived(1).await;
    let left = tokio::spawn(async move { leaving.shutdown().await });
    even(&shared.journal, 1).await;
    gate.open(1);
    let failure = failure(within(run.result()).await);
    assert!(
        failure.to_string().contains("it cannot be done"),
        "{failure}"
    );
    within(left).await.expect("no panic")?;
    let report = run.report().await?;
    assert_eq!((report.count(TaskState::Failed), report.attempts), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_before_its_handler_leaves_the_task_to_others() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let gate = Gate::new();
    let held = gate.clone();
    let stuck = agent("slow", move |_: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(0_u64)
        }
    });
    let leaving = coordinator(&shared).dispatch(Dispatch::LocalFirst);
    let leaving = leaving.drain_limit(Duration::from_secs(1)).agent(stuck);
    let leaving = leaving.start().await?;
    let staying = coordinator(&shared).start().await?;
    let run = staying.submit(&SLOW, 1).await?;
    gate.arrived(1).await;
    drop(leaving.shutdown().await);
    let able = agent("slow", async |x: u64| Ok::<_, AgentError>(x + 1));
    let _worker = shared.runtime().worker_only().agent(able).start().await?;
    assert_eq!(within(run.result()).await?, 2);
    Ok(())
}
