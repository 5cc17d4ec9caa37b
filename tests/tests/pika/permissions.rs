//! A user with the permissions that `docs/operations.md` gives can do everything, in this namespace and no other.

use coditect_core::bus::{
    DeadLetterFilter, Envelope, ErrorKind, MessageBus, QueueName, QueueSpec, RabbitMqBus,
    Subscription,
};
use serde_json::{Value, json};

use super::python::Python;
use super::*;

const PAGE: &str = include_str!("../../../docs/operations.md");

/// The permissions of the page.
fn permissions() -> Value {
    let (_, rest) = PAGE.split_once("\n```json permissions\n").unwrap();
    serde_json::from_str(rest.split_once("\n```").unwrap().0).unwrap()
}

/// Makes a user with the page's permissions, and returns the address with which it enters.
async fn user(vhost: &Vhost<'_>) -> String {
    let broker = vhost.broker();
    let name = vhost.name();
    let password = json!({ "password": "secret", "tags": "" });
    let path = format!("/api/users/{name}");
    broker.manage("PUT", &path, Some(&password)).await.unwrap();
    let path = format!("/api/permissions/{name}/{name}");
    let permissions = permissions();
    let set = broker.manage("PUT", &path, Some(&permissions));
    set.await.unwrap();
    let url = vhost.url();
    let (_, place) = url.split_once('@').unwrap();
    format!("amqp://{name}:secret@{place}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_permissions_of_the_page_suffice_for_agents_of_both_languages() {
    let Some(vhost) = vhost().await else { return };
    let url = user(&vhost).await;
    let mut python = Python::start("worker.py", &[&url]);
    python.says("ready").await;
    let triple = agent("triple", async |x: u64| Ok::<_, AgentError>(3 * x));
    let other = Runtime::builder().bus(url.clone()).worker_only();
    let other = other.agent(triple).start().await.unwrap();
    let runtime = coordinator(url.clone()).await;
    let mut plan = Plan::builder();
    let flaky = plan.task("flaky", &Call::<&str, Value>::new("flaky"), "x");
    let tripled = plan.task("triple", &Call::<u64, u64>::new("triple"), 2);
    let plan = plan.output::<(Value, u64)>((flaky, tripled)).unwrap();
    let run = runtime.submit_plan(plan).await.unwrap();
    assert_eq!(within(run.result()).await.unwrap().1, 6);
    let lingers = runtime.submit(&Call::<u64, Value>::new("linger"), 1);
    let lingers = lingers.await.unwrap();
    python.says("lingers 1").await;
    lingers.cancel("enough").await.unwrap();
    python.says("stopped").await;
    let asked = runtime.request(&Call::<u64, u64>::new("double"), 4);
    assert_eq!(within(asked.into_future()).await.unwrap(), 8);
    runtime.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_permissions_of_the_page_suffice_for_all_that_a_bus_can_do() {
    let Some(vhost) = vhost().await else { return };
    let bus = RabbitMqBus::connect(user(&vhost).await).await.unwrap();
    let queue = QueueName::new("work").unwrap();
    bus.declare(QueueSpec::new(queue.clone())).await.unwrap();
    let fanout = coditect_core::bus::FanoutName::new("all").unwrap();
    let mut hears = bus
        .subscribe(Subscription::fanout(fanout.clone()))
        .await
        .unwrap();
    let pattern = "a.#".parse().unwrap();
    let mut reads = bus.subscribe(Subscription::topic(pattern)).await.unwrap();
    let delay = Duration::from_millis(20);
    let later = || Envelope::new("x").with_delay(delay);
    bus.publish(&fanout.into(), later()).await.unwrap();
    bus.publish(
        &coditect_core::bus::Destination::Topic("a.b".parse().unwrap()),
        later(),
    )
    .await
    .unwrap();
    bus.publish(&queue.clone().into(), later()).await.unwrap();
    let mut works = bus
        .subscribe(Subscription::queue(queue.clone()))
        .await
        .unwrap();
    for consumer in [&mut hears, &mut reads] {
        within(consumer.recv()).await.unwrap().ack().await.unwrap();
    }
    within(works.recv())
        .await
        .unwrap()
        .nack(delay)
        .await
        .unwrap();
    within(works.recv())
        .await
        .unwrap()
        .reject("no")
        .await
        .unwrap();
    let all = DeadLetterFilter::default();
    assert_eq!(bus.redrive(&queue, &all).await.unwrap(), 1);
    within(works.recv())
        .await
        .unwrap()
        .reject("no")
        .await
        .unwrap();
    assert_eq!(bus.purge_dead_letters(&queue, &all).await.unwrap(), 1);
    assert!(bus.delete(&queue).await.unwrap());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn another_namespace_is_closed_to_that_user() {
    let Some(vhost) = vhost().await else { return };
    let url = user(&vhost).await;
    for namespace in ["elsewhere", "coditect2"] {
        let builder = RabbitMqBus::builder(url.clone()).with_namespace(namespace);
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{namespace}: {error:?}");
    }
}
