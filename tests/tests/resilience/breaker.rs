//! Breakers of agents: what fails is left alone, and nothing is lost by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::bus::{DeadLetterFilter, Page, QueueName};
use coditect_core::prelude::*;
use coditect_core::registry::Health;
use coditect_core::resilience::{Backoff, BreakerPolicy, BreakerState, Jitter};
use coditect_core::{Dispatch, Error, ErrorKind, RetryPolicy, RuntimeBuilder};
use tokio::time::Instant;

use crate::stage::{Count, Gate, Shared, failure, within};

const WORK: Call<u64, u64> = Call::new("work");
const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

/// Opens after three failures in a row for ten seconds, and closes with one success.
fn policy() -> BreakerPolicy {
    BreakerPolicy::builder()
        .consecutive_failures(3)
        .open_for(Backoff::constant(Duration::from_secs(10)).with_jitter(Jitter::None))
        .successes_to_close(1)
        .build()
        .unwrap()
}

/// Whether an agent works, which the test says.
#[derive(Clone, Default)]
struct Sick(Arc<AtomicBool>);

impl Sick {
    fn is(&self, sick: bool) {
        self.0.store(sick, Ordering::SeqCst);
    }

    fn agent(&self, name: &'static str, calls: &Count) -> impl Agent + use<> {
        let (sick, calls) = (self.clone(), calls.clone());
        let handler = move |x: u64| {
            calls.add();
            let sick = sick.0.load(Ordering::SeqCst);
            std::future::ready(match sick {
                true => Err(AgentError::retryable("sick")),
                false => Ok(x),
            })
        };
        let agent = agent("work", handler).with_name(name).with_concurrency(1);
        agent.with_breaker(policy())
    }
}

/// Tasks side by side that are tried as often as it takes, twice a second.
fn stubborn(count: u64) -> Plan<Vec<u64>> {
    let every = Backoff::constant(Duration::from_millis(500)).with_jitter(Jitter::None);
    let retry = RetryPolicy::builder(1_000).backoff(every).build().unwrap();
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let task = plan.task(number.to_string(), &WORK, number);
            plan.configure(&task, |task| task.retry(retry));
            task
        })
        .collect();
    plan.aggregate(collect_all(), tasks).unwrap()
}

async fn alone(dispatch: Dispatch, agent: impl Agent) -> Result<Runtime, Error> {
    let builder = Runtime::builder().dispatch(dispatch);
    builder.agent(agent).start().await
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_pauses_its_work_and_a_probe_finds_that_it_is_well_again()
-> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (sick, calls) = (Sick::default(), Count::default());
        sick.is(true);
        let runtime = alone(dispatch, sick.agent("worker", &calls)).await?;
        let run = runtime.submit_plan(stubborn(20)).await?;
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(calls.get(), 3, "{dispatch:?}: nobody is called any more");
        let breaker = runtime.breaker("worker", "work")?;
        assert_eq!(breaker.state(), BreakerState::Open);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(calls.get(), 5, "{dispatch:?}: one probe each ten seconds");
        sick.is(false);
        let began = Instant::now();
        let numbers = within(run.result()).await?;
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert!(began.elapsed() < Duration::from_secs(11), "{dispatch:?}");
        assert_eq!(calls.get(), 25, "no attempt was lost by it");
        assert_eq!(breaker.state(), BreakerState::Closed);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_did_wrong_and_what_was_cancelled_is_not_held_against_an_agent()
-> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let gate = Gate::new();
        let held = gate.clone();
        let handler = move |context: TaskContext, x: u64| {
            let held = held.clone();
            async move {
                if x == 0 {
                    return Err(AgentError::permanent("not this"));
                }
                context.token().run_until_cancelled(held.pass()).await;
                Err::<u64, _>(AgentError::retryable("stopped"))
            }
        };
        let agent = agent("work", handler).with_breaker(policy());
        let runtime = alone(dispatch, agent).await?;
        for _ in 0..5 {
            failure(within(runtime.submit(&WORK, 0).await?.result()).await);
            let wrong: Call<&str, u64> = Call::new("work");
            assert!(runtime.request(&wrong, "no number").await.is_err());
            let run = runtime.submit(&WORK, 1).await?;
            gate.arrived(1).await;
            run.cancel("not needed").await?;
            assert!(within(run.result()).await.is_err());
        }
        let state = runtime.breaker("work", "work")?.state();
        assert_eq!(state, BreakerState::Closed, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panics_timeouts_and_slow_calls_are() -> Result<(), Error> {
    let slow = BreakerPolicy::builder()
        .slow_calls(Duration::from_secs(5), 1.0)
        .min_calls(3)
        .window(coditect_core::resilience::Window::Calls(3))
        .build()
        .unwrap();
    for (kind, policy) in [(0, policy()), (1, policy()), (2, slow)] {
        let handler = async |kind: u64| {
            assert!(kind != 0, "on purpose");
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok::<_, AgentError>(kind)
        };
        let card = AgentCard::new("work").with_breaker(policy);
        let runtime = alone(Dispatch::LocalOnly, agent("work", handler).with_card(card)).await?;
        for number in 0..3 {
            let mut plan = Plan::builder();
            let task = plan.task("task", &WORK, kind);
            plan.configure(&task, |task| {
                let limit = Duration::from_secs(if kind == 1 { 10 } else { 60 });
                task.max_attempts(1).timeout(limit)
            });
            let state = runtime.breaker("work", "work")?.state();
            assert_eq!(state, BreakerState::Closed, "{kind} after {number}");
            let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
            assert_eq!(within(run.result()).await.is_ok(), kind == 2);
        }
        let state = runtime.breaker("work", "work")?.state();
        assert_eq!(state, BreakerState::Open, "{kind}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_a_breaker_a_failing_agent_is_called_on() -> Result<(), Error> {
    let calls = Count::default();
    let noted = calls.clone();
    let handler = move |_: u64| {
        noted.add();
        std::future::ready(Err::<u64, _>(AgentError::retryable("sick")))
    };
    let agent = agent("work", handler).with_breaker(None);
    let runtime = alone(Dispatch::LocalOnly, agent).await?;
    let run = runtime.submit_plan(stubborn(1)).await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(calls.get() >= 39, "{}", calls.get());
    let refused = runtime.breaker("work", "work").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(runtime.breakers().is_empty());
    run.cancel("enough").await?;
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_work_back_and_lets_it_go() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (sick, calls) = (Sick::default(), Count::default());
        let runtime = alone(dispatch, sick.agent("worker", &calls)).await?;
        let breaker = runtime.breaker("worker", "work")?;
        breaker.force_open();
        let run = runtime.submit_plan(stubborn(3)).await?;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(calls.get(), 0, "{dispatch:?}");
        breaker.reset();
        within(run.result()).await?;
        sick.is(true);
        breaker.force_closed();
        let run = runtime.submit_plan(stubborn(1)).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(calls.get() > 15, "{dispatch:?}: it is called all the same");
        run.cancel("enough").await?;
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_capability_of_an_agent_that_fails_does_not_hold_the_other_back() -> Result<(), Error> {
    const OTHER: Call<u64, u64> = Call::new("other");
    for dispatch in EVERYWHERE {
        let handler = async |context: TaskContext, x: u64| match context.key() {
            "work" => Err(AgentError::retryable("sick")),
            _ => Ok(x),
        };
        let card = AgentCard::new("both")
            .with_capability("work")
            .with_capability("other")
            .with_concurrency(2)
            .with_breaker(policy());
        let runtime = alone(dispatch, agent("both", handler).with_card(card)).await?;
        let mut plan = Plan::builder();
        let work = plan.task("work", &WORK, 1);
        let retry = RetryPolicy::builder(1_000)
            .backoff(Backoff::constant(Duration::from_millis(10)))
            .build()
            .unwrap();
        plan.configure(&work, |task| task.retry(retry));
        let sick = runtime.submit_plan(plan.output::<u64>(work)?).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let breaker = runtime.breaker("both", "work")?;
        assert_eq!(breaker.state(), BreakerState::Open, "{dispatch:?}");
        let began = Instant::now();
        for number in 0..50 {
            assert_eq!(within(runtime.run(&OTHER, number)).await?, number);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{dispatch:?}");
        sick.cancel("enough").await?;
        runtime.shutdown().await?;
    }
    Ok(())
}

fn process(shared: &Shared, agent: impl Agent) -> RuntimeBuilder {
    shared.runtime().worker_only().agent(agent)
}

#[tokio::test(start_paused = true)]
async fn others_take_what_a_sick_agent_leaves_and_the_registry_says_so() -> Result<(), Error> {
    let shared = Shared::new();
    let coordinator = shared.runtime().start().await?;
    let (sick, well) = (Sick::default(), Sick::default());
    sick.is(true);
    let (of_sick, of_well) = (Count::default(), Count::default());
    let first = process(&shared, sick.agent("first", &of_sick))
        .start()
        .await?;
    // Trip it while it is alone.
    let run = coordinator.submit_plan(stubborn(5)).await?;
    while of_sick.get() < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let second = process(&shared, well.agent("second", &of_well))
        .start()
        .await?;
    let began = Instant::now();
    assert_eq!(within(run.result()).await?, [0, 1, 2, 3, 4]);
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    assert!(of_sick.get() <= 4, "{}", of_sick.get());
    let health = |name: &'static str| {
        let view = coordinator.agents().clone();
        async move {
            loop {
                let records = view.records();
                let record = records.iter().find(|one| one.agent().as_str() == name);
                if let Some(record) = record {
                    return (record.health, record.health_reason.clone());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let (degraded, reason) = health("first").await;
    assert_eq!(degraded, Health::Degraded);
    assert!(reason.unwrap().to_string().contains("work"));
    assert_eq!(health("second").await, (Health::Ready, None));
    sick.is(false);
    // A probe needs work to probe with.
    let healed = async {
        while health("first").await != (Health::Ready, None) {
            coordinator.submit_plan(stubborn(5)).await?.result().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, Error>(())
    };
    within(healed).await?;
    for runtime in [first, second, coordinator] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_breaker_is_left_in_the_queue_but_for_the_next_probe() -> Result<(), Error>
{
    let shared = Shared::new();
    let coordinator = shared.runtime().start().await?;
    let (sick, calls) = (Sick::default(), Count::default());
    sick.is(true);
    let worker = process(&shared, sick.agent("worker", &calls))
        .start()
        .await?;
    let run = coordinator.submit_plan(stubborn(50)).await?;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(calls.get(), 3);
    let queue: QueueName = "capability.work.v1".parse().unwrap();
    let stats = coordinator.bus().stats(&queue).await?;
    assert_eq!(stats.consumers, 1, "so that nobody takes it for gone");
    assert!(stats.unacked <= 1, "{stats:?}");
    assert!(stats.ready() >= 46, "{stats:?}");
    let all = DeadLetterFilter::all();
    let letters = coordinator
        .bus()
        .dead_letters(&queue, &all, Page::default());
    assert!(letters.await?.letters.is_empty());
    sick.is(false);
    assert_eq!(within(run.result()).await?.len(), 50);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_request_to_an_agent_that_is_left_alone_is_refused_at_once() -> Result<(), Error> {
    let (sick, calls) = (Sick::default(), Count::default());
    sick.is(true);
    let runtime = alone(Dispatch::LocalOnly, sick.agent("worker", &calls)).await?;
    for _ in 0..3 {
        let failed = runtime.request(&WORK, 1).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Failed);
    }
    let began = Instant::now();
    let refused = runtime.request(&WORK, 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!((began.elapsed(), calls.get()), (Duration::ZERO, 3));
    sick.is(false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runtime.request(&WORK, 1).await?, 1);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_is_routed_to_a_sick_instance_goes_elsewhere() -> Result<(), Error> {
    use coditect_core::registry::Strategy;
    let shared = Shared::new();
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    let (sick, well) = (Sick::default(), Sick::default());
    sick.is(true);
    let (of_sick, of_well) = (Count::default(), Count::default());
    let first = process(&shared, sick.agent("first", &of_sick));
    let first = first.start().await?;
    let second = process(&shared, well.agent("second", &of_well));
    let second = second.start().await?;
    let began = Instant::now();
    let run = coordinator.submit_plan(stubborn(30)).await?;
    assert_eq!(within(run.result()).await?.len(), 30);
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    assert!((3..5).contains(&of_sick.get()), "{}", of_sick.get());
    assert_eq!(of_well.get(), 30);
    for runtime in [first, second, coordinator] {
        runtime.shutdown().await?;
    }
    Ok(())
}
