//! Irreversible work on a broker whose connections break: it goes on, and is begun once.

use coditect_core::EffectClass;
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Relay, required};

use crate::place::{Gate, QUEUE, WORK, coordinator, queue, runtime, within, work};
use crate::process::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_irreversible_handler_outlives_its_connection_and_is_begun_once() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let relay = Relay::start(broker.place()).await.unwrap();
    let coordinator = coordinator(&vhost).await;
    let gate = Gate::closed();
    let worker = runtime(vhost.url_through(relay.addr())).worker_only();
    let worker = worker.agent(work(1, &gate)).start().await.unwrap();
    let other = runtime(vhost.url()).worker_only();
    let mut plan = Plan::builder();
    let done = plan.task("work", &WORK, 7);
    plan.configure(&done, |task| task.effect(EffectClass::Irreversible));
    let run = coordinator.submit_plan(plan.output(done).unwrap());
    let run = run.await.unwrap();
    gate.has_begun(1).await;
    // Whatever the broker delivered again would begin here.
    let other = other.agent(work(1, &gate)).start().await.unwrap();
    relay.cut();
    until("nothing waits at the broker", async || {
        let stats = coordinator.bus().stats(&queue(QUEUE)).await;
        stats.is_ok_and(|stats| stats.ready() + stats.unacked == 0)
    })
    .await;
    assert_eq!(gate.begun(), [7]);
    gate.let_through(1);
    assert_eq!(within(run.result()).await.unwrap(), 7);
    assert_eq!(gate.begun(), [7]);
    let report = run.report().await.unwrap();
    assert_eq!((report.attempts, report.autonomy() < 1.0), (1, false));
    worker.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
    coordinator.shutdown().await.unwrap();
}
