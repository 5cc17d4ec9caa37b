//! What a takeover leaves as it was: backoffs, and what an aggregator has had enough of.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coditect_core::dag::Timestamp;
use coditect_core::dag::journal::{Batch, Partition, RecordKind, RunJournal, Seq, Submission};
use coditect_core::prelude::*;
use coditect_core::{Attempt, Error, RunId, TaskId};
use serde_json::json;

use crate::stage::{Shared, within};

const FLAKY: Call<u64, u64> = Call::new("flaky");

/// Fails once, and says after how many seconds it is worth another try.
async fn flaky(context: TaskContext, seconds: u64) -> Result<u64, AgentError> {
    if context.attempt() == 1 {
        let later = AgentError::retryable("later");
        return Err(later.retry_after(Duration::from_secs(seconds)));
    }
    Ok(seconds)
}

#[tokio::test(start_paused = true)]
async fn every_task_in_backoff_runs_after_a_takeover() -> Result<(), Error> {
    let shared = Shared::new();
    let first = shared.runtime().agent(agent("flaky", flaky));
    let first = first.start().await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = [20, 40, 60]
        .into_iter()
        .map(|seconds| plan.task(format!("in-{seconds}"), &FLAKY, seconds))
        .collect();
    let plan: Plan<Vec<u64>> = plan.output(tasks)?;
    let run = first.submit_plan(plan).await?;
    let mut events = run.events().await?;
    for _ in 0..3 {
        let retrying = |kind: &RunEventKind| matches!(kind, RunEventKind::Retrying(..));
        while !within(events.next())
            .await?
            .is_some_and(|event| retrying(&event.kind))
        {}
    }
    first.shutdown().await?;

    let second = shared.runtime().agent(agent("flaky", flaky));
    let second = second.start().await?;
    let run = second.attach::<Vec<u64>>(run.id());
    assert_eq!(within(run.result()).await?, [20, 40, 60]);
    second.shutdown().await
}

/// A run of three tasks that all succeeded while it was owned, and that was not settled by its owner.
async fn left_with_three_outputs(journal: &Arc<dyn RunJournal>) -> RunId {
    let task = |key: &str| json!({ "key": key, "call": 0 });
    let over = json!({ "name": "coditect.quorum", "config": { "needed": 2 }, "over": [0, 1, 2] });
    let spec = json!({ "plan": {
        "calls": ["work"],
        "settings": [{}],
        "tasks": [task("a"), task("b"), task("c")],
        "result": { "aggregate": over },
    }});
    let now = Timestamp::from(SystemTime::now());
    let run = RunId::new();
    let submission = Submission::new(run, Bytes::from(spec.to_string()), now);
    journal.submit(submission).await.expect("submitted");
    let lease = journal
        .claim(Partition::new(0), "former", Duration::from_secs(5))
        .await
        .expect("answered")
        .expect("nobody else's");
    let mut batch = Batch::new();
    let inbox = journal.inbox(&lease, Seq::ZERO, 10).await.expect("read");
    for entry in inbox {
        batch.consume(entry.seq);
    }
    let attempt = Attempt::new(1);
    let mut push = |record: RecordKind| batch.push(run, record.at(now));
    push(RecordKind::Started);
    for task in (0..3).map(TaskId::new) {
        push(RecordKind::Dispatched {
            task,
            attempt,
            incarnation: None,
        });
    }
    for number in 0..3 {
        push(RecordKind::Succeeded {
            task: TaskId::new(number),
            attempt,
            output: Bytes::from(number.to_string()),
        });
    }
    journal.append(&lease, &mut batch).await.expect("appended");
    journal.release(lease).await.expect("released");
    run
}

#[tokio::test(start_paused = true)]
async fn a_quorum_of_two_is_two_after_a_takeover() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let run = left_with_three_outputs(&shared.journal).await;
    let runtime = shared.runtime().start().await?;
    let result = within(runtime.attach::<Vec<u64>>(run).result()).await?;
    assert_eq!(result, [0, 1], "the two that came first, as without one");
    runtime.shutdown().await
}
