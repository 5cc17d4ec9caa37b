//! Whether the bus works: not only that its connections are up, but that what it publishes comes back to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::core::Core;
use super::error::Failure;
use super::leave::Leaving;
use super::topology::Route;

/// Says how a RabbitMQ bus fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The connection for publishing is up.
    pub can_publish: bool,
    /// Why the broker blocks publishers, if it does: it is short of memory or disk.
    pub blocked: Option<String>,
    /// The connection for consuming is up.
    pub can_consume: bool,
    /// Consumers of this bus.
    pub consumers: usize,
    /// Those of them whose subscription the broker carries at this moment.
    pub subscribed: usize,
    /// How long ago the bus last received a message that it had sent to itself.
    pub last_pulse: Option<Duration>,
    /// Connections made again since the bus was opened.
    pub reconnects: u64,
    /// All of it is well, and the last pulse is no older than three of its intervals.
    pub is_proven: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Instant>>);

impl Core {
    pub(super) fn health(&self) -> Health {
        let attached = self.attached();
        let subscribed = attached.iter().filter(|leases| leases.is_up()).count();
        let last_pulse = self.pulse.0.lock().map(|at| at.elapsed());
        let (can_publish, can_consume) = (
            self.publishing.connection().is_some(),
            self.consuming.connection().is_some(),
        );
        let blocked = self.publishing.blocked();
        let is_fresh = last_pulse.is_some_and(|age| age <= self.config.pulse * 3);
        Health {
            is_proven: can_publish
                && can_consume
                && blocked.is_none()
                && subscribed == attached.len()
                && is_fresh,
            can_publish,
            blocked,
            can_consume,
            consumers: attached.len(),
            subscribed,
            last_pulse,
            reconnects: (self.publishing.connects() + self.consuming.connects()).saturating_sub(2),
        }
    }
}

/// Sends a message to itself again and again until the bus is closed.
pub(super) async fn beat(core: Arc<Core>) {
    core.closed
        .run_until_cancelled(async {
            loop {
                if let Err(error) = beat_on_one_channel(&core).await {
                    tracing::debug!(%error, "pulse interrupted");
                }
                sleep(core.config.pulse.min(Duration::from_secs(1))).await;
            }
        })
        .await;
}

async fn beat_on_one_channel(core: &Core) -> Result<(), Failure> {
    let channel = core.topology.channel().await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..Default::default()
    };
    let queue = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let mut messages = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    // Declared after the consumer, and so dropped before it.
    let _leaving = Leaving(channel);
    loop {
        let route = Route {
            exchange: String::new(),
            key: queue.name().to_string(),
        };
        let deadline = core.publisher.deadline();
        let published = core
            .publisher
            .publish(route, Bytes::new(), BasicProperties::default(), deadline)
            .await;
        if let Err(refusal) = published {
            tracing::debug!(?refusal, "pulse was not published");
            return Ok(());
        }
        match timeout(core.config.confirm_timeout, messages.next()).await {
            Ok(Some(message)) => message.map(drop)?,
            Ok(None) | Err(_) => return Err(Failure::Disconnected),
        }
        *core.pulse.0.lock() = Some(Instant::now());
        sleep(core.config.pulse).await;
    }
}
