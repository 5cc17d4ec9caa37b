//! A flow of runs in spite of everything, and an account of it that the scheduler has no hand in.

use std::collections::HashMap;

use coditect_core::prelude::*;
use coditect_core::{RunEventKind, RunState, TaskState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::process::{Ledger, PATIENCE};

const WORK: Call<u64, u64> = Call::new("work");

/// Starts a coordinator that knows the aggregator of a flow.
pub(crate) async fn coordinator(url: &str) -> Runtime {
    let builder = Runtime::builder().bus(url);
    let builder = builder.aggregator("tally", Tally::default);
    builder.start().await.expect("a coordinator")
}

/// Notes every outcome that it is told.
#[derive(Default)]
struct Tally(Vec<u64>);

impl ResultAggregator for Tally {
    type Input = u64;
    type Output = Vec<u64>;

    fn absorb(&mut self, outcome: TaskOutcome<u64>) -> Verdict {
        // A failure is none of the numbers.
        self.0.push(outcome.result.unwrap_or(u64::MAX));
        Verdict::Continue
    }

    async fn finish(self) -> Result<Vec<u64>, AgentError> {
        Ok(self.0)
    }
}

/// A run of many tasks, each of which answers its number.
pub(crate) struct Flow {
    tasks: u64,
    /// What processes had done before it began.
    done_before: usize,
    run: RunHandle<Vec<u64>>,
    settled: watch::Receiver<usize>,
    following: JoinHandle<Told>,
}

/// What the events of a run told.
#[derive(Default)]
struct Told {
    /// How often each task was said to have ended, by its path.
    settled: HashMap<String, Vec<TaskState>>,
    dispatched: usize,
    lost: usize,
    retried: usize,
}

impl Flow {
    pub(crate) async fn start(runtime: &Runtime, tasks: u64, ledger: &Ledger) -> Self {
        let done_before = ledger.count("work ");
        let mut plan = Plan::builder();
        let numbers: Vec<_> = (0..tasks)
            .map(|number| plan.task(number.to_string(), &WORK, number))
            .collect();
        let tally = Aggregation::<u64, Vec<u64>>::named("tally");
        let plan = plan.aggregate(tally, numbers).expect("a plan");
        let run = runtime.submit_plan(plan).await.expect("a run");
        let (sender, settled) = watch::channel(0);
        let following = tokio::spawn(follow(run.clone(), sender));
        Self {
            tasks,
            done_before,
            run,
            settled,
            following,
        }
    }

    /// How many tasks have ended.
    pub(crate) fn settled(&self) -> usize {
        *self.settled.borrow()
    }

    /// Waits until so many tasks have ended, for as long as some do.
    pub(crate) async fn reaches(&mut self, count: usize) {
        while self.settled() < count {
            let before = self.settled();
            let more = self.settled.wait_for(|now| *now > before);
            let more = timeout(PATIENCE, more).await;
            more.unwrap_or_else(|_| panic!("the flow stands still at {before} tasks"))
                .expect("the run goes on");
        }
    }

    /// Waits for the end, and draws up the account: every task was done and counted once.
    pub(crate) async fn end(mut self, what: &str, ledger: &Ledger) {
        let tasks = usize::try_from(self.tasks).expect("a number");
        self.reaches(tasks).await;
        let told = timeout(PATIENCE, self.following).await;
        let told = told.expect("events end").expect("events");
        let summary = self.run.summary().await.expect("a run");
        assert_eq!(summary.state, RunState::Succeeded);
        assert_eq!(told.settled.len(), tasks, "tasks that have ended");
        for (path, states) in &told.settled {
            assert_eq!(states[..], [TaskState::Succeeded], "of task {path}");
        }
        let mut absorbed = self.run.result().await.expect("a result");
        absorbed.sort_unstable();
        let all: Vec<u64> = (0..self.tasks).collect();
        assert!(absorbed == all, "the aggregator was told something else");
        let done = ledger.count("work ") - self.done_before;
        assert!(done >= tasks, "{done} executions of {tasks} tasks");
        println!(
            "{what}: {tasks} tasks, 0 lost, 0 counted twice; {} done a second time, {} attempts handed out, {} of \
             them said to be lost, {} retried",
            done - tasks,
            told.dispatched,
            told.lost,
            told.retried,
        );
    }
}

/// Takes events in until the run has ended.
async fn follow(run: RunHandle<Vec<u64>>, settled: watch::Sender<usize>) -> Told {
    let mut told = Told::default();
    let mut events = run.events().await.expect("events");
    while let Some(event) = events.next().await.expect("an event") {
        match event.kind {
            RunEventKind::Settled(info, state, _) => {
                told.settled.entry(info.path).or_default().push(state);
                settled.send_modify(|settled| *settled += 1);
            }
            RunEventKind::Dispatched(_) => told.dispatched += 1,
            RunEventKind::Lost(..) => told.lost += 1,
            RunEventKind::Retrying(..) => told.retried += 1,
            _ => {}
        }
    }
    told
}
