//! A work queue: competing workers, an urgent job, a worker that dies, a job that cannot be done yet.
//!
//! ```sh
//! cargo run -p coditect-examples --example work_queue -- [--bus amqp://…]
//! ```
//!
//! Six invoices are to be sent, the last of them urgent. A first worker takes a job and dies over it; nothing is lost, the
//! job goes back. Then two workers share the queue, each job with one of them at a time, the urgent one first. One customer
//! has no address: its job can never be done as things are, so the worker *rejects* it, and it becomes a dead letter with its
//! reason, out of everybody's way. A person adds the address and *redrives* the dead letter: it is a job again, and is done.
//!
//! ```text
//! queued: 6, of which 1 urgent
//! first: umbrella, but its worker dies
//! again: umbrella, delivered before
//! sent: acme, globex, hooli, stark, umbrella
//! dead letter: initech: rejected: no address for initech
//! redriven: 1
//! sent: initech
//! left: 0 waiting, 0 dead letters
//! ```
//!
//! Agents have all of this built in: the tasks of a capability are such a queue, agents compete for them, and failures are
//! retried by the run. Use the bus itself for messages of your own.
//!
//! With `--bus` the same goes over RabbitMQ. There workers may be processes on other machines, and the queue and its dead letters
//! outlive them all; a worker is sent a job of each priority ahead, so those may count as delivered before, too. A
//! worker that dies or loses its connection gives its jobs back in the same way. A job may then be done twice (the worker died
//! after sending, before acknowledging), so what it does must bear repetition.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, bail};
use coditect_core::bus::{
    DeadLetterFilter, Destination, Envelope, MessageBus, MessageBusExt, Page, QueueName, QueueSpec,
    Subscription, TypedConsumer,
};
use coditect_core::prelude::*;
use coditect_examples::say;
use serde::{Deserialize, Serialize};
use tokio::sync::{RwLock, mpsc};
use tokio::task::JoinSet;

#[derive(Debug, Serialize, Deserialize)]
struct Invoice {
    customer: String,
    cents: u32,
}

type AddressBook = RwLock<HashMap<String, String>>;

/// What a worker tells of a job that it is done with.
enum Done {
    Sent { customer: String, redeliveries: u32 },
    Rejected,
}

/// A worker holds one job at a time, so that none waits behind a busy colleague.
const ONE: NonZeroUsize = NonZeroUsize::MIN;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = coditect_examples::bus::from_arguments();
    let runtime = Runtime::builder().bus(url.as_str()).start().await;
    let runtime = runtime.map_err(|error| url.explain(error))?;
    let bus = runtime.bus();
    let queue = QueueName::new("invoices")?;
    bus.declare(QueueSpec::new(queue.clone())).await?;

    let jobs = Destination::Queue(queue.clone());
    for customer in ["acme", "globex", "hooli", "initech", "stark"] {
        bus.send(&jobs, &invoice(customer)).await?;
    }
    let urgent = Envelope::json(&invoice("umbrella"))?.with_priority(Priority::P0);
    bus.publish(&jobs, urgent).await?;
    let stats = bus.stats(&queue).await?;
    say!(
        "queued: {}, of which {} urgent",
        stats.ready(),
        stats.ready_of(Priority::P0)
    );

    let one_at_a_time = || Subscription::queue(queue.clone()).with_prefetch(ONE);
    let mut unlucky = bus.consume::<Invoice>(one_at_a_time()).await?;
    let held = unlucky.recv().await.context("the bus was closed")?;
    let first = held.value.customer.clone();
    say!("first: {first}, but its worker dies");
    // Together, as when a process dies: what is given back goes to somebody else.
    drop((unlucky, held));

    let known = ["acme", "globex", "hooli", "stark", "umbrella"];
    let addresses = known.map(|customer| (customer.to_owned(), format!("{customer}@example.org")));
    let addresses = Arc::new(AddressBook::new(HashMap::from(addresses)));
    let (reports, mut done) = mpsc::channel(stats.ready());
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        let jobs = bus.consume(one_at_a_time()).await?;
        workers.spawn(work(jobs, Arc::clone(&addresses), reports.clone()));
    }

    let mut sent = Vec::new();
    for _ in 0..stats.ready() {
        if let Done::Sent {
            customer,
            redeliveries,
        } = done.recv().await.context("the workers have stopped")?
        {
            if customer == first && redeliveries > 0 {
                say!("again: {customer}, delivered before");
            }
            sent.push(customer);
        }
    }
    sent.sort();
    say!("sent: {}", sent.join(", "));

    redrive(bus, &queue, &addresses).await?;
    match done.recv().await {
        Some(Done::Sent { customer, .. }) => say!("sent: {customer}"),
        _ => bail!("the redriven invoice was not sent"),
    }
    let stats = bus.stats(&queue).await?;
    say!(
        "left: {} waiting, {} dead letters",
        stats.ready(),
        stats.dead_letters
    );

    // Ends the workers. A bus that others use too is not closed by a runtime that shuts down.
    runtime.shutdown().await?;
    bus.close().await?;
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends invoices until the bus is closed. A job is acknowledged when it is done: whoever dies before gives it back.
async fn work(
    mut jobs: TypedConsumer<Invoice>,
    addresses: Arc<AddressBook>,
    reports: mpsc::Sender<Done>,
) -> anyhow::Result<()> {
    while let Some(job) = jobs.recv().await {
        let redeliveries = job.delivery.redeliveries();
        let customer = job.value.customer;
        let report = if addresses.read().await.contains_key(&customer) {
            // Here the invoice of `job.value.cents` goes out to the address.
            job.delivery.ack().await?;
            Done::Sent {
                customer,
                redeliveries,
            }
        } else {
            job.delivery
                .reject(format!("no address for {customer}"))
                .await?;
            Done::Rejected
        };
        reports.send(report).await?;
    }
    Ok(())
}

/// Looks at what was set aside, mends its cause, and puts it back.
async fn redrive(
    bus: &Arc<dyn MessageBus>,
    queue: &QueueName,
    addresses: &AddressBook,
) -> anyhow::Result<()> {
    let all = DeadLetterFilter::all();
    for letter in bus
        .dead_letters(queue, &all, Page::default())
        .await?
        .letters
    {
        let customer = letter.envelope.decode::<Invoice>()?.customer;
        say!("dead letter: {customer}: {}", letter.reason);
        addresses
            .write()
            .await
            .insert(customer.clone(), format!("{customer}@example.org"));
    }
    say!("redriven: {}", bus.redrive(queue, &all).await?);
    Ok(())
}

fn invoice(customer: &str) -> Invoice {
    Invoice {
        customer: customer.to_owned(),
        cents: 19_900,
    }
}
