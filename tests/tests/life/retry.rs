//! Another chance for a run, or for one task of it.

use std::time::{Duration, SystemTime};

use coditect_core::dag::Timestamp;
use coditect_core::dag::journal::{Command, RecordKind, Seq};
use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind, RunState};

use crate::stage::{Count, Gate, Notes, Shared, failure, within};
use crate::until;

const WORK: Call<u64, u64> = Call::new("work");
const HELD: Call<u64, u64> = Call::new("held");
const SUM: Call<Vec<u64>, u64> = Call::new("sum-of");

/// Fails for odd numbers until it is mended.
#[derive(Clone)]
struct Work {
    mended: Count,
    done: Notes<u64>,
}

impl Work {
    fn new() -> Self {
        Self {
            mended: Count::default(),
            done: Notes::new(),
        }
    }

    fn agent(&self) -> impl Agent + use<> {
        let this = self.clone();
        agent("work", move |x: u64| {
            let this = this.clone();
            async move {
                if x % 2 == 1 && this.mended.get() == 0 {
                    return Err(AgentError::permanent("odd"));
                }
                this.done.push(x);
                Ok(x)
            }
        })
    }
}

async fn numbers(_: TaskContext, upto: u64) -> Result<Plan<u64>, AgentError> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..upto)
        .map(|x| plan.task(x.to_string(), &WORK, x))
        .collect();
    Ok(plan.aggregate(Aggregation::named("sum"), tasks)?)
}

fn runtime(shared: &Shared, work: &Work) -> coditect_core::RuntimeBuilder {
    shared
        .runtime()
        .agent(work.agent())
        .agent(agent("sum-of", async |all: Vec<u64>| {
            Ok::<_, AgentError>(all.iter().sum::<u64>())
        }))
        .orchestrator(orchestrator("numbers", numbers))
        .aggregator("sum", || reduce(0, |sum: u64, x: u64| sum + x))
}

fn sorted(notes: &Notes<u64>) -> Vec<u64> {
    let mut all = notes.all();
    all.sort_unstable();
    all
}

#[tokio::test(start_paused = true)]
async fn a_retried_run_does_what_failed_and_keeps_what_succeeded() -> Result<(), Error> {
    let (shared, work) = (Shared::new(), Work::new());
    let first = runtime(&shared, &work).start().await?;
    let numbers = call::<u64, u64>("numbers");
    let run = first.submit(&numbers, 6).await?;
    assert!(within(run.result()).await.is_err());
    assert_eq!(sorted(&work.done), [0, 2, 4]);
    first.shutdown().await?;

    // The wish is granted by whoever coordinates next, and once.
    work.mended.add();
    let journal = &shared.journal;
    let settled = journal.run(run.id()).await?.expect("it is kept").last;
    let at = Timestamp::from(SystemTime::now());
    for _ in 0..2 {
        journal
            .send(run.id(), Command::Retry { settled, at })
            .await?;
    }
    let second = runtime(&shared, &work).start().await?;
    let run = second.attach::<u64>(run.id());
    let mut events = run.events().await?;
    let again = |kind: &RunEventKind| matches!(kind, RunEventKind::Retried);
    until(&mut events, again).await?;
    assert_eq!(
        within(run.result()).await?,
        15,
        "the aggregator is told all of it"
    );
    assert_eq!(sorted(&work.done), [0, 1, 2, 3, 4, 5]);
    let log = journal.events(run.id(), Seq::ZERO, 1000).await?.records;
    let retries = log.iter().filter(|(_, it)| it.kind == RecordKind::Retried);
    assert_eq!(retries.count(), 1);
    let report = run.report().await?;
    assert_eq!(report.tasks[0].attempts, 1, "nobody asked for another plan");
    assert!(report.autonomy() < 1.0);

    let late = Command::Retry { settled, at };
    journal.send(run.id(), late).await?;
    let error = run.retry().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "it has succeeded");
    assert_eq!(second.run(&numbers, 1).await?, 0);
    assert_eq!(run.state().await?, RunState::Succeeded);
    second.shutdown().await
}

fn sum_of_two(deadline: Option<Duration>) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let (one, two) = (plan.task("one", &WORK, 1), plan.task("two", &WORK, 2));
    if let Some(after) = deadline {
        plan.configure(&one, |task| task.deadline(after));
    }
    let sum = plan.task("sum", &SUM, vec![one, two]);
    plan.output(sum)
}

#[tokio::test(start_paused = true)]
async fn a_redriven_task_may_be_given_something_else() -> Result<(), Error> {
    let (shared, work) = (Shared::new(), Work::new());
    let first = runtime(&shared, &work).start().await?;
    let run = first.submit_plan(sum_of_two(None)?).await?;
    assert!(within(run.result()).await.is_err());
    for (path, state) in [
        ("two", "succeeded"),
        ("three", "missing"),
        ("sum", "skipped"),
    ] {
        let error = run.redrive(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{state}");
    }
    run.redrive_with("one", &40_u64).await?;
    assert_eq!(within(run.result()).await?, 42);
    assert_eq!(sorted(&work.done), [2, 40]);
    let report = run.report().await?;
    let by_person: Vec<_> = report.tasks.iter().filter(|task| task.by_person).collect();
    assert_eq!(by_person.len(), 1);
    assert_eq!((&*by_person[0].path, by_person[0].attempts), ("one", 2));
    // What it was given outlives its owner.
    first.shutdown().await?;
    let second = runtime(&shared, &work).start().await?;
    let run = second.attach::<u64>(run.id());
    assert_eq!(within(run.result()).await?, 42);
    second.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_redriven_task_leaves_other_failures_be() -> Result<(), Error> {
    let (shared, work) = (Shared::new(), Work::new());
    let runtime = runtime(&shared, &work).start().await?;
    let mut plan = Plan::builder();
    let tasks = [1, 3].map(|x| plan.task(x.to_string(), &WORK, x));
    let plan: Plan<Vec<u64>> = plan.output(tasks.to_vec())?;
    let run = runtime.submit_plan(plan).await?;
    assert!(within(run.result()).await.is_err());
    work.mended.add();
    run.redrive("1").await?;
    let failed = failure(within(run.result()).await);
    assert_eq!(failed.task.as_deref(), Some("3"));
    assert_eq!(work.done.all(), [1]);
    run.redrive("3").await?;
    assert_eq!(within(run.result()).await?, [1, 3]);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_can_be_retried_and_its_clocks_start_anew() -> Result<(), Error> {
    let gate = Gate::new();
    let held = gate.clone();
    let runtime = Runtime::builder()
        .agent(agent("held", move |x: u64| {
            let held = held.clone();
            async move {
                held.pass().await;
                Ok::<_, AgentError>(x)
            }
        }))
        .start()
        .await?;
    let minute = Duration::from_secs(60);
    let run = runtime.submit(&HELD, 7).deadline(minute).await?;
    gate.arrived(1).await;
    assert_eq!(run.retry().await.unwrap_err().kind(), ErrorKind::Invalid);
    tokio::time::advance(minute / 2).await;
    run.cancel("by mistake").await?;
    assert_eq!(
        failure(within(run.result()).await).kind,
        FailureKind::Cancelled
    );
    assert_eq!(
        run.redrive("held").await.unwrap_err().kind(),
        ErrorKind::Invalid
    );

    run.retry().await?;
    gate.arrived(1).await;
    // The first deadline passes, and is not that of the run any more.
    tokio::time::advance(minute * 3 / 4).await;
    assert_eq!(run.state().await?, RunState::Running);
    let late = failure(within(run.result()).await);
    assert_eq!(late.kind, FailureKind::DeadlineExceeded);
    run.retry().await?;
    gate.arrived(1).await;
    gate.open(3);
    assert_eq!(within(run.result()).await?, 7);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_task_counts_anew_when_its_run_is_retried() -> Result<(), Error> {
    let shared = Shared::new();
    // Nobody does the work until the deadline has passed.
    let nobody = shared.runtime().start().await?;
    let minute = Duration::from_secs(60);
    let plan = sum_of_two(Some(minute))?.on_failure(FailurePolicy::FailFast);
    let run = nobody.submit_plan(plan).await?;
    let late = failure(within(run.result()).await);
    assert_eq!(late.kind, FailureKind::Unserved);
    nobody.shutdown().await?;

    let work = Work::new();
    work.mended.add();
    let somebody = runtime(&shared, &work).start().await?;
    let run = somebody.attach::<u64>(run.id());
    run.retry().await?;
    assert_eq!(within(run.result()).await?, 3);
    somebody.shutdown().await
}
