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
use std::sync::atomic::{AtomicBool, Ordering};
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

mod arguments;
mod route;

pub(super) use arguments::max_deliveries;

use arguments::obituary;

use super::config::{QueueKind, RabbitMqBusBuilder};
use super::error::{self, Failure};
use super::link::Link;
use super::name::Names;
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

impl Known {
    /// Says whether the queue is a single subscriber's, who is promised nothing of what was published while it was away. So it may be
    /// made again without a word, unlike a queue that others have been promised to be heard through.
    pub(super) fn is_of_one(&self) -> bool {
        let is_of_publishers = matches!(self.source, None | Some(Source::Queue(_)));
        !is_of_publishers && is_temporary(&self.spec)
    }
}

#[derive(Debug)]
pub(super) struct Topology {
    pub(super) names: Names,
    kind: QueueKind,
    max_dead_letters: usize,
    temporary_expiry: Duration,
    patience: Duration,
    /// Whether the broker takes the argument that asks for notice of a classic queue's death.
    takes_notice: AtomicBool,
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
            takes_notice: AtomicBool::new(true),
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

    /// Says whether a consumer asks to be told when the process of its queue dies; those of quorum queues live on.
    pub(super) fn asks_for_notice(&self, name: &QueueName) -> bool {
        !self.counts_deliveries(name) && self.takes_notice.load(Ordering::Relaxed)
    }

    /// Remembers that the broker does not know the argument; newer ones may not.
    pub(super) fn ask_for_no_notice(&self) {
        self.takes_notice.store(false, Ordering::Relaxed);
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
