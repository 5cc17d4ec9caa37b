//! A flow of work in spite of everything: nothing that was confirmed is lost, nothing that was acknowledged is counted twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Envelope, MessageBus, MessageId, RabbitMqBus};
use coditect_harness::{RabbitMq, Relay, required, seed};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{bus_at, consumer, to_queue, until, vhost};

/// How many messages a flow has at least; `CODITECT_TEST_FLOW` asks for another number. With those of the flows whose processes are
/// killed they are more than 20,000.
fn size() -> usize {
    let asked = std::env::var("CODITECT_TEST_FLOW").ok();
    asked.map_or(6_000, |text| text.parse().expect("a number"))
}

/// What happened to the messages of a flow, by their ids. Whoever sees one for the second time refuses it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    confirmed: HashSet<MessageId>,
    accepted: HashSet<MessageId>,
    /// Those that had been accepted before: the broker never heard of the acknowledgement, or the publisher of the confirm.
    refused: usize,
    pub(crate) redeliveries: usize,
}

impl Ledger {
    pub(crate) fn confirm(&mut self, id: MessageId) {
        assert!(self.confirmed.insert(id), "confirmed twice: {id}");
    }

    pub(crate) fn accept(&mut self, id: MessageId, redelivered: bool) {
        self.redeliveries += usize::from(redelivered);
        if !self.accepted.insert(id) {
            self.refused += 1;
        }
    }

    fn lost(&self) -> usize {
        self.confirmed.difference(&self.accepted).count()
    }
}

/// Publishes until told to stop, each message until it is confirmed.
async fn publish(bus: RabbitMqBus, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let envelope = Envelope::new("work");
        let id = envelope.id();
        while bus.publish(&to_queue(), envelope.clone()).await.is_err() {}
        ledger.lock().confirm(id);
    }
}

async fn work(bus: RabbitMqBus, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    let mut consumer = consumer(&bus, 16).await;
    while let Some(Some(delivery)) = stop.run_until_cancelled(consumer.recv()).await {
        let (id, redelivered) = (delivery.envelope().id(), delivery.redeliveries() > 0);
        if delivery.ack().await.is_ok() {
            ledger.lock().accept(id, redelivered);
        }
    }
}

pub(crate) struct Flow {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    stop_publishing: CancellationToken,
    stop_working: CancellationToken,
    publishers: JoinSet<()>,
    workers: JoinSet<()>,
}

impl Flow {
    pub(crate) fn start(bus: &RabbitMqBus, publishers: usize, workers: usize) -> Self {
        let mut flow = Self {
            ledger: Arc::default(),
            stop_publishing: CancellationToken::new(),
            stop_working: CancellationToken::new(),
            publishers: JoinSet::new(),
            workers: JoinSet::new(),
        };
        for _ in 0..publishers {
            let (ledger, stop) = (Arc::clone(&flow.ledger), flow.stop_publishing.clone());
            flow.publishers.spawn(publish(bus.clone(), ledger, stop));
        }
        for _ in 0..workers {
            let (ledger, stop) = (Arc::clone(&flow.ledger), flow.stop_working.clone());
            flow.workers.spawn(work(bus.clone(), ledger, stop));
        }
        flow
    }

    pub(crate) fn confirmed(&self) -> usize {
        self.ledger.lock().confirmed.len()
    }

    fn done(&self) -> usize {
        self.ledger.lock().accepted.len()
    }

    /// Waits until so many more messages are done, for as long as some are.
    pub(crate) async fn until_done(&self, more: usize) {
        let goal = self.done() + more;
        while self.done() < goal {
            let before = self.done();
            until("the flow goes on", async || self.done() > before).await;
        }
    }

    /// Stops publishing, waits until all that was confirmed is done, and says how it went.
    pub(crate) async fn end(self, what: &str) {
        const PATIENCE: Duration = Duration::from_secs(60);
        self.stop_publishing.cancel();
        let stopped = timeout(PATIENCE, self.publishers.join_all()).await;
        stopped.expect("the publishers stop");
        let settled = async || self.ledger.lock().lost() == 0;
        until("all that was confirmed is done", settled).await;
        self.stop_working.cancel();
        let stopped = timeout(PATIENCE, self.workers.join_all()).await;
        stopped.expect("the workers stop");
        let ledger = self.ledger.lock();
        println!(
            "{what}: {} confirmed, {} lost, {} accepted, each once; {} redeliveries, {} of them refused as done",
            ledger.confirmed.len(),
            ledger.lost(),
            ledger.accepted.len(),
            ledger.redeliveries,
            ledger.refused,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_connections_are_cut_at_random() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let seed = seed();
    let flow = Flow::start(&bus, 8, 2);
    let cutting = relay.cut_at_random(seed, Duration::from_millis(500));
    flow.until_done(size()).await;
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
    let flow = Flow::start(&bus, 8, 2);
    flow.until_done(size() / 2).await;
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
    flow.until_done(size() / 2).await;
    flow.end("broker killed").await;
    bus.close().await.unwrap();
}
