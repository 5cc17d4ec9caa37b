//! What operators do to a broker while runs are under way, and limits that were set too low.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::FailureKind;
use coditect_core::bus::{MessageBus, RabbitMqBus};
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Vhost, required};
use serde_json::json;

use crate::place::{
    Gate, QUEUE, WORK, at_broker, coordinator, failure, numbers, runtime, vhost, within, work,
    worker,
};
use crate::process::until;

/// Begins a run of which some tasks are worked on and others wait in their queue.
async fn under_way(coordinator: &Runtime, gate: &Gate) -> RunHandle<Vec<u64>> {
    let run = coordinator.submit_plan(numbers(40)).await.unwrap();
    gate.has_begun(4).await;
    run
}

async fn ends_rightly(run: RunHandle<Vec<u64>>, gate: &Gate) {
    gate.let_through(1_000);
    let all: Vec<u64> = (0..40).collect();
    assert_eq!(within(run.result()).await.unwrap(), all);
}

async fn shut_down(runtimes: impl IntoIterator<Item = Runtime>) {
    for runtime in runtimes {
        within(runtime.shutdown()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_the_deletion_of_its_capability_queue() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    for priority in 0..3 {
        vhost
            .delete_queue(&at_broker(QUEUE, priority))
            .await
            .unwrap();
    }
    ends_rightly(run, &gate).await;
    shut_down([coordinator, worker]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_the_deletion_of_its_capability_queue_while_nobody_works() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let first = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    // Its handlers are told to stop, and their tasks wait in the queue.
    let _ = within(first.shutdown()).await;
    for priority in 0..3 {
        vhost
            .delete_queue(&at_broker(QUEUE, priority))
            .await
            .unwrap();
    }
    let second = worker(&vhost, 4, &gate).await;
    ends_rightly(run, &gate).await;
    shut_down([coordinator, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_the_deletion_of_its_outcome_queue() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    for queue in vhost.queues().await.unwrap() {
        if queue.starts_with("coditect.outcome.") {
            vhost.delete_queue(&queue).await.unwrap();
        }
    }
    ends_rightly(run, &gate).await;
    shut_down([coordinator, worker]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_virtual_host_that_comes_back_empty() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    let hopeless = coordinator
        .submit(&WORK, 1)
        .deadline(Duration::from_secs(2))
        .await
        .unwrap();
    vhost.delete().await.unwrap();
    // Deadlines hold without a broker.
    let told = failure(within(hopeless.result()).await);
    assert_eq!(told.kind, FailureKind::DeadlineExceeded);
    make_again(&vhost).await;
    ends_rightly(run, &gate).await;
    shut_down([coordinator, worker]).await;
}

async fn make_again(vhost: &Vhost<'_>) {
    let (broker, name) = (vhost.broker(), vhost.name());
    let path = format!("/api/vhosts/{name}");
    broker.manage("PUT", &path, Some(&json!({}))).await.unwrap();
    let path = format!("/api/permissions/{name}/guest");
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    broker.manage("PUT", &path, Some(&all)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtimes_end_in_time_when_their_virtual_host_is_gone_for_good() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    vhost.delete().await.unwrap();
    let ending = async {
        // What the handlers did cannot be told any more, so they may not count as drained.
        let _ = worker.shutdown().await;
        let _ = coordinator.shutdown().await;
    };
    let soon = Duration::from_secs(10);
    tokio::time::timeout(soon, ending).await.expect("they end");
    within(run.result())
        .await
        .expect_err("nobody carries it on");
    let started = within(runtime(vhost.url()).start()).await;
    let text = format!("{:?}", started.expect_err("it starts"));
    assert!(text.contains("does not exist"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_its_password_holds_again() {
    let Some(vhost) = vhost().await else { return };
    let (broker, name) = (vhost.broker(), vhost.name());
    let user = format!("/api/users/{name}");
    let password = |word: &str| json!({"password": word, "tags": ""});
    broker
        .manage("PUT", &user, Some(&password("first")))
        .await
        .unwrap();
    let path = format!("/api/permissions/{name}/{name}");
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    broker.manage("PUT", &path, Some(&all)).await.unwrap();
    let url = format!("amqp://{name}:first@{}/{name}", broker.place());
    let gate = Gate::closed();
    let builder = runtime(url.clone()).worker_only();
    let worker = builder.agent(work(4, &gate)).start().await.unwrap();
    let coordinator = runtime(url.clone()).start().await.unwrap();
    let run = under_way(&coordinator, &gate).await;
    broker
        .manage("PUT", &user, Some(&password("second")))
        .await
        .unwrap();
    assert!(vhost.close_connections().await.unwrap() >= 4);
    let refused = within(runtime(url).start()).await;
    let text = format!("{:?}", refused.expect_err("it starts"));
    assert!(
        text.contains("credentials") && !text.contains("first"),
        "{text}"
    );
    broker
        .manage("PUT", &user, Some(&password("first")))
        .await
        .unwrap();
    ends_rightly(run, &gate).await;
    shut_down([coordinator, worker]).await;
    broker.manage("DELETE", &user, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_out_an_alarm_of_the_broker() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = under_way(&coordinator, &gate).await;
    broker.set_memory_alarm(true).await.unwrap();
    until("the broker blocks publishers", async || {
        let connections = broker
            .manage("GET", "/api/connections", None)
            .await
            .unwrap();
        let connections = connections.as_array().unwrap().clone();
        connections
            .iter()
            .any(|one| one["state"] == json!("blocking"))
    })
    .await;
    // Nobody can tell an outcome now. Nothing may be lost by that, nor may a deadline be missed.
    gate.let_through(4);
    let hopeless = coordinator
        .submit(&WORK, 1)
        .deadline(Duration::from_secs(2))
        .await
        .unwrap();
    let told = failure(within(hopeless.result()).await);
    assert_eq!(told.kind, FailureKind::DeadlineExceeded);
    broker.set_memory_alarm(false).await.unwrap();
    ends_rightly(run, &gate).await;
    shut_down([coordinator, worker]).await;
}

const SPELL: Call<usize, String> = Call::new("spell");

/// Answers with so many letters.
fn spell() -> impl Agent {
    agent("spell", async |length: usize| {
        Ok::<_, AgentError>("a".repeat(length))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_over_a_limit_fails_its_task_with_the_reason() {
    let Some(vhost) = vhost().await else { return };
    // The bus of this worker takes less than its runtime.
    let builder = RabbitMqBus::builder(vhost.url()).with_max_payload(100_000);
    let bus: Arc<dyn MessageBus> = Arc::new(builder.connect().await.unwrap());
    let builder = Runtime::builder().bus(Arc::clone(&bus)).worker_only();
    let worker = builder.agent(spell()).start().await.unwrap();
    let coordinator = coordinator(&vhost).await;
    assert_eq!(
        within(coordinator.run(&SPELL, 50_000)).await.unwrap().len(),
        50_000
    );
    for (length, limit) in [(200_000, "100000"), (2_000_000, "1048576")] {
        let told = failure(within(coordinator.run(&SPELL, length)).await);
        assert_eq!(told.kind, FailureKind::TooLarge, "{told:?}");
        assert!(told.to_string().contains(limit), "{told}");
    }
    shut_down([coordinator, worker]).await;
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_brokers_own_limit_fails_its_task_and_no_other() {
    let Some(broker) = required(RabbitMq::private(&["max_message_size = 100000"])).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let builder = runtime(vhost.url()).worker_only();
    let echo = agent("echo", async |text: String| Ok::<_, AgentError>(text.len()));
    let worker = builder.agent(spell()).agent(echo).start().await.unwrap();
    let coordinator = coordinator(&vhost).await;
    let output = failure(within(coordinator.run(&SPELL, 200_000)).await);
    assert_eq!(output.kind, FailureKind::TooLarge, "{output:?}");
    let input = "a".repeat(200_000);
    let echo = call::<String, usize>("echo");
    let input = failure(within(coordinator.run(&echo, input)).await);
    assert_eq!(input.kind, FailureKind::TooLarge, "{input:?}");
    assert_eq!(
        within(coordinator.run(&SPELL, 1_000)).await.unwrap().len(),
        1_000
    );
    shut_down([coordinator, worker]).await;
}
