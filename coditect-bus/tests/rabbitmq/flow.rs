//! A flow of work in spite of everything: nothing that was confirmed is lost, nothing that was acknowledged is counted twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Envelope, MessageBus, MessageId, RabbitMqBus};
use coditect_harness::{RabbitMq, Relay, required, seed};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{bus_at, consumer, to_queue, until, vhost};

/// How many messages a flow has at least; `CODITECT_TEST_FLOW` asks for another number.
fn size() -> usize {
    let asked = std::env::var("CODITECT_TEST_FLOW").ok();
    asked.map_or(1_000, |text| text.parse().expect("a number"))
}

/// Waits until so many more messages are done, for as long as some are.
async fn done(flow: &Flow, more: usize) {
    let goal = flow.done() + more;
    while flow.done() < goal {
        let before = flow.done();
        until("the flow goes on", async || flow.done() > before).await;
    }
}

/// What happened to the messages of a flow.
#[derive(Debug, Default)]
struct Ledger {
    confirmed: HashSet<MessageId>,
    done: HashSet<MessageId>,
    /// Acknowledgements of what had been acknowledged before: the broker never heard of the first.
    again: usize,
    redeliveries: usize,
    last_done: Option<Instant>,
}

/// Publishes until told to stop, each message until it is confirmed.
async fn publish(bus: RabbitMqBus, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let envelope = Envelope::new("work");
        let id = envelope.id();
        while bus.publish(&to_queue(), envelope.clone()).await.is_err() {}
        ledger.lock().confirmed.insert(id);
    }
}

async fn work(bus: RabbitMqBus, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    let mut consumer = consumer(&bus, 16).await;
    while let Some(Some(delivery)) = stop.run_until_cancelled(consumer.recv()).await {
        let (id, redelivered) = (delivery.envelope().id(), delivery.redeliveries() > 0);
        if delivery.ack().await.is_ok() {
            let mut ledger = ledger.lock();
            ledger.redeliveries += usize::from(redelivered);
            ledger.last_done = Some(Instant::now());
            if !ledger.done.insert(id) {
                ledger.again += 1;
            }
        }
    }
}

struct Flow {
    ledger: Arc<Mutex<Ledger>>,
    stop_publishing: CancellationToken,
    stop_working: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Flow {
    fn start(bus: &RabbitMqBus) -> Self {
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (stop_publishing, stop_working) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = Vec::new();
        for _ in 0..8 {
            tasks.push(tokio::spawn(publish(
                bus.clone(),
                Arc::clone(&ledger),
                stop_publishing.clone(),
            )));
        }
        for _ in 0..2 {
            tasks.push(tokio::spawn(work(
                bus.clone(),
                Arc::clone(&ledger),
                stop_working.clone(),
            )));
        }
        Self {
            ledger,
            stop_publishing,
            stop_working,
            tasks,
        }
    }

    fn done(&self) -> usize {
        self.ledger.lock().done.len()
    }

    /// Stops publishing, waits until all that was confirmed is done, and says how it went.
    async fn end(self, what: &str) {
        self.stop_publishing.cancel();
        let ledger = Arc::clone(&self.ledger);
        let settled = async || {
            let ledger = ledger.lock();
            ledger.confirmed.is_subset(&ledger.done)
        };
        until("all that was confirmed is done", settled).await;
        self.stop_working.cancel();
        for task in self.tasks {
            timeout(Duration::from_secs(60), task)
                .await
                .expect("it stops")
                .unwrap();
        }
        let ledger = self.ledger.lock();
        println!(
            "{what}: {} confirmed, all done; {} redelivered, {} acknowledged more than once",
            ledger.confirmed.len(),
            ledger.redeliveries,
            ledger.again
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_connections_are_cut_at_random() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let seed = seed();
    let flow = Flow::start(&bus);
    let cutting = relay.cut_at_random(seed, Duration::from_millis(500));
    done(&flow, size()).await;
    until("there were some cuts", async || relay.accepted() >= 12).await;
    drop(cutting);
    flow.end("connections cut").await;
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_is_killed_in_mid_flow() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let bus = bus_at(broker.url()).await;
    broker.settle().await.unwrap();
    let flow = Flow::start(&bus);
    done(&flow, size() / 2).await;
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    let (up, before) = (Instant::now(), flow.done());
    until("the flow is back", async || flow.done() > before).await;
    println!("flow was back {:?} after the broker", up.elapsed());
    assert!(
        up.elapsed() < Duration::from_secs(5),
        "took {:?}",
        up.elapsed()
    );
    done(&flow, size() / 2).await;
    flow.end("broker killed").await;
    bus.close().await.unwrap();
}
