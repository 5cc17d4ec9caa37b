//! A chain of 10,000 tasks and a fan-in of 10,000 cost no more for each task than those of 1,000.
//!
//! What is compared does not depend on the machine: records, commits and bytes that a run writes; and beside them the
//! processor time of the one thread that does all, which would be ten times as much if each task looked at all others.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coditect_core::dag::journal::{
    MemoryJournal, RunJournal, Seq, StoreJournal, StoreJournalConfig,
};
use coditect_core::prelude::*;
use coditect_core::state::{
    Committed, EmbeddedStore, MemoryStore, RedisStore, StateObserver, StateStore,
};
use coditect_core::{Error, RunId};
use coditect_harness::{Redis, required};

const NEXT: Call<u64, u64> = Call::new("next");
const SUM: Call<Vec<u64>, u64> = Call::new("sum");
const SMALL: u64 = 1_000;
const LARGE: u64 = 10_000;

/// By how much what is written for a task may grow: numbers get a digit longer.
const SAME: f64 = 1.15;
/// By how much the processor time for a task may, since less of what is large fits into its caches.
const NOT_SQUARED: f64 = 4.0;

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Each task takes the output of the one before.
    Chain,
    /// One task takes the outputs of all others.
    FanIn,
}

impl Shape {
    fn plan(self, tasks: u64) -> Result<Plan<u64>, Error> {
        let mut plan = Plan::<()>::builder();
        let last = match self {
            Self::Chain => {
                let mut last = plan.task("0", &NEXT, 0);
                for number in 1..tasks {
                    last = plan.task(number.to_string(), &NEXT, last);
                }
                last
            }
            Self::FanIn => {
                let all = (0..tasks).map(|number| plan.task(number.to_string(), &NEXT, number));
                let all: Vec<_> = all.collect();
                plan.task("sum", &SUM, all)
            }
        };
        plan.output(last)
    }

    fn result(self, tasks: u64) -> u64 {
        match self {
            Self::Chain => tasks,
            Self::FanIn => tasks * (tasks + 1) / 2,
        }
    }
}

/// Counts what is written to a store.
#[derive(Debug, Default)]
struct Writes {
    commits: AtomicU64,
    bytes: AtomicU64,
}

impl StateObserver for Writes {
    fn committed(&self, commit: &Committed) {
        let bytes = u64::try_from(commit.bytes).unwrap();
        // Reading is a transaction, too.
        self.commits
            .fetch_add(u64::from(bytes > 0), Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }
}

impl Writes {
    fn so_far(&self) -> [u64; 2] {
        [&self.commits, &self.bytes].map(|count| count.load(Ordering::SeqCst))
    }
}

/// What a run has cost for each of its tasks.
#[derive(Clone, Copy, Debug)]
struct Cost {
    records: f64,
    commits: f64,
    bytes: f64,
    /// Nanoseconds of processor time of this thread.
    processor: f64,
}

/// What this thread has had of the processor, in nanoseconds, as Linux counts it.
fn processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

async fn records(journal: &Arc<dyn RunJournal>, run: RunId) -> Result<u64, Error> {
    let summary = journal.run(run).await?.expect("the run is kept");
    assert!(summary.last > Seq::ZERO);
    Ok(summary.last.get())
}

async fn cost(runtime: &Runtime, writes: &Writes, shape: Shape, tasks: u64) -> Result<Cost, Error> {
    let (before, used) = (writes.so_far(), processor());
    let run = runtime.submit_plan(shape.plan(tasks)?).await?;
    assert_eq!(run.result().await?, shape.result(tasks));
    let used = processor() - used;
    let after = writes.so_far();
    let each = |count: u64| count as f64 / tasks as f64;
    Ok(Cost {
        records: each(records(runtime.journal(), run.id()).await?),
        commits: each(after[0] - before[0]),
        bytes: each(after[1] - before[1]),
        processor: each(used),
    })
}

async fn does_not_grow(
    journal: Arc<dyn RunJournal>,
    writes: Arc<Writes>,
    one_thread: bool,
) -> Result<(), Error> {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let runtime = Runtime::builder()
        .state((journal, store))
        .agent(agent("next", async |x: u64| Ok::<_, AgentError>(x + 1)))
        .agent(agent("sum", async |all: Vec<u64>| {
            Ok::<_, AgentError>(all.iter().sum::<u64>())
        }))
        .start()
        .await?;
    for shape in [Shape::Chain, Shape::FanIn] {
        // The first of all pays for what is made once.
        cost(&runtime, &writes, shape, 100).await?;
        let small = cost(&runtime, &writes, shape, SMALL).await?;
        let large = cost(&runtime, &writes, shape, LARGE).await?;
        println!("{shape:?}: {small:?} of {SMALL}, {large:?} of {LARGE}");
        let compared = [
            (small.records, large.records),
            // Leases are renewed meanwhile, and how much goes into one commit is a matter of time.
            (small.commits + 0.05, large.commits),
            (small.bytes, large.bytes),
        ];
        for (small_one, large_one) in compared {
            assert!(
                large_one <= small_one * SAME,
                "{shape:?}: {small:?} {large:?}"
            );
        }
        let grows = large.processor > small.processor * NOT_SQUARED;
        assert!(!one_thread || !grows, "{shape:?}: {small:?} {large:?}");
    }
    runtime.shutdown().await
}

async fn kept_in(store: impl StateStore) -> Result<Arc<dyn RunJournal>, Error> {
    let journal = StoreJournal::open(Arc::new(store), StoreJournalConfig::default()).await?;
    Ok(Arc::new(journal))
}

#[tokio::test]
async fn in_memory() -> Result<(), Error> {
    let journal: Arc<dyn RunJournal> = Arc::new(MemoryJournal::default());
    does_not_grow(journal, Arc::default(), true).await
}

#[tokio::test]
async fn in_a_store() -> Result<(), Error> {
    let writes = Arc::<Writes>::default();
    let store = MemoryStore::builder().with_observer(writes.clone());
    let journal = kept_in(store.build()).await?;
    does_not_grow(journal, writes, true).await
}

#[tokio::test]
async fn in_a_file() -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let writes = Arc::<Writes>::default();
    let store = EmbeddedStore::builder(folder.path().join("runs"));
    let store = store.with_observer(writes.clone()).open().await.unwrap();
    does_not_grow(kept_in(store).await?, writes, false).await
}

#[tokio::test]
async fn on_redis() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    let writes = Arc::<Writes>::default();
    let store = RedisStore::builder(redis.url()).with_observer(writes.clone());
    let store = store.connect().await.unwrap();
    does_not_grow(kept_in(store).await?, writes, false).await
}
