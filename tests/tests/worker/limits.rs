//! Spans without an end, and without a beginning.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{AgentCard, Dispatch, Error, ErrorKind};

use crate::stage::{Shared, within};

const ECHO: Call<u64, u64> = Call::new("echo");

/// Answers after a while.
struct Echo(Duration);

impl Agent for Echo {
    type Input = u64;
    type Output = u64;

    fn card(&self) -> AgentCard {
        AgentCard::new("echo").with_timeout(self.0)
    }

    async fn handle(&self, _: TaskContext, number: u64) -> Result<u64, AgentError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(number)
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_span_is_no_limit() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalFirst, Dispatch::Bus] {
        let shared = Shared::new();
        let builder = || {
            let builder = shared.runtime().dispatch(dispatch);
            builder.grace(Duration::MAX).drain_limit(Duration::MAX)
        };
        let runtime = builder().agent(Echo(Duration::MAX)).start().await?;
        let asks = builder().worker_only().start().await?;
        let mut plan = Plan::builder();
        let task = plan.task("echo", &ECHO, 5);
        plan.configure(&task, |settings| {
            settings.timeout(Duration::MAX).deadline(Duration::MAX)
        });
        let run = runtime
            .submit_plan(plan.output(task)?)
            .deadline(Duration::MAX);
        assert_eq!(within(run.await?.result()).await?, 5);
        for asker in [&runtime, &asks] {
            let asked = asker.request(&ECHO, 7).deadline(Duration::MAX);
            assert_eq!(within(asked.into_future()).await?, 7);
        }
        within(asks.shutdown()).await?;
        within(runtime.shutdown()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn spans_in_which_nothing_could_be_done_are_refused() {
    let lease = Duration::from_secs(1);
    let cases = [
        (
            Runtime::builder().leases(Duration::ZERO, lease),
            "partition",
        ),
        (Runtime::builder().leases(lease, Duration::ZERO), "agent"),
        (Runtime::builder().agent(Echo(Duration::ZERO)), "`echo`"),
    ];
    for (builder, named) in cases {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(named), "{error}");
    }
}
