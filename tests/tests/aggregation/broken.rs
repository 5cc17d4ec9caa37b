//! Aggregators that nobody knows, that panic, or that are given what they do not take.

use coditect_core::aggregate::reduce;
use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, Failure, FailureKind};

use crate::stage::{failure, within};

const SAME: Call<u64, u64> = Call::new("same");

struct Broken {
    begin: bool,
    absorb: bool,
}

impl ResultAggregator for Broken {
    type Input = u64;
    type Output = u64;

    fn begin(&mut self, _: usize) {
        assert!(!self.begin, "begin is broken");
    }

    fn absorb(&mut self, _: TaskOutcome<u64>) -> Verdict {
        assert!(!self.absorb, "absorb is broken");
        Verdict::Continue
    }

    async fn finish(self) -> Result<u64, AgentError> {
        panic!("finish is broken")
    }
}

async fn runtime() -> Result<Runtime, Error> {
    let broken = |begin, absorb| move || Broken { begin, absorb };
    Runtime::builder()
        .agent(agent("same", async |x: u64| Ok::<_, AgentError>(x)))
        .aggregator("begin", broken(true, false))
        .aggregator("absorb", broken(false, true))
        .aggregator("finish", broken(false, false))
        .aggregator("make", || -> Broken { panic!("make is broken") })
        .aggregator("fold", || {
            reduce(0_u64, |sum, x: u64| {
                assert!(x != 2, "fold is broken");
                sum + x
            })
        })
        .aggregator("texts", || {
            reduce(String::new(), |all, text: String| all + &text)
        })
        .orchestrator(orchestrator(
            "nested",
            async |_: TaskContext, name: String| plan(&name),
        ))
        // All runs in one partition: what breaks it breaks them all.
        .partitions(1)
        .start()
        .await
}

fn plan(name: &str) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (1..=3)
        .map(|x| plan.task(format!("task-{x}"), &SAME, x))
        .collect();
    plan.aggregate(Aggregation::named(name), tasks)
}

/// Why an aggregation fails, at the top and nested, while others go on.
async fn broken(name: &str) -> Result<[Failure; 2], Error> {
    let runtime = runtime().await?;
    let top = runtime.submit_plan(plan(name)?).await?;
    let other = runtime.submit(&SAME, 5).await?;
    let top = failure(within(top.result()).await);
    let nested = runtime
        .submit(&call::<String, u64>("nested"), name.to_owned())
        .await?;
    let nested = failure(within(nested.result()).await);
    assert_eq!(within(other.result()).await?, 5, "the runs beside it go on");
    assert_eq!(
        within(runtime.run(&SAME, 6)).await?,
        6,
        "and those after it"
    );
    runtime.shutdown().await?;
    Ok([top, nested])
}

#[tokio::test(start_paused = true)]
async fn an_unknown_aggregator_is_named_with_those_that_are_known() -> Result<(), Error> {
    for why in broken("nobody-knows").await? {
        assert_eq!(why.kind, FailureKind::InvalidPlan);
        let text = why.to_string();
        assert!(
            text.contains("`nobody-knows`") && text.contains("texts"),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_run_of_an_unknown_aggregator_can_be_followed_to_its_end() -> Result<(), Error> {
    let runtime = runtime().await?;
    let run = runtime.submit_plan(plan("nobody-knows")?).await?;
    let error = within(run.result()).await.expect_err("it is not known");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let events = crate::stage::follow(&run).await?;
    assert!(matches!(
        events.last().map(|event| &event.kind),
        Some(RunEventKind::RunSettled(coditect_core::RunState::Failed))
    ));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_panicking_aggregator_fails_its_plan_alone() -> Result<(), Error> {
    for (name, text) in [
        ("make", "make is broken"),
        ("begin", "begin is broken"),
        ("absorb", "absorb is broken"),
        ("fold", "fold is broken"),
        ("finish", "panicked"),
    ] {
        for why in broken(name).await? {
            assert_eq!(why.kind, FailureKind::Panic, "{name}: {why}");
            assert!(why.message.contains("aggregator"), "{name}: {why}");
            assert!(why.message.contains(text), "{name}: {why}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_output_that_the_aggregator_does_not_take_fails_the_plan_and_names_the_task()
-> Result<(), Error> {
    for why in broken("texts").await? {
        assert_eq!(why.kind, FailureKind::InvalidInput);
        let text = why.to_string();
        assert!(
            text.contains("task-1") && text.contains("expected a string"),
            "{text}"
        );
    }
    Ok(())
}
