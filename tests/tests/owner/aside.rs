//! Runs that an owner cannot go on with: left alone as a whole, and not out of anyone's reach.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind, RuntimeBuilder};

use crate::stage::{Count, Gate, Shared, failure, within};

const PARENT: Call<u64, u64> = Call::new("parent");
const CHILD: Call<u64, u64> = Call::new("child");
const LATER: Call<u64, u64> = Call::new("later");

/// Processes of which some know the aggregator that `parent` names, and some don't.
struct Stand {
    shared: Shared,
    decomposed: Count,
    child: Gate,
}

impl Stand {
    fn new() -> Self {
        Self {
            shared: Shared::new().with_partitions(1),
            decomposed: Count::default(),
            child: Gate::new(),
        }
    }

    fn lacking(&self) -> RuntimeBuilder {
        let decomposed = self.decomposed.clone();
        let parent = move |_: TaskContext, x: u64| {
            decomposed.add();
            async move {
                let mut plan = Plan::builder();
                let tasks = [plan.task("l", &LATER, x), plan.task("c", &CHILD, x)];
                let plan: Plan<u64> = plan.aggregate(Aggregation::named("mine"), tasks)?;
                Ok::<_, AgentError>(plan)
            }
        };
        let gate = self.child.clone();
        let child = agent("child", move |x: u64| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x)
            }
        });
        let parent = orchestrator("parent", parent);
        self.shared.runtime().orchestrator(parent).agent(child)
    }

    fn knowing(&self) -> RuntimeBuilder {
        let sum = || reduce(0, |sum: u64, x: u64| sum + x);
        self.lacking().aggregator("mine", sum)
    }

    /// A run that was decomposed by a process that is gone; the one that owns it now cannot go on with it.
    async fn set_aside(&self, deadline: Duration) -> Result<(Runtime, RunHandle<u64>), Error> {
        let knowing = self.knowing().start().await?;
        let run = knowing.submit(&PARENT, 1).deadline(deadline).await?;
        self.child.arrived(1).await;
        self.child.open(1);
        knowing.shutdown().await?;
        let lacking = self.lacking().start().await?;
        let run = lacking.attach(run.id());
        Ok((lacking, run))
    }
}

const LONG: Duration = Duration::from_secs(3_000);

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_replayed_is_left_as_it_is() -> Result<(), Error> {
    let stand = Stand::new();
    let (lacking, run) = stand.set_aside(LONG).await?;
    // The partition is carried on meanwhile.
    stand.child.open(1);
    assert_eq!(within(lacking.run(&CHILD, 7)).await?, 7);
    lacking.shutdown().await?;

    let later = agent("later", async |x: u64| Ok::<_, AgentError>(x + 40));
    let knowing = stand.knowing().agent(later).start().await?;
    let run = knowing.attach::<u64>(run.id());
    assert_eq!(within(run.result()).await?, 1 + 41);
    assert_eq!(stand.decomposed.get(), 1, "nothing of it was done anew");
    knowing.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_replayed_can_be_cancelled() -> Result<(), Error> {
    let stand = Stand::new();
    let (lacking, run) = stand.set_aside(LONG).await?;
    run.cancel("nobody wants it").await?;
    let result = within(run.result()).await;
    let kind = result.as_ref().map_err(Error::kind);
    assert_eq!(kind, Err(ErrorKind::Cancelled));
    assert_eq!(failure(result).message, "nobody wants it");
    assert_eq!(stand.decomposed.get(), 1);
    lacking.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_run_that_cannot_be_replayed_holds() -> Result<(), Error> {
    let stand = Stand::new();
    let (lacking, run) = stand.set_aside(Duration::from_secs(60)).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::DeadlineExceeded);
    assert_eq!(stand.decomposed.get(), 1);
    lacking.shutdown().await
}
