//! Requests that are asked twice where the answer takes long: which answer counts, who is stopped, and how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use coditect_core::resilience::HedgePolicy;
use coditect_core::{Dispatch, Error, RuntimeBuilder};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::stage::{Count, Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
const QUICK: Duration = Duration::from_millis(10);

fn policy() -> HedgePolicy {
    let policy = HedgePolicy::new(0.95, Duration::from_millis(20)).unwrap();
    policy.with_min_calls(20)
}

/// Agents of two processes that answer at once, but for so many calls, which wait until they are told to stop.
#[derive(Clone)]
struct Pair {
    shared: Shared,
    stuck: Arc<AtomicUsize>,
    calls: Count,
    stopped: Notes<&'static str>,
}

impl Pair {
    fn new() -> Self {
        Self {
            shared: Shared::new(),
            stuck: Arc::default(),
            calls: Count::default(),
            stopped: Notes::new(),
        }
    }

    fn worker(&self, name: &'static str) -> RuntimeBuilder {
        self.worker_of(name, 128)
    }

    /// One that does so many things at once.
    fn worker_of(&self, name: &'static str, slots: usize) -> RuntimeBuilder {
        let this = self.clone();
        let work = move |context: TaskContext, x: u64| {
            let this = this.clone();
            async move {
                this.calls.add();
                let fewer = |stuck: usize| stuck.checked_sub(1);
                let order = Ordering::SeqCst;
                if this.stuck.fetch_update(order, order, fewer).is_ok() {
                    context.cancelled().await;
                    this.stopped.push(name);
                    return Err(AgentError::retryable("told to stop"));
                }
                sleep(QUICK).await;
                Ok(x)
            }
        };
        let agent = agent("work", work).with_name(name);
        let agent = agent.with_breaker(None).with_concurrency(slots);
        self.shared.runtime().worker_only().agent(agent)
    }

    /// Asks so often that it is known how long it takes.
    async fn learn(&self, asker: &Runtime) -> Result<(), Error> {
        for x in 0..20 {
            assert_eq!(asker.request(&WORK, x).hedge(policy()).await?, x);
        }
        Ok(())
    }
}

async fn knows(asker: &Runtime, agents: usize) {
    loop {
        let view = asker.agents();
        let changed = view.changed();
        if view.len() == agents {
            return;
        }
        within(changed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_answers_for_one_that_hangs_which_is_told_to_stop() -> Result<(), Error> {
    for routed in [false, true] {
        let pair = Pair::new();
        let one = pair.worker("one").start().await?;
        let other = pair.worker("other").start().await?;
        let asker = pair.shared.runtime().worker_only();
        let asker = match routed {
            true => asker.route("work", Strategy::RoundRobin),
            false => asker,
        };
        let asker = asker.start().await?;
        knows(&asker, 2).await;
        pair.learn(&asker).await?;
        for round in 1..=5 {
            pair.stuck.store(1, Ordering::SeqCst);
            let begun = Instant::now();
            let request = asker.request(&WORK, 7).hedge(policy());
            assert_eq!(within(request.into_future()).await?, 7);
            assert!(
                begun.elapsed() < Duration::from_millis(100),
                "{:?}",
                begun.elapsed()
            );
            while pair.stopped.all().len() < round {
                within(sleep(Duration::from_millis(1))).await;
                assert!(
                    begun.elapsed() < Duration::from_secs(5),
                    "it was not told to stop"
                );
            }
        }
        assert_eq!(pair.calls.get(), 20 + 2 * 5);
        for runtime in [asker, one, other] {
            runtime.shutdown().await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn when_all_become_slow_one_in_ten_is_asked_twice_at_most() -> Result<(), Error> {
    let pair = Pair::new();
    let one = pair.worker("one").start().await?;
    let other = pair.worker("other").start().await?;
    let asker = pair.shared.runtime().worker_only().start().await?;
    knows(&asker, 2).await;
    pair.learn(&asker).await?;
    let before = pair.calls.get();
    pair.stuck.store(usize::MAX, Ordering::SeqCst);
    let second = Duration::from_secs(1);
    let asked = (0..100).map(|_| {
        let request = asker.request(&WORK, 7).hedge(policy());
        request.deadline(second).into_future()
    });
    for answer in join_all(asked).await {
        answer.expect_err("all of them hang");
    }
    // Ten that were saved up, and none since: nothing succeeds.
    assert_eq!(pair.calls.get() - before, 100 + 10);
    pair.stuck.store(0, Ordering::SeqCst);
    assert_eq!(within(asker.request(&WORK, 7).into_future()).await?, 7);
    for runtime in [asker, one, other] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_instance_is_not_asked_twice() -> Result<(), Error> {
    let pair = Pair::new();
    let one = pair.worker("one").start().await?;
    let asker = pair.shared.runtime().worker_only().start().await?;
    knows(&asker, 1).await;
    pair.learn(&asker).await?;
    pair.stuck.store(1, Ordering::SeqCst);
    let asked = asker.request(&WORK, 7).hedge(policy());
    let asked = asked.deadline(Duration::from_secs(1)).await;
    asked.expect_err("there is nobody else to ask");
    assert_eq!(pair.calls.get(), 21);
    one.shutdown().await?;
    asker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_the_own_process_is_hedged_by_one_elsewhere() -> Result<(), Error> {
    let pair = Pair::new();
    let other = pair.worker("other").start().await?;
    let asker = pair.worker("own").dispatch(Dispatch::LocalFirst);
    let asker = asker.start().await?;
    knows(&asker, 2).await;
    pair.learn(&asker).await?;
    pair.stuck.store(1, Ordering::SeqCst);
    let asked = asker.request(&WORK, 7).hedge(policy());
    assert_eq!(within(asked.into_future()).await?, 7);
    while pair.stopped.all() != ["own"] {
        within(sleep(Duration::from_millis(1))).await;
    }
    asker.shutdown().await?;
    other.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slot_of_the_own_process_is_asked_elsewhere() -> Result<(), Error> {
    let pair = Pair::new();
    let other = pair.worker("other").start().await?;
    let asker = pair.worker_of("own", 1).dispatch(Dispatch::LocalFirst);
    let asker = asker.start().await?;
    knows(&asker, 2).await;
    pair.learn(&asker).await?;
    // It takes the one slot.
    pair.stuck.store(1, Ordering::SeqCst);
    let busy = tokio::spawn(asker.request(&WORK, 6).into_future());
    while pair.stuck.load(Ordering::SeqCst) > 0 {
        within(sleep(Duration::from_millis(1))).await;
    }
    let asked = asker.request(&WORK, 7).hedge(policy());
    assert_eq!(asked.deadline(Duration::from_secs(1)).await?, 7);
    assert_eq!(pair.calls.get(), 20 + 2, "neither was asked here twice");
    busy.abort();
    asker.shutdown().await?;
    other.shutdown().await
}
