//! An agent whose slots follow what it bears: as many as what stands behind it does at once, and a few more.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::AdaptivePolicy;
use coditect_core::{Dispatch, Error};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::stage::{Shared, within};

const QUERY: Call<u64, u64> = Call::new("query");
const TAKES: Duration = Duration::from_millis(100);

/// What stands behind the agent: it does so many things at once, and lets others wait.
#[derive(Clone)]
struct Database {
    workers: Arc<Semaphore>,
    /// How many queries were under way at each begin of one.
    seen: Arc<Mutex<Vec<(Instant, usize)>>>,
    under_way: Arc<Mutex<usize>>,
}

impl Database {
    fn new(workers: usize) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            seen: Arc::default(),
            under_way: Arc::default(),
        }
    }

    async fn query(&self) {
        let now = {
            let mut under_way = self.under_way.lock();
            *under_way += 1;
            *under_way
        };
        self.seen.lock().push((Instant::now(), now));
        let worker = self.workers.acquire().await.unwrap();
        sleep(TAKES).await;
        drop(worker);
        *self.under_way.lock() -= 1;
    }

    /// How many queries were under way within a span, on average, and at most.
    fn load(&self, from: Instant, to: Instant) -> (f64, usize) {
        let seen = self.seen.lock();
        let within = seen.iter().filter(|(at, _)| (from..to).contains(at));
        let counts = Vec::from_iter(within.map(|(_, count)| *count));
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        (mean, counts.into_iter().max().unwrap_or(0))
    }

    fn agent(&self, policy: AdaptivePolicy) -> impl Agent {
        let database = self.clone();
        let query = move |_: TaskContext, x: u64| {
            let database = database.clone();
            async move {
                database.query().await;
                Ok::<_, AgentError>(x)
            }
        };
        agent("query", query).with_adaptive_concurrency(policy)
    }
}

fn many(count: u64) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let tasks = (0..count).map(|x| plan.task(format!("query-{x}"), &QUERY, x));
    let tasks = Vec::from_iter(tasks);
    plan.output(tasks)
}

#[tokio::test(start_paused = true)]
async fn an_agent_has_as_many_slots_as_it_bears_and_more_again_when_it_bears_more()
-> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst] {
        let database = Database::new(20);
        let policy = AdaptivePolicy::new(2, 4, 200).unwrap();
        let runtime = Shared::new().runtime().dispatch(dispatch);
        let runtime = runtime.agent(database.agent(policy)).start().await?;
        let begun = Instant::now();
        let run = runtime.submit_plan(many(12_000)?).await?;
        let after = |seconds| begun + Duration::from_secs(seconds);
        // Twenty at once, each a tenth of a second, are two hundred a second.
        tokio::time::sleep_until(after(20)).await;
        let (mean, most) = database.load(after(10), after(20));
        assert!(
            (14.0..30.0).contains(&mean),
            "{mean} at once, {most} at most"
        );
        assert!(most < 60, "{most}");
        // Three quarters of what stands behind it goes.
        let gone = database.workers.acquire_many(15).await.unwrap();
        tokio::time::sleep_until(after(50)).await;
        let (mean, most) = database.load(after(40), after(50));
        assert!((3.0..9.0).contains(&mean), "{mean} at once, {most} at most");
        drop(gone);
        let results = within(run.result()).await?;
        assert_eq!(results, Vec::from_iter(0..12_000));
        // 20 s and what is left at full speed, and 30 s at a quarter of it: a fifth more is for finding out.
        let ideal = 30.0 + (12_000.0 - 30.0 * 50.0) / 200.0;
        let took = begun.elapsed().as_secs_f64();
        assert!(
            took < ideal * 1.25,
            "{took} s, {ideal} s with all workers busy"
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_patience_gets_less_at_once() -> Result<(), Error> {
    let at_once = Arc::new(Mutex::new((0_usize, 0_usize)));
    let counted = Arc::clone(&at_once);
    let provider = move |_: TaskContext, x: u64| {
        let counted = Arc::clone(&counted);
        async move {
            let is_refused = {
                let mut counted = counted.lock();
                counted.0 += 1;
                counted.1 = counted.1.max(counted.0);
                counted.0 > 10
            };
            sleep(Duration::from_millis(10)).await;
            counted.lock().0 -= 1;
            match is_refused {
                true => Err(AgentError::retryable("too many requests")
                    .retry_after(Duration::from_millis(100))),
                false => Ok(x),
            }
        }
    };
    let policy = AdaptivePolicy::new(2, 50, 50).unwrap();
    let provider = agent("query", provider)
        .with_breaker(None)
        .with_adaptive_concurrency(policy);
    let runtime = Shared::new().runtime().retry_budget("query", None);
    let runtime = runtime.agent(provider).start().await?;
    let mut plan = Plan::builder();
    let tasks = Vec::from_iter((0..500).map(|x| plan.task(format!("query-{x}"), &QUERY, x)));
    for task in &tasks {
        plan.configure(task, |task| task.max_attempts(1_000));
    }
    let run = runtime.submit_plan(plan.output(tasks)?).await?;
    assert_eq!(within(run.result()).await?, Vec::from_iter(0..500));
    let first = std::mem::take(&mut at_once.lock().1);
    assert_eq!(first, 50);
    let run = runtime.submit_plan(many(50)?).await;
    drop(run);
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(5)).await;
    let then = at_once.lock().1;
    assert!(then < 20, "{then} at once after it was told so often");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn who_ran_out_of_time_while_others_did_not_answer_keeps_its_slots() -> Result<(), Error> {
    let hung = async |_: u64| {
        sleep(Duration::from_secs(3_600)).await;
        Ok::<_, AgentError>(0_u64)
    };
    let ask = async |context: TaskContext, x: u64| context.request("query", &QUERY, x).await;
    let policy = AdaptivePolicy::new(1, 20, 20).unwrap();
    let ask = agent("ask", ask)
        .with_breaker(None)
        .with_adaptive_concurrency(policy);
    let runtime = Shared::new().runtime();
    let runtime = runtime.agent(ask).agent(agent("query", hung));
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    const ASK: Call<u64, u64> = Call::new("ask");
    let tasks = Vec::from_iter((0..20).map(|x| plan.task(format!("ask-{x}"), &ASK, x)));
    for task in &tasks {
        plan.configure(task, |task| {
            task.max_attempts(1).timeout(Duration::from_secs(1))
        });
    }
    let run = runtime.submit_plan(plan.output(tasks)?).await?;
    within(run.result())
        .await
        .expect_err("all of them were too slow");
    sleep(Duration::from_secs(60)).await;
    let records = runtime.agents().records();
    let ask = records
        .iter()
        .find(|record| record.agent().as_str() == "ask");
    let slots = ask.map(|record| record.load.slots);
    assert_eq!(slots, Some(20), "most of their time was that of others");
    runtime.shutdown().await
}
