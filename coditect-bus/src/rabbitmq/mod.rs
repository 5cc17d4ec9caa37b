//! The RabbitMQ backend: the contract of the bus on a broker that several processes share.
//!
//! A queue of the bus is three queues of the broker, one per priority, and one for its dead letters (see `topology`).
//! The bus keeps two connections, because the broker blocks publishers when it is short of memory, and acknowledgements must go through all
//! the same. Each has a supervisor that never gives up (`link`). Each consumer has a channel and a task that keeps it subscribed
//! (`consumer`); its deliveries are leases of that channel, and are lost with it (`lease`).

use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod config;
mod consumer;
mod core;
mod dead;
mod error;
mod health;
mod lease;
mod leave;
mod link;
mod name;
mod publish;
mod query;
mod topology;
mod wire;

pub use config::{QueueKind, RabbitMqBusBuilder};
pub use health::Health;

use self::core::Core;
use config::Address;
use consumer::RabbitMqConsumer;
use health::Pulse;
use link::Link;
use name::Names;
use publish::Publisher;
use topology::Topology;

use crate::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Error,
    MessageBus, Observer, Page, PublishError, QueueName, QueueSpec, QueueStats, Silent, Source,
    Subscription,
};

/// Carries messages over a RabbitMQ broker, 3.10 or newer.
///
/// A clone is another handle on the same bus, with the same connections. It ends with its last handle, or when it is closed.
///
/// What differs from the memory bus, within the contract:
///
/// - Each priority of a queue has the queue's capacity for itself, and quorum queues may take a few messages more.
/// - A consumer is sent up to its prefetch of each priority ahead. So a message may wait behind a busy consumer, up to its prefetch;
///   with a small prefetch little waits. A consumer that is dropped gives back what it had not handed out, which quorum queues before 4.3 count
///   as a delivery.
/// - Priorities keep their shares: a turn whose owner has nothing here is kept for it for at most 20 ms while the broker probably has more,
///   so that any 16 takes are off by one or two at most, whatever the prefetch. Only a broker slower than that shifts them.
/// - Delays are rounded up by at most a quarter. Messages that spend one do not count against the capacity; one that is over while the
///   queue is full waits on, in minutes rather than milliseconds, and those of other processes are not in [`QueueStats::delayed`].
/// - A full queue of a topic's or fanout's group drops its oldest message, whatever its policy: refusing it for one would refuse it for all.
/// - Acknowledgements are on their way when they return `Ok`; if the connection breaks at that moment the message comes again.
/// - A queue that is gone when the connection is back, with the broker's data or because it expired, ends its consumers as a deleted one does:
///   what it held is lost, and whoever subscribes anew knows. Only subscribers without a group, who have no claim to anything, go on.
/// - What is over the broker's own `max_message_size` is `TooLarge`, too. The first time on a connection, what was in flight beside it may be
///   refused with an unknown outcome.
/// - The dead letters of a temporary queue outlive it by up to a week if its process was killed.
///
/// ```no_run
/// use coditect_bus::{Envelope, MessageBus, QueueName, QueueSpec, RabbitMqBus, Subscription};
///
/// # async fn example() -> Result<(), coditect_bus::Error> {
/// let bus = RabbitMqBus::connect("amqp://guest:guest@localhost:5672").await?;
/// let queue = QueueName::new("greetings")?;
/// bus.declare(QueueSpec::new(queue.clone())).await?;
/// bus.publish(&queue.clone().into(), Envelope::new("hello")).await?;
///
/// let mut consumer = bus.subscribe(Subscription::queue(queue)).await?;
/// consumer.recv().await.expect("the bus is open").ack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RabbitMqBus(Arc<Shared>);

/// Closes the bus with its last handle; its tasks hold the core only.
#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    _closes: DropGuard,
}

impl RabbitMqBus {
    /// Connects with the usual limits.
    ///
    /// The URL has the form `amqp[s]://user:password@host:port/vhost?name=value&…`; the virtual host is `/` unless named. Its
    /// parameters count before what a builder says:
    ///
    /// | parameter | meaning |
    /// |---|---|
    /// | `namespace` | as [`with_namespace`](RabbitMqBusBuilder::with_namespace) |
    /// | `queue_kind` | `quorum` or `classic` |
    /// | `cacertfile` | a file with certificate authorities in PEM, trusted beside those of the system |
    /// | `certfile`, `keyfile` | files with a client's certificate chain and private key in PEM |
    /// | `heartbeat` | seconds |
    /// | `connection_timeout` | milliseconds |
    ///
    /// # Errors
    ///
    /// Those of [`RabbitMqBusBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`RabbitMqBusBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Begins a bus with limits of its own.
    pub fn builder(url: impl Into<String>) -> RabbitMqBusBuilder {
        RabbitMqBusBuilder::new(url.into())
    }

    /// Says how the bus fares: whether it can publish and consume, and when it last did both.
    #[must_use]
    pub fn health(&self) -> Health {
        self.core().health()
    }

    /// Breaks the connection for consuming, as an accident does, and returns when all consumers have noticed.
    #[cfg(any(test, feature = "test-util"))]
    pub async fn sever(&self) {
        let core = self.core();
        let before: Vec<_> = core
            .attached()
            .into_iter()
            .map(|leases| (leases.epoch(), leases))
            .collect();
        if let Some(connection) = core.consuming.connection() {
            let _ = connection.close(200, "severed".into()).await;
        }
        while before
            .iter()
            .any(|(epoch, leases)| leases.epoch() == *epoch)
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Waits until every consumer has a message of every priority at hand; for ever, if there is none of some.
    #[cfg(any(test, feature = "test-util"))]
    pub async fn all_at_hand(&self) {
        while !self
            .core()
            .attached()
            .iter()
            .all(|leases| leases.has_all_at_hand())
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn from_config(config: RabbitMqBusBuilder, address: Address) -> Result<Self, Error> {
        let names = Names::new(&config.namespace);
        let (closed, tasks) = (CancellationToken::new(), TaskTracker::new());
        let open = |what| {
            let (address, names) = (address.clone(), names.clone());
            Link::open(what, address, names, config.connect_timeout, closed.clone())
        };
        let publishing = open("publishing").await?;
        let consuming = open("consuming").await?;
        for link in [&publishing, &consuming] {
            tasks.spawn(Arc::clone(link).supervise());
        }
        let core = Arc::new(Core {
            topology: Topology::new(&config, names, Arc::clone(&consuming)),
            publisher: Publisher::new(
                Arc::clone(&publishing),
                config.max_in_flight.get(),
                config.confirm_timeout,
                tasks.clone(),
            ),
            publishing,
            consuming,
            observer: config.observer.clone(),
            consumers: Default::default(),
            pulse: Pulse::default(),
            closed: closed.clone(),
            tasks,
            runtime: Handle::current(),
            config,
        });
        core.spawn(health::beat(Arc::clone(&core)));
        Ok(Self(Arc::new(Shared {
            core,
            _closes: closed.drop_guard(),
        })))
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.core
    }
}

#[async_trait]
impl MessageBus for RabbitMqBus {
    fn capabilities(&self) -> Capabilities {
        let core = self.core();
        let is_quorum = core.config.kind == QueueKind::Quorum;
        Capabilities {
            persistent: true,
            requeue_at_front: is_quorum,
            exact_capacity: !is_quorum,
            shared_capacity: false,
            max_payload: core.config.max_payload,
            max_hold: core.config.max_hold(),
        }
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    fn observer(&self) -> &dyn Observer {
        self.core().observer.as_deref().unwrap_or(&Silent)
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), Error> {
        let core = self.core();
        core.check_open()?;
        core.topology
            .declare(spec, None)
            .await
            .map_err(|error| core.explain(error))
    }

    async fn delete(&self, queue: &QueueName) -> Result<bool, Error> {
        let core = self.core();
        core.check_open()?;
        let existed = core
            .topology
            .delete(queue)
            .await
            .map_err(|error| core.explain(error))?;
        core.end_consumers(Some(queue));
        Ok(existed)
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        self.core().publish(to, envelope).await
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        self.core().publish_batch(to, envelopes).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error> {
        let core = self.core();
        core.check_open()?;
        let source = subscription.source();
        let queue = source.queue_name()?;
        if let Source::Topic(_, group) | Source::Fanout(_, group) = source {
            let mut spec = match group {
                Some(_) => QueueSpec::new(queue.clone()),
                None => QueueSpec::temporary(queue.clone()),
            };
            spec.bounds = subscription.bounds;
            let declared = core.topology.declare(spec, Some(source.clone())).await;
            declared.map_err(|error| core.explain(error))?;
        }
        let consumer = RabbitMqConsumer::start(core, queue, subscription.prefetch().get()).await;
        consumer
            .map(Consumer::new)
            .map_err(|error| core.explain(error))
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error> {
        let core = self.core();
        core.check_open()?;
        let mut stats = core
            .topology
            .stats(queue)
            .await
            .map_err(|error| core.explain(error))?;
        stats.unacked = core
            .attached()
            .iter()
            .filter(|leases| leases.queue == *queue)
            .map(|leases| leases.held())
            .sum();
        Ok(stats)
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        self.core().check_open()?;
        self.core().dead_letters(queue, filter, page).await
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error> {
        self.core().check_open()?;
        self.core().redrive(queue, filter).await
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        self.core().check_open()?;
        self.core().purge(queue, filter).await
    }

    async fn close(&self) -> Result<(), Error> {
        let core = self.core();
        core.closed.cancel();
        core.end_consumers(None);
        core.tasks.close();
        // Everything has been told to end; what does not, as with a broker that hangs, ends with the process.
        let patience = std::time::Duration::from_secs(5);
        timeout(patience, core.tasks.wait()).await.map_err(|_| {
            Error::new(
                crate::ErrorKind::Unavailable,
                "broker did not take leave in time",
            )
        })
    }
}
