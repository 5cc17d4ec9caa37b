//! Random plans of random agents: whatever they do, every run ends, and ends as a naive reading says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::aggregate::reduce;
use coditect_core::prelude::*;
use coditect_core::resilience::Backoff;
use coditect_core::{Dispatch, Error, RetryPolicy, RunEvent, RunState, TaskState};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::stage::{follow, within};

mod stage;

const ATTEMPTS: u32 = 3;

/// What a task's attempts do, in turn; the last one of them over and over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Answer,
    Fail,
    FailForGood,
    Panic,
    Hang,
}

#[derive(Clone, Debug)]
struct Planned {
    acts: Vec<Act>,
    /// Which earlier tasks it takes, and which it only waits for.
    takes: Vec<usize>,
    waits: Vec<usize>,
    priority: Priority,
    slow: u64,
    /// It answers with a plan of so many leaves rather than by itself.
    leaves: Option<u8>,
    after_failure: bool,
}

type Calls = Arc<Mutex<BTreeMap<String, u32>>>;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => Just(Act::Answer),
        3 => Just(Act::Fail),
        1 => Just(Act::FailForGood),
        2 => Just(Act::Panic),
        1 => Just(Act::Hang),
    ]
}

fn planned() -> impl Strategy<Value = Planned> {
    let edges = || proptest::collection::vec(0_usize..64, 0..3);
    (
        proptest::collection::vec(act(), 1..4),
        edges(),
        edges(),
        0_u8..3,
        0_u64..20,
        proptest::option::weighted(0.15, 0_u8..4),
        proptest::bool::weighted(0.2),
    )
        .prop_map(
            |(acts, takes, waits, priority, slow, leaves, after_failure)| Planned {
                acts,
                takes,
                waits,
                priority: [Priority::P0, Priority::P1, Priority::P2][usize::from(priority)],
                slow,
                leaves,
                after_failure,
            },
        )
}

fn plans() -> impl Strategy<Value = Vec<Planned>> {
    proptest::collection::vec(planned(), 1..14).prop_map(|mut tasks| {
        for (index, task) in tasks.iter_mut().enumerate() {
            for edges in [&mut task.takes, &mut task.waits] {
                edges.iter_mut().for_each(|edge| *edge %= index.max(1));
                edges.sort_unstable();
                edges.dedup();
                edges.retain(|edge| *edge < index);
            }
        }
        tasks
    })
}

/// What a task answers with, or none, by a naive reading of the plan.
fn naive(tasks: &[Planned]) -> Vec<(TaskState, Option<u64>)> {
    let mut known: Vec<(TaskState, Option<u64>)> = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let upstream = task.takes.iter().chain(&task.waits);
        let broken = upstream
            .clone()
            .any(|edge| known[*edge].0 != TaskState::Succeeded);
        if broken && !task.after_failure {
            known.push((TaskState::Skipped, None));
            continue;
        }
        let last = *task.acts.last().expect("there is one");
        let acts = task.acts.iter().copied().chain(std::iter::repeat(last));
        let mut answered = false;
        for act in acts.take(ATTEMPTS as usize) {
            match act {
                Act::Answer => answered = true,
                Act::FailForGood => {}
                Act::Fail | Act::Panic | Act::Hang => continue,
            }
            break;
        }
        let taken: u64 = task.takes.iter().filter_map(|edge| known[*edge].1).sum();
        let own = taken + index as u64 + 1;
        let leaves = u64::from(task.leaves.unwrap_or(0));
        let value = if task.leaves.is_some() {
            leaves * own
        } else {
            own
        };
        known.push(if answered {
            (TaskState::Succeeded, Some(value))
        } else {
            (TaskState::Failed, None)
        });
    }
    known
}

/// Counts the call and does what this attempt is to do; tells the task's number.
async fn perform(
    context: &TaskContext,
    calls: &Calls,
    tasks: &[Planned],
) -> Result<usize, AgentError> {
    *calls.lock().entry(context.key().to_owned()).or_default() += 1;
    let index: usize = context.key().trim_start_matches("task-").parse()?;
    let task = &tasks[index];
    let attempt = context.attempt() as usize - 1;
    let act = task.acts.get(attempt).or(task.acts.last());
    tokio::time::sleep(Duration::from_millis(task.slow)).await;
    match act.expect("there is one") {
        Act::Answer => Ok(index),
        Act::Fail => Err(AgentError::retryable("failed")),
        Act::FailForGood => Err(AgentError::permanent("failed for good")),
        Act::Panic => panic!("it was planned"),
        Act::Hang => std::future::pending().await,
    }
}

const WORK: Call<Vec<u64>, u64> = Call::new("work");
const SPLIT: Call<Vec<u64>, u64> = Call::new("split");

async fn runtime(
    calls: &Calls,
    tasks: &Arc<Vec<Planned>>,
    dispatch: Dispatch,
    slots: usize,
) -> Result<Runtime, Error> {
    let handed = (Arc::clone(calls), Arc::clone(tasks));
    let work = move |context: TaskContext, taken: Vec<u64>| {
        let (calls, tasks) = handed.clone();
        async move {
            let index = perform(&context, &calls, &tasks).await?;
            Ok::<_, AgentError>(index as u64 + 1 + taken.into_iter().sum::<u64>())
        }
    };
    let handed = (Arc::clone(calls), Arc::clone(tasks));
    let split = move |context: TaskContext, taken: Vec<u64>| {
        let (calls, tasks) = handed.clone();
        async move {
            let index = perform(&context, &calls, &tasks).await?;
            let own = index as u64 + 1 + taken.into_iter().sum::<u64>();
            let mut plan = Plan::builder();
            let leaves: Vec<_> = (0..tasks[index].leaves.unwrap_or(0))
                .map(|leaf| plan.task(format!("leaf-{leaf}"), &call::<u64, u64>("leaf"), own))
                .collect();
            Ok::<_, AgentError>(plan.aggregate(Aggregation::<_, u64>::named("sum"), leaves)?)
        }
    };
    Runtime::builder()
        .agent(agent("work", work).with_concurrency(slots))
        .agent(agent("leaf", async |x: u64| Ok::<_, AgentError>(x)).with_concurrency(slots))
        .orchestrator(orchestrator("split", split))
        .aggregator("sum", || reduce(0, |sum: u64, x: u64| sum + x))
        .grace(Duration::from_millis(5))
        .dispatch(dispatch)
        .start()
        .await
}

fn plan(tasks: &[Planned]) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let mut refs: Vec<TaskRef<u64>> = Vec::new();
    let retry = RetryPolicy::builder(ATTEMPTS)
        .backoff(Backoff::constant(Duration::from_millis(7)))
        .build()
        .expect("there are attempts");
    for (index, task) in tasks.iter().enumerate() {
        let taken: Vec<_> = task.takes.iter().map(|edge| refs[*edge].clone()).collect();
        let call = if task.leaves.is_some() { &SPLIT } else { &WORK };
        let reference = plan.task(format!("task-{index}"), call, taken);
        plan.configure(&reference, |settings| {
            let settings = settings
                .priority(task.priority)
                .retry(retry)
                .timeout(Duration::from_millis(200));
            if task.after_failure {
                settings.run_after_failure()
            } else {
                settings
            }
        });
        for edge in &task.waits {
            plan.after(&reference, &refs[*edge]);
        }
        refs.push(reference);
    }
    plan.aggregate(collect_succeeded(), refs)
}

/// What an events stream may tell: every task is dispatched before it settles, and settles once; the run
/// settles last.
fn check_events(events: &[RunEvent], tasks: usize) -> TestCaseResult {
    let (last, before) = events.split_last().expect("a run has events");
    prop_assert!(
        matches!(last.kind, RunEventKind::RunSettled(RunState::Succeeded)),
        "{last:?}"
    );
    let mut dispatched = BTreeMap::new();
    let mut settled = BTreeMap::new();
    let mut since = last.at;
    for event in before.iter().rev() {
        prop_assert!(event.at <= since, "time goes forward");
        since = event.at;
    }
    prop_assert!(matches!(
        before.first().map(|event| &event.kind),
        Some(RunEventKind::Started)
    ));
    for event in before {
        match &event.kind {
            RunEventKind::Dispatched(info) => {
                prop_assert!(
                    !settled.contains_key(&info.path),
                    "{} ran after its end",
                    info.path
                );
                let attempts: &mut u32 = dispatched.entry(info.path.clone()).or_default();
                *attempts += 1;
                prop_assert_eq!(*attempts, info.attempt.get(), "attempts of {}", info.path);
            }
            RunEventKind::Retrying(info, ..) | RunEventKind::Expanded(info, _) => {
                prop_assert!(
                    dispatched.contains_key(&info.path),
                    "{} was not handed out",
                    info.path
                );
            }
            RunEventKind::Settled(info, state, failure) => {
                prop_assert_eq!(failure.is_none(), *state == TaskState::Succeeded);
                let ran = dispatched.contains_key(&info.path);
                prop_assert_eq!(ran, *state != TaskState::Skipped, "{}", info.path);
                let again = settled.insert(info.path.clone(), *state);
                prop_assert!(again.is_none(), "{} has ended twice", info.path);
            }
            RunEventKind::RunSettled(_) => prop_assert!(false, "the run has ended twice"),
            _ => {}
        }
    }
    prop_assert_eq!(settled.len(), tasks, "{:?}", settled);
    Ok(())
}

async fn try_out(
    tasks: Vec<Planned>,
    dispatch: Dispatch,
    slots: usize,
) -> Result<TestCaseResult, Error> {
    let known = naive(&tasks);
    let tasks = Arc::new(tasks);
    let calls = Calls::default();
    let runtime = runtime(&calls, &tasks, dispatch, slots).await?;
    let run = runtime.submit_plan(plan(&tasks)?).await?;
    let result = within(run.result()).await?;
    let report = run.report().await?;
    let events = follow(&run).await?;
    within(runtime.shutdown()).await?;
    Ok((|| {
        let expected: Vec<_> = known.iter().filter_map(|(_, value)| *value).collect();
        prop_assert_eq!(result, expected);
        let calls = calls.lock();
        for (index, (state, _)) in known.iter().enumerate() {
            let task = &report.tasks[index];
            prop_assert_eq!(task.state, *state, "{}", task.path);
            let called = calls.get(&task.path).copied().unwrap_or(0);
            // The bus delivers once as long as nothing is lost, so that each attempt is one call.
            prop_assert_eq!(called, task.attempts, "{}", task.path);
            prop_assert_eq!(called == 0, *state == TaskState::Skipped);
        }
        check_events(&events, report.tasks.len())
    })())
}

fn check(tasks: Vec<Planned>, dispatch: Dispatch, slots: usize) -> TestCaseResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    let tried = runtime.block_on(try_out(tasks, dispatch, slots));
    tried.unwrap_or_else(|error| Err(TestCaseError::fail(format!("{error:?}"))))
}

/// Panics that were planned are not to fill the output.
fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref() != Some(&"it was planned") {
                loud(panic);
            }
        }));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_random_plan_ends_as_a_naive_reading_says(tasks in plans(), slots in 1_usize..6) {
        hush();
        check(tasks, Dispatch::LocalOnly, slots)?;
    }

    #[test]
    fn a_random_plan_ends_so_when_everything_goes_over_the_bus(tasks in plans(), slots in 1_usize..6) {
        hush();
        check(tasks, Dispatch::Bus, slots)?;
    }

    #[test]
    fn a_random_plan_ends_so_when_some_of_it_goes_over_the_bus(tasks in plans(), slots in 1_usize..6) {
        hush();
        check(tasks, Dispatch::LocalFirst, slots)?;
    }
}
