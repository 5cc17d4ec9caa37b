//! Agents of other processes are found by their queues where no registry is shared.

use std::future::IntoFuture;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{ErrorKind, RunEventKind};
use coditect_harness::{RabbitMq, Vhost, required};

const DOUBLE: Call<u64, u64> = Call::new("double");

async fn worker(vhost: &Vhost<'_>) -> Runtime {
    let double = agent("double", async |x: u64| Ok::<_, AgentError>(2 * x));
    let builder = Runtime::builder().bus(vhost.url()).worker_only();
    builder.agent(double).start().await.expect("a worker")
}

async fn coordinator(vhost: &Vhost<'_>) -> Runtime {
    let builder = Runtime::builder().bus(vhost.url());
    builder.start().await.expect("a coordinator")
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, what).await.expect("in time")
}

macro_rules! vhost {
    () => {{
        let Some(broker) = required(RabbitMq::shared()).await else {
            return;
        };
        broker.vhost().await.expect("a virtual host")
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_visibly_for_a_worker_and_goes_on_when_there_is_one() {
    let vhost = vhost!();
    let runtime = coordinator(&vhost).await;
    let run = runtime.submit(&DOUBLE, 21).await.unwrap();
    let mut events = run.events().await.unwrap();
    let unserved = async {
        while let Some(event) = events.next().await.unwrap() {
            if matches!(event.kind, RunEventKind::Unserved(_)) {
                return;
            }
        }
        panic!("nobody said that the task waits");
    };
    within(unserved).await;
    let worker = worker(&vhost).await;
    assert_eq!(within(run.result()).await.unwrap(), 42);
    worker.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinators_with_journals_of_their_own_do_not_take_each_others_outcomes() {
    let vhost = vhost!();
    let worker = worker(&vhost).await;
    let runtimes = [coordinator(&vhost).await, coordinator(&vhost).await];
    let runs = (0..200_u64).map(|x| {
        let runtime = &runtimes[usize::try_from(x % 2).unwrap()];
        async move { (x, runtime.run(&DOUBLE, x).await.unwrap()) }
    });
    let answers = within(futures::future::join_all(runs)).await;
    assert!(answers.iter().all(|(x, answer)| *answer == 2 * x));
    for runtime in runtimes {
        runtime.shutdown().await.unwrap();
    }
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_an_agent_and_says_so_when_there_is_none() {
    let vhost = vhost!();
    let runtime = coordinator(&vhost).await;
    let error = within(runtime.request(&DOUBLE, 21).into_future()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    let worker = worker(&vhost).await;
    let answer = within(runtime.request(&DOUBLE, 21).into_future()).await;
    assert_eq!(answer.unwrap(), 42);
    worker.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
}
