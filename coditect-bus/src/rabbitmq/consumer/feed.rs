//! The task of a consumer: it subscribes, hands messages in and settlements out, and subscribes again when that breaks.

use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{SelectAll, StreamExt, select_all};
use futures::{FutureExt, Stream};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, message::Delivery as Message};
use tokio::time::{sleep, timeout};

use crate::rabbitmq::error::{self, Failure};
use crate::rabbitmq::lease::{Leases, Verdict};
use crate::rabbitmq::topology::{self, Known};
use crate::rabbitmq::wire;
use crate::{ErrorKind, Priority};

type Messages = Pin<Box<dyn Stream<Item = (Priority, Option<Message>)> + Send>>;

/// A channel with its subscriptions to the queues of all priorities.
pub(super) struct Feed {
    channel: Channel,
    /// Each ends with a `None`, when the broker has cancelled it or the channel is gone.
    messages: SelectAll<Messages>,
    tags: Vec<ShortString>,
    /// Which connection it is on.
    connects: u64,
}

/// Why a channel is served no more.
enum End {
    /// The channel or a subscription was lost.
    Lost,
    /// The consumer is gone, and all that it held is settled.
    Done,
    /// The queue or the bus has ended.
    Ended,
}

pub(super) async fn attach(leases: &Leases) -> Result<Feed, Failure> {
    let core = &leases.core;
    let attaching = async {
        let connects = core.consuming.connects();
        let channel = core.topology.channel().await?;
        topology::passive(
            &channel,
            &core.topology.names.work(&leases.queue, Priority::P0),
        )
        .await?;
        // Per subscription, so that each priority always has a message here, however many of another are held.
        channel
            .basic_qos(leases.prefetch(), BasicQosOptions { global: false })
            .await?;
        let mut feed = Feed {
            channel,
            messages: select_all(Vec::new()),
            tags: Vec::new(),
            connects,
        };
        for priority in Priority::ALL {
            let queue = core.topology.names.work(&leases.queue, priority);
            let consumer = feed
                .channel
                .basic_consume(
                    queue.into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            feed.tags.push(consumer.tag());
            let messages = consumer
                .map(move |message| (priority, message.ok()))
                .chain(futures::stream::once(async move { (priority, None) }));
            feed.messages.push(Box::pin(messages) as Messages);
        }
        Ok(feed)
    };
    timeout(core.config.connect_timeout, attaching)
        .await
        .map_err(|_| Failure::Disconnected)?
}

/// Keeps a consumer subscribed until it is over.
pub(super) async fn keep(leases: &Leases, mut feed: Feed) {
    let core = &leases.core;
    loop {
        let connects = feed.connects;
        let end = serve(leases, feed).await;
        leases.revoke();
        match end {
            End::Lost => {}
            End::Done | End::Ended => return leases.end(),
        }
        if leases.is_detached() {
            return leases.end();
        }
        tracing::warn!(queue = %leases.queue, "subscription lost, subscribing again");
        match core
            .closed
            .run_until_cancelled(attach_again(leases, connects))
            .await
        {
            Some(Some(again)) => feed = again,
            Some(None) => {
                tracing::info!(queue = %leases.queue, "queue is gone, its consumer ends");
                return leases.end();
            }
            None => return leases.end(),
        }
        tracing::info!(queue = %leases.queue, "subscribed again");
    }
}

/// Tries until it works; `None` if the queue is gone or the consumer has ended.
async fn attach_again(leases: &Leases, last: u64) -> Option<Feed> {
    let core = &leases.core;
    let mut wait = Duration::from_millis(100);
    loop {
        core.consuming.connected_ever().await?;
        if leases.has_ended() || leases.is_detached() {
            return None;
        }
        let known = core.topology.known(&leases.queue);
        let is_new_connection = core.consuming.connects() != last;
        let attached = match known.filter(|_| is_new_connection) {
            // A broker may come back without its data, and a temporary queue may have expired meanwhile.
            Some(Known { spec, source }) => match core.topology.declare(spec, source).await {
                Ok(()) => attach(leases)
                    .await
                    .map_err(|failure| error::of_queue(&leases.queue, failure)),
                Err(error) => Err(error),
            },
            None => attach(leases)
                .await
                .map_err(|failure| error::of_queue(&leases.queue, failure)),
        };
        match attached {
            Ok(feed) => return Some(feed),
            Err(error) if error.kind() == ErrorKind::NoRoute => return None,
            Err(error) => {
                tracing::debug!(queue = %leases.queue, %error, "cannot subscribe, trying again");
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}

/// Hands messages in and settlements out, until the channel ends.
async fn serve(leases: &Leases, mut feed: Feed) -> End {
    /// How many messages are handed over under one lock.
    const AT_ONCE: usize = 128;
    let core = &leases.core;
    let names = &core.topology.names;
    leases.begin();
    let mut is_cancelled = false;
    loop {
        tokio::select! {
            () = core.closed.cancelled() => return End::Ended,
            () = leases.bell.notified() => {}
            Some(first) = feed.messages.next(), if !is_cancelled => {
                let mut batch = vec![first];
                while batch.len() < AT_ONCE && let Some(Some(next)) = feed.messages.next().now_or_never() {
                    batch.push(next);
                }
                let is_over = batch.iter().any(|(_, message)| message.is_none());
                leases.arrived(batch.into_iter().filter_map(|(priority, message)| {
                    let message = message?;
                    let tag = message.delivery_tag;
                    Some((priority.index(), tag, wire::incoming(message, priority, names)))
                }));
                if is_over {
                    return End::Lost;
                }
            }
        }
        if leases.has_ended() {
            return End::Ended;
        }
        if leases.is_detached() && !is_cancelled {
            is_cancelled = true;
            if cancel(leases, &mut feed).await.is_err() {
                return End::Lost;
            }
        }
        let is_done = leases.wind_up();
        if flush(leases, &feed.channel).await.is_err() {
            return End::Lost;
        }
        if is_done == Some(true) {
            return End::Done;
        }
        if is_done.is_some() && leases.held() == 0 {
            // What was just told may have been the last.
            leases.bell.notify_one();
        }
    }
}

/// Ends the subscriptions; what came in before goes back, and a temporary queue goes with its last consumer.
async fn cancel(leases: &Leases, feed: &mut Feed) -> Result<(), Failure> {
    let core = &leases.core;
    for tag in &feed.tags {
        feed.channel
            .basic_cancel(tag.clone(), BasicCancelOptions::default())
            .await?;
    }
    // The broker sends nothing after it has confirmed; what is on this side is all there is.
    let mut left = Vec::new();
    while let Some(Some((priority, Some(message)))) = feed.messages.next().now_or_never() {
        let tag = message.delivery_tag;
        left.push((
            priority.index(),
            tag,
            wire::incoming(message, priority, &core.topology.names),
        ));
    }
    leases.arrived(left.into_iter());
    if core
        .topology
        .known(&leases.queue)
        .is_some_and(|known| topology::is_temporary(&known.spec))
    {
        // Somebody else may consume it; then it stays.
        if let Err(error) = core.topology.delete_unused(&leases.queue).await {
            tracing::debug!(queue = %leases.queue, %error, "temporary queue stays");
        }
    }
    Ok(())
}

/// Tells the broker what was settled: what goes back first, then as many acknowledgements in one as can be.
async fn flush(leases: &Leases, channel: &Channel) -> Result<(), Failure> {
    let (pending, acked, (up_to, covered)) = leases.take_pending();
    if pending.is_empty() {
        return Ok(());
    }
    let backs = pending.iter().filter_map(|pending| {
        let tag = pending.tag;
        match pending.verdict {
            Verdict::Ack => None,
            Verdict::Requeue => Some(
                channel
                    .basic_reject(tag, BasicRejectOptions { requeue: true })
                    .left_future(),
            ),
            // Since 4.3 the broker does not count this as a delivery, which it was not.
            Verdict::GiveBack => Some(
                channel
                    .basic_nack(
                        tag,
                        BasicNackOptions {
                            requeue: true,
                            multiple: false,
                        },
                    )
                    .right_future(),
            ),
        }
    });
    let mut told: Result<(), lapin::Error> = join_all(backs).await.into_iter().collect();
    if told.is_ok() && covered > 0 {
        told = channel
            .basic_ack(
                up_to,
                BasicAckOptions {
                    multiple: covered > 1,
                },
            )
            .await;
    }
    if told.is_ok() {
        let singles = acked[covered..].iter();
        let singles =
            singles.map(|tag| channel.basic_ack(*tag, BasicAckOptions { multiple: false }));
        told = join_all(singles).await.into_iter().collect();
    }
    for pending in pending {
        if let Some(done) = pending.done {
            let outcome = if told.is_ok() {
                Ok(())
            } else {
                Err(error::lease_lost(&leases.queue))
            };
            let _ = done.send(outcome);
        }
    }
    told.map_err(Failure::Driver)
}
