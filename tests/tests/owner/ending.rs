//! Ends that do not wait for what they need not, and inputs that are refused before they are made.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, ErrorKind, FailureKind, RunState};
use tokio::time::Instant;

use crate::stage::{Gate, Shared, failure, within};

const CHILD: Call<u64, u64> = Call::new("child");
const PARENT: Call<u64, u64> = Call::new("parent");

/// Never has a result.
struct Endless(Gate);

impl ResultAggregator for Endless {
    type Input = u64;
    type Output = u64;

    fn absorb(&mut self, _: TaskOutcome<u64>) -> Verdict {
        Verdict::Continue
    }

    async fn finish(self) -> Result<u64, AgentError> {
        self.0.pass().await;
        Ok(0)
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_run_whose_aggregator_does_not() -> Result<(), Error> {
    let gate = Gate::new();
    let held = gate.clone();
    let runtime = Runtime::builder()
        .aggregator("endless", move || Endless(held.clone()))
        .agent(agent("child", async |x: u64| Ok::<_, AgentError>(x)))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let task = plan.task("it", &CHILD, 1);
    let plan: Plan<u64> = plan.aggregate(Aggregation::named("endless"), [task])?;
    let run = runtime.submit_plan(plan).await?;
    gate.arrived(1).await;
    run.cancel("enough").await?;
    let result = within(run.result()).await;
    let kind = result.as_ref().map_err(Error::kind);
    assert_eq!(kind, Err(ErrorKind::Cancelled));
    assert_eq!(failure(result).message, "enough");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_as_soon_as_what_handlers_ask_for_is_done() -> Result<(), Error> {
    let shared = Shared::new();
    let gate = Gate::new();
    let held = gate.clone();
    let parent = agent("parent", move |context: TaskContext, x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            context.request("child", &CHILD, x).await
        }
    });
    let child = agent("child", async |x: u64| Ok::<_, AgentError>(x + 1));
    let runtime = shared.runtime().dispatch(Dispatch::LocalFirst);
    let runtime = runtime.drain_limit(Duration::from_secs(600));
    let runtime = runtime.agent(parent).agent(child).start().await?;
    let run = runtime.submit(&PARENT, 1).await?.id();
    gate.arrived(1).await;
    let begun = Instant::now();
    let asked_while_draining = async {
        tokio::task::yield_now().await;
        gate.open(1);
    };
    let (drained, ()) = tokio::join!(runtime.shutdown(), asked_while_draining);
    drained?;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let summary = shared.journal.run(run).await?.expect("it was submitted");
    assert_eq!(summary.state, RunState::Succeeded);
    Ok(())
}

/// The most memory that this process has had, where that can be told.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[tokio::test(start_paused = true)]
async fn an_input_that_names_an_output_many_times_is_refused_unmade() -> Result<(), Error> {
    const BIG: Call<usize, String> = Call::new("big");
    const ALL: Call<Vec<String>, usize> = Call::new("all");
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let big = agent("big", async |size| Ok::<_, AgentError>("x".repeat(size)));
        let all = agent("all", async |parts: Vec<String>| {
            Ok::<_, AgentError>(parts.len())
        });
        let runtime = Runtime::builder().dispatch(dispatch);
        let runtime = runtime.agent(big).agent(all).start().await?;
        let mut plan = Plan::builder();
        let part = plan.task("big", &BIG, 1_000_000);
        let parts: Vec<_> = std::iter::repeat_n(part, 2_000).collect();
        let sum = plan.task("all", &ALL, parts);
        let plan: Plan<usize> = plan.output(sum)?;
        let run = runtime.submit_plan(plan).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::TooLarge);
        assert_eq!(why.task.as_deref(), Some("all"));
        runtime.shutdown().await?;
    }
    // It would have two gigabytes.
    if let Some(peak) = peak_memory() {
        assert!(peak < 1_000_000, "{peak} kB");
    }
    Ok(())
}
