//! How many tasks with their outcomes go through in a second, and what one costs.

use coditect_harness::RabbitMq;
use tokio::time::Instant;

use super::{Pair, median, plain, report, usage};

/// Tasks of one sample.
pub(crate) const TASKS: usize = 10_000;
pub(crate) const SAMPLES: usize = 5;

/// What one sample came to.
#[derive(Default)]
pub(crate) struct Samples {
    /// Tasks in a second.
    pub(crate) rate: Vec<f64>,
    /// Microseconds of processor time for a task: of our processes, and of the broker.
    pub(crate) clients: Vec<f64>,
    pub(crate) broker: Vec<f64>,
}

pub(crate) async fn measure(broker: &RabbitMq) {
    let vhost = broker.vhost().await.unwrap();
    let by_hand = plain::Plain::connect(&vhost.url()).await;
    let pair = Pair::start(&vhost).await;
    let server = usage::process_of(broker).await;
    let clients = [std::process::id(), pair.worker.id()];
    let (mut ours, mut single, mut batched) = <(Samples, Samples, Samples)>::default();
    for _ in 0..SAMPLES {
        single
            .take(server, &clients, by_hand.work_queue(TASKS, 1))
            .await;
        ours.take(server, &clients, pair.run(TASKS)).await;
        batched
            .take(server, &clients, by_hand.work_queue(TASKS, 32))
            .await;
    }
    pair.end().await;
    by_hand.close().await;
    let Samples {
        rate,
        clients,
        broker,
    } = ours;
    let (rate, clients, broker) = (median(rate), median(clients), median(broker));
    println!(
        "a plan of {TASKS} tasks over the bus, {} bytes each",
        plain::PAYLOAD.len()
    );
    for (name, theirs) in [("acks one by one", single), ("acks 32 at once", batched)] {
        println!("against lapin, {name}");
        report("  tasks/s", rate, median(theirs.rate));
        report(
            "  µs of clients for a task",
            clients,
            median(theirs.clients),
        );
        report(
            "  µs of the broker for a task",
            broker,
            median(theirs.broker),
        );
    }
}

impl Samples {
    pub(crate) async fn take(&mut self, server: u32, clients: &[u32], work: impl Future) {
        let used = || {
            clients
                .iter()
                .map(|client| usage::processor(*client))
                .sum::<f64>()
        };
        let (before, server_before, began) = (used(), usage::processor(server), Instant::now());
        work.await;
        let per_task = |seconds: f64| seconds * 1e6 / TASKS as f64;
        self.rate.push(TASKS as f64 / began.elapsed().as_secs_f64());
        self.clients.push(per_task(used() - before));
        self.broker
            .push(per_task(usage::processor(server) - server_before));
    }
}
