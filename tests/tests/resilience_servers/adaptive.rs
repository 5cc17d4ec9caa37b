//! An agent that bears little fetches little, so that the rest waits at the broker for others.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::AdaptivePolicy;
use coditect_core::{Dispatch, Error};
use coditect_harness::{RabbitMq, required};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

const WORK: Call<u64, u64> = Call::new("work");
const COUNT: u64 = 300;
/// What a task takes where one is done at a time: all of them would take half a minute there.
const TAKES: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_cannot_bear_yet_is_not_fetched_by_it() -> Result<(), Error> {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return Ok(());
    };
    let _alone = crate::ALONE.lock().await;
    let vhost = broker.vhost().await.unwrap();
    let runtime = || Runtime::builder().bus(vhost.url()).dispatch(Dispatch::Bus);
    let coordinator = runtime().start().await?;
    let (one, begun) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
    let arrived = Arc::clone(&begun);
    let slow = agent("work", move |_: TaskContext, x: u64| {
        let (one, begun) = (Arc::clone(&one), Arc::clone(&begun));
        async move {
            begun.add_permits(1);
            let _turn = one.acquire().await;
            sleep(TAKES).await;
            Ok::<_, AgentError>(x)
        }
    });
    let slow = slow.with_adaptive_concurrency(AdaptivePolicy::new(1, 1, 256).unwrap());
    let slow = runtime().worker_only().agent(slow).start().await?;
    let mut plan = Plan::builder();
    let tasks = Vec::from_iter((0..COUNT).map(|x| plan.task(format!("task-{x}"), &WORK, x)));
    let run = coordinator.submit_plan(plan.output(tasks)?).await?;
    // All are at the broker, and as many as it would with the slow one.
    arrived.acquire_many(3).await.unwrap().forget();
    let quick = agent("work", async |x: u64| Ok::<_, AgentError>(x));
    let quick = runtime().worker_only().agent(quick).start().await?;
    let since = Instant::now();
    let results = timeout(Duration::from_secs(60), run.result()).await;
    assert_eq!(results.expect("it ends")?, Vec::from_iter(0..COUNT));
    let took = since.elapsed();
    println!("{COUNT} tasks, of which the slow agent does ten a second, in {took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    slow.shutdown().await?;
    quick.shutdown().await?;
    coordinator.shutdown().await
}
