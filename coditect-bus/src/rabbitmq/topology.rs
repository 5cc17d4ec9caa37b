//! What is declared at the broker: exchanges, the queues behind a queue of the bus, and where messages spend a delay.
//!
//! ```text
//!            ┌ direct ──────────┐  q.p0 ┐                      ┌ q.dead
//! publish ──▶│ topic.p0 p1 p2   ├▶ q.p1 ├ dead-letters ─▶ dead ┤
//!            └ fanout.p0 p1 p2  ┘  q.p2 ┘                      └ …
//!     delayed: q.p1.wait500 ── after its time to live ─▶ direct
//! ```
//!
//! A fanout is a routing key rather than an exchange of its own: a publish to an exchange that is not there would cost the channel,
//! and all that is in flight on it.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::config::{QueueKind, RabbitMqBusBuilder};
use super::error::{self, Failure};
use super::link::Link;
use super::name::{self, Names};
use crate::{
    Destination, Error, OverflowPolicy, Priority, QueueLifetime, QueueName, QueueSpec, QueueStats,
    Source,
};

/// Where a message is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) exchange: String,
    pub(super) key: String,
}

/// What this process knows of a queue, because it declared it or joined its group.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) spec: QueueSpec,
    pub(super) source: Option<Source>,
}

#[derive(Debug)]
pub(super) struct Topology {
    pub(super) names: Names,
    kind: QueueKind,
    max_dead_letters: usize,
    temporary_expiry: Duration,
    patience: Duration,
    link: Arc<Link>,
    known: Mutex<FxHashMap<QueueName, Known>>,
    /// The wait queues that are known to exist, by name.
    waits: Mutex<FxHashSet<String>>,
    /// The delays in use for each queue, so that they can be counted and deleted.
    tiers: Mutex<FxHashMap<QueueName, FxHashSet<(Priority, Duration)>>>,
}

pub(super) async fn declare_exchanges(channel: &Channel, names: &Names) -> Result<(), Failure> {
    let of_kind = |name: &str, kind: ExchangeKind| {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel.exchange_declare(name.into(), kind, options, FieldTable::default())
    };
    of_kind(&names.direct, ExchangeKind::Direct).await?;
    of_kind(&names.dead, ExchangeKind::Direct).await?;
    for name in &names.topic {
        of_kind(name, ExchangeKind::Topic).await?;
    }
    for name in &names.fanout {
        of_kind(name, ExchangeKind::Direct).await?;
    }
    Ok(())
}

impl Topology {
    pub(super) fn new(config: &RabbitMqBusBuilder, names: Names, link: Arc<Link>) -> Self {
        Self {
            names,
            kind: config.kind,
            max_dead_letters: config.max_dead_letters.get(),
            temporary_expiry: config.temporary_expiry,
            patience: config.confirm_timeout,
            link,
            known: Mutex::default(),
            waits: Mutex::default(),
            tiers: Mutex::default(),
        }
    }

    /// Opens a channel of one's own: the broker closes it at the first thing that it refuses.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.link.channel(Instant::now() + self.patience).await
    }

    /// Lets an exchange with the broker take only so long.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.patience, work)
            .await
            .map_err(|_| Failure::Disconnected)?
    }

    pub(super) fn known(&self, name: &QueueName) -> Option<Known> {
        self.known.lock().get(name).cloned()
    }

    /// Says whether the broker itself counts the deliveries of a queue's messages.
    pub(super) fn counts_deliveries(&self, name: &QueueName) -> bool {
        let is_temporary = self
            .known(name)
            .is_some_and(|known| is_temporary(&known.spec));
        self.kind == QueueKind::Quorum && !is_temporary
    }

    pub(super) async fn declare(
        &self,
        spec: QueueSpec,
        source: Option<Source>,
    ) -> Result<(), Error> {
        let name = spec.name().clone();
        self.within(self.declare_all(&spec, source.as_ref()))
            .await
            .map_err(|failure| error::of_queue(&name, failure))?;
        self.known.lock().insert(name, Known { spec, source });
        Ok(())
    }

    async fn declare_all(&self, spec: &QueueSpec, source: Option<&Source>) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let (names, name) = (&self.names, spec.name());
        let obituary = obituary(spec);
        let declare = |queue: String, arguments: FieldTable| {
            channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
        };
        // A conflict shows at the first queue, before anything is made.
        for priority in Priority::ALL {
            declare(
                names.work(name, priority),
                self.work_arguments(spec, source, &obituary),
            )
            .await?;
        }
        let dead = names.dead_of(name);
        declare(dead.clone(), self.dead_arguments(spec)).await?;
        let bind = |queue: String, exchange: &str, key: &str| {
            let options = QueueBindOptions::default();
            channel.queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                FieldTable::default(),
            )
        };
        bind(dead, &names.dead, &obituary).await?;
        for priority in Priority::ALL {
            let queue = names.work(name, priority);
            // Bound only now, so that nothing comes in that could not be dead-lettered.
            bind(queue.clone(), &names.direct, &queue).await?;
            match source {
                None | Some(Source::Queue(_)) => {}
                Some(Source::Topic(pattern, _)) => {
                    bind(queue, &names.topic[priority.index()], pattern.as_str()).await?;
                }
                Some(Source::Fanout(fanout, _)) => {
                    bind(queue, &names.fanout[priority.index()], fanout.as_str()).await?;
                }
            }
        }
        Ok(())
    }

    fn work_arguments(
        &self,
        spec: &QueueSpec,
        source: Option<&Source>,
        obituary: &str,
    ) -> FieldTable {
        let mut arguments = Arguments::default();
        // One queue that refuses would refuse a message for all subscribers of a topic, so these drop their oldest.
        let rejects = spec.overflow() != OverflowPolicy::DropOldest && source.is_none();
        arguments.number("x-max-length", spec.capacity().get());
        arguments.text(
            "x-overflow",
            if rejects {
                "reject-publish"
            } else {
                "drop-head"
            },
        );
        arguments.text("x-dead-letter-exchange", &self.names.dead);
        arguments.text("x-dead-letter-routing-key", obituary);
        if self.kind_of(spec) == QueueKind::Quorum {
            arguments.text("x-queue-type", "quorum");
            arguments.number("x-delivery-limit", spec.max_deliveries().get() as usize - 1);
            if rejects {
                arguments.text("x-dead-letter-strategy", "at-least-once");
            }
        } else {
            arguments.text("x-queue-type", "classic");
        }
        if is_temporary(spec) {
            arguments.millis("x-expires", self.temporary_expiry);
        }
        arguments.0
    }

    fn dead_arguments(&self, spec: &QueueSpec) -> FieldTable {
        /// Nobody may be there to renew it, as with a subscriber that never had a dead letter.
        const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3_600);
        /// Looking at a dead letter is a delivery, too; and without any limit the broker would put it back at the end.
        const LOOKS: usize = 1_000_000_000;
        let mut arguments = Arguments::default();
        arguments.number("x-max-length", self.max_dead_letters);
        arguments.text("x-overflow", "drop-head");
        if self.kind_of(spec) == QueueKind::Quorum {
            arguments.text("x-queue-type", "quorum");
            arguments.number("x-delivery-limit", LOOKS);
        } else {
            arguments.text("x-queue-type", "classic");
        }
        if is_temporary(spec) {
            arguments.millis("x-expires", EXPIRY);
        }
        arguments.0
    }

    fn kind_of(&self, spec: &QueueSpec) -> QueueKind {
        if is_temporary(spec) {
            QueueKind::Classic
        } else {
            self.kind
        }
    }

    /// Finds where to publish, and for a delayed message makes sure that the place exists.
    pub(super) async fn route(
        &self,
        to: &Destination,
        priority: Priority,
        delay: Option<Duration>,
    ) -> Result<Route, Error> {
        let names = &self.names;
        let route = match to {
            Destination::Queue(name) => Route {
                exchange: names.direct.clone(),
                key: names.work(name, priority),
            },
            Destination::Topic(topic) => Route {
                exchange: names.topic[priority.index()].clone(),
                key: topic.as_str().to_owned(),
            },
            Destination::Fanout(name) => Route {
                exchange: names.fanout[priority.index()].clone(),
                key: name.as_str().to_owned(),
            },
        };
        let Some(delay) = delay.filter(|delay| !delay.is_zero()).map(name::tier) else {
            return Ok(route);
        };
        let wait = match to {
            Destination::Queue(name) => names.wait_of(name, priority, delay),
            _ => names.wait_at(&route.exchange, delay),
        };
        if !self.waits.lock().contains(&wait) {
            self.within(self.declare_wait(to, &route, &wait, delay))
                .await
                .map_err(|failure| match to {
                    Destination::Queue(name) if error::is_not_found(&failure) => {
                        error::no_queue(name)
                    }
                    _ => Error::from(failure),
                })?;
            self.waits.lock().insert(wait.clone());
        }
        if let Destination::Queue(name) = to {
            self.tiers
                .lock()
                .entry(name.clone())
                .or_default()
                .insert((priority, delay));
            return Ok(Route {
                exchange: String::new(),
                key: wait,
            });
        }
        Ok(Route {
            exchange: wait,
            key: route.key,
        })
    }

    /// Forgets that a wait queue exists, since the broker says otherwise.
    pub(super) fn forget_waits(&self) {
        self.waits.lock().clear();
    }

    async fn declare_wait(
        &self,
        to: &Destination,
        route: &Route,
        wait: &str,
        delay: Duration,
    ) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let mut arguments = Arguments::default();
        arguments.millis("x-message-ttl", delay);
        arguments.text("x-dead-letter-exchange", &route.exchange);
        if let Destination::Queue(name) = to {
            // There must be somewhere to go when the time is over.
            passive(&channel, &self.names.work(name, Priority::P0)).await?;
            arguments.text("x-dead-letter-routing-key", &route.key);
            if self
                .known(name)
                .is_some_and(|known| is_temporary(&known.spec))
            {
                arguments.text("x-queue-type", "classic");
                arguments.millis("x-expires", delay.saturating_add(self.temporary_expiry));
            } else {
                // If the queue is full by then, the message waits on instead of being dropped.
                arguments.text("x-queue-type", "quorum");
                arguments.text("x-dead-letter-strategy", "at-least-once");
                arguments.text("x-overflow", "reject-publish");
            }
        } else {
            arguments.text("x-queue-type", "classic");
        }
        channel
            .queue_declare(wait.into(), QueueDeclareOptions::durable(), arguments.0)
            .await?;
        if matches!(to, Destination::Queue(_)) {
            return Ok(());
        }
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .exchange_declare(
                wait.into(),
                ExchangeKind::Fanout,
                options,
                FieldTable::default(),
            )
            .await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                wait.into(),
                wait.into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        Ok(())
    }

    /// Says whether a queue is there.
    pub(super) async fn exists(&self, name: &QueueName) -> Result<bool, Failure> {
        let check = async {
            let channel = self.channel().await?;
            passive(&channel, &self.names.work(name, Priority::P0)).await
        };
        match self.within(check).await {
            Ok(_) => Ok(true),
            Err(failure) if error::is_not_found(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn delete(&self, name: &QueueName) -> Result<bool, Error> {
        let known = self.known.lock().remove(name);
        if !self.exists(name).await? {
            return Ok(false);
        }
        let outcome = self
            .within(self.delete_all(name, QueueDeleteOptions::default()))
            .await;
        if outcome.is_err()
            && let Some(known) = known
        {
            self.known.lock().entry(name.clone()).or_insert(known);
        }
        outcome?;
        Ok(true)
    }

    /// Deletes a temporary queue, unless somebody consumes it.
    pub(super) async fn delete_unused(&self, name: &QueueName) -> Result<(), Failure> {
        let options = QueueDeleteOptions {
            if_unused: true,
            ..Default::default()
        };
        let known = self.known.lock().remove(name);
        let outcome = self.within(self.delete_all(name, options)).await;
        if outcome.is_err()
            && let Some(known) = known
        {
            self.known.lock().entry(name.clone()).or_insert(known);
        }
        outcome
    }

    async fn delete_all(
        &self,
        name: &QueueName,
        options: QueueDeleteOptions,
    ) -> Result<(), Failure> {
        let channel = self.channel().await?;
        for priority in Priority::ALL {
            channel
                .queue_delete(self.names.work(name, priority).into(), options)
                .await?;
        }
        let options = QueueDeleteOptions::default();
        channel
            .queue_delete(self.names.dead_of(name).into(), options)
            .await?;
        let tiers = self.tiers.lock().remove(name).unwrap_or_default();
        for (priority, delay) in tiers {
            let wait = self.names.wait_of(name, priority, delay);
            self.waits.lock().remove(&wait);
            channel.queue_delete(wait.into(), options).await?;
        }
        Ok(())
    }

    /// Counts what waits, is delayed by this process, is dead; and who consumes.
    pub(super) async fn stats(&self, name: &QueueName) -> Result<QueueStats, Error> {
        self.within(self.count(name))
            .await
            .map_err(|failure| error::of_queue(name, failure))
    }

    async fn count(&self, name: &QueueName) -> Result<QueueStats, Failure> {
        let channel = self.channel().await?;
        let mut stats = QueueStats::default();
        for priority in Priority::ALL {
            let (messages, consumers) = passive(&channel, &self.names.work(name, priority)).await?;
            stats.ready_by_priority[priority.index()] = messages;
            stats.consumers = stats.consumers.max(consumers);
        }
        stats.dead_letters = passive(&channel, &self.names.dead_of(name)).await?.0;
        let tiers = self.tiers.lock().get(name).cloned().unwrap_or_default();
        for (priority, delay) in tiers {
            stats.delayed += passive(&channel, &self.names.wait_of(name, priority, delay))
                .await?
                .0;
        }
        Ok(stats)
    }
}

/// Asks how many messages and consumers a queue has.
pub(super) async fn passive(channel: &Channel, queue: &str) -> Result<(usize, usize), Failure> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    let queue = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok((
        queue.message_count() as usize,
        queue.consumer_count() as usize,
    ))
}

pub(super) fn is_temporary(spec: &QueueSpec) -> bool {
    spec.lifetime() == QueueLifetime::Temporary
}

/// The routing key of a queue's dead letters. It holds the whole specification, so that the broker, which compares arguments, finds
/// every difference, those included that mean nothing to it.
fn obituary(spec: &QueueSpec) -> String {
    let overflow = match spec.overflow() {
        OverflowPolicy::Reject => "reject".to_owned(),
        OverflowPolicy::DropOldest => "drop".to_owned(),
        OverflowPolicy::Wait(patience) => format!("wait{}", patience.as_millis()),
    };
    let lifetime = if is_temporary(spec) {
        "temporary"
    } else {
        "durable"
    };
    let (name, deliveries) = (spec.name(), spec.max_deliveries());
    let full = format!(
        "{name}#{lifetime}.{}.{overflow}.d{deliveries}",
        spec.capacity()
    );
    if full.len() <= 255 {
        return full;
    }
    format!(
        "{}.d{deliveries}",
        Uuid::new_v5(&Uuid::NAMESPACE_OID, full.as_bytes())
    )
}

/// Reads how often a queue delivers a message from the routing key of its dead letters.
pub(super) fn max_deliveries(obituary: &str) -> Option<u32> {
    obituary.rsplit_once(".d")?.1.parse().ok()
}

#[derive(Default)]
struct Arguments(FieldTable);

impl Arguments {
    fn text(&mut self, name: &str, value: &str) {
        self.0
            .insert(name.into(), AMQPValue::LongString(value.into()));
    }

    fn number(&mut self, name: &str, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.insert(name.into(), AMQPValue::LongLongInt(value));
    }

    fn millis(&mut self, name: &str, span: Duration) {
        self.number(
            name,
            usize::try_from(span.as_millis()).unwrap_or(usize::MAX),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obituary_tells_specifications_apart_and_says_the_limit() {
        use std::num::{NonZeroU32, NonZeroUsize};
        let spec = QueueSpec::new(QueueName::new("q").unwrap());
        let others = [
            spec.clone().with_capacity(NonZeroUsize::MIN),
            spec.clone().with_overflow(OverflowPolicy::DropOldest),
            spec.clone()
                .with_overflow(OverflowPolicy::Wait(Duration::ZERO)),
            spec.clone().with_max_deliveries(NonZeroU32::MIN),
            QueueSpec::temporary(QueueName::new("q").unwrap()),
        ];
        for other in &others {
            assert_ne!(obituary(other), obituary(&spec));
        }
        assert_eq!(max_deliveries(&obituary(&spec)), Some(100));
        let long = QueueSpec::new(QueueName::new("q".repeat(200)).unwrap())
            .with_capacity(NonZeroUsize::MAX)
            .with_overflow(OverflowPolicy::Wait(Duration::MAX));
        assert!(obituary(&long).len() <= 255);
        assert_eq!(max_deliveries(&obituary(&long)), Some(100));
    }
}
