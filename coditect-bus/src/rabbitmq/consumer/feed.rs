//! The task of a consumer: it subscribes, hands messages in and settlements out, and subscribes again when that breaks.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, ready, try_join_all};
use futures::stream::{SelectAll, StreamExt, select_all};
use futures::{FutureExt, Stream};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, message::Delivery as Message};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::rabbitmq::error::{self, Failure};
use crate::rabbitmq::lease::{Leases, Pending, Replacement, Verdict};
use crate::rabbitmq::leave::Leaving;
use crate::rabbitmq::topology::{self, Known};
use crate::rabbitmq::wire;
use crate::{Error, ErrorKind, Priority, QueueSpec, Source};

type Messages = Pin<Box<dyn Stream<Item = (Priority, Option<Message>)> + Send>>;

/// Whether settlements could be written.
type Told = Result<(), lapin::Error>;

/// A channel with its subscriptions to the queues of all priorities.
pub(super) struct Feed {
    /// The first to be dropped.
    channel: Leaving,
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

/// When the process or the node of a classic queue dies the broker subscribes again by itself, and what was held would be lost unheard.
/// With this argument it cancels the subscription instead.
const NOTICE: &str = "x-cancel-on-ha-failover";

pub(super) async fn attach(leases: &Leases) -> Result<Feed, Failure> {
    match attach_once(leases).await {
        Err(failure) if error::is_about(&failure, NOTICE) => {
            leases.core.topology.ask_for_no_notice();
            attach_once(leases).await
        }
        other => other,
    }
}

async fn attach_once(leases: &Leases) -> Result<Feed, Failure> {
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
            channel: Leaving(channel),
            messages: select_all(Vec::new()),
            tags: Vec::new(),
            connects,
        };
        let mut arguments = FieldTable::default();
        if core.topology.asks_for_notice(&leases.queue) {
            arguments.insert(NOTICE.into(), AMQPValue::Boolean(true));
        }
        for priority in Priority::ALL {
            let queue = core.topology.names.work(&leases.queue, priority);
            let consumer = feed
                .channel
                .basic_consume(
                    queue.into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    arguments.clone(),
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
pub(super) async fn keep(leases: &Arc<Leases>, mut feed: Feed) {
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
///
/// A queue is gone if it was deleted, if the broker came back without its data, or if it was temporary and has expired meanwhile.
async fn attach_again(leases: &Leases, last: u64) -> Option<Feed> {
    let core = &leases.core;
    let mut wait = Duration::from_millis(100);
    loop {
        core.consuming.connected_ever().await?;
        if leases.has_ended() || leases.is_detached() {
            return None;
        }
        let is_new_connection = core.consuming.connects() != last;
        let own = core.topology.known(&leases.queue).filter(Known::is_of_one);
        let of_queue = |failure| error::of_queue(&leases.queue, failure);
        let attached = match (attach(leases).await.map_err(of_queue), own) {
            // Only where nobody was promised anything: to make another queue again in silence would hide that what it held is lost.
            (Err(error), Some(Known { spec, source }))
                if error.kind() == ErrorKind::NoRoute && is_new_connection =>
            {
                make_again(leases, spec, source).await
            }
            (attached, _) => attached,
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

/// Makes the queue of a subscriber without a group again, which goes on from now.
async fn make_again(
    leases: &Leases,
    spec: QueueSpec,
    source: Option<Source>,
) -> Result<Feed, Error> {
    leases.core.topology.declare(spec, source).await?;
    let attached = attach(leases).await;
    let feed = attached.map_err(|failure| error::of_queue(&leases.queue, failure))?;
    tracing::warn!(queue = %leases.queue, "the subscriber's queue was gone, and what was published meanwhile is missed");
    leases.missed();
    Ok(feed)
}

/// Hands messages in and settlements out, until the channel ends.
async fn serve(leases: &Arc<Leases>, mut feed: Feed) -> End {
    /// How many messages are handed over under one lock.
    const AT_ONCE: usize = 128;
    let core = &leases.core;
    let names = &core.topology.names;
    leases.begin(&feed.channel);
    let mut is_cancelled = false;
    // While the broker is told of some settlements, others gather, and messages still come in.
    let mut telling: Option<BoxFuture<'static, Told>> = None;
    // What waits here is on the broker's clock: it goes back after at most two of these, and then has the whole time again.
    let patience = core.config.consumer_timeout.map(|timeout| timeout / 12);
    let mut tick = interval(patience.unwrap_or(Duration::from_secs(3_600)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.closed.cancelled() => return End::Ended,
            told = async { Some(telling.as_mut()?.await) }, if telling.is_some() => {
                telling = None;
                if told.is_none_or(|told| told.is_err()) {
                    return End::Lost;
                }
            }
            () = leases.bell.notified() => {}
            _ = tick.tick() => put_back_stale(leases, patience),
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
        if telling.is_none() {
            if leases.wind_up() == Some(true) {
                return End::Done;
            }
            telling = tell(leases, &feed.channel);
        }
    }
}

/// Publishes again what has waited here for too long. To give it back would count as a delivery, which it never was.
fn put_back_stale(leases: &Arc<Leases>, patience: Option<Duration>) {
    let Some(limit) = patience.and_then(|patience| Instant::now().checked_sub(patience)) else {
        return;
    };
    for (tag, incoming) in leases.take_stale(limit) {
        let (parts, _) = incoming.into_parts(tag);
        drop(leases.replace(parts, Replacement::Unseen));
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

/// Tells the broker what was settled, if anything was: what goes back first, then as many acknowledgements in one as can be.
///
/// It is on its way by the call; the future ends when it is written.
fn tell(leases: &Leases, channel: &Channel) -> Option<BoxFuture<'static, Told>> {
    let (pending, acked, (up_to, covered)) = leases.take_pending();
    if pending.is_empty() {
        return None;
    }
    let (channel, queue) = (channel.clone(), leases.queue.clone());
    let mut telling = async move {
        let backs = pending.iter().filter(|one| one.verdict != Verdict::Ack);
        let backs = backs.map(|one| give_back(&channel, one).boxed());
        let ack = |tag, multiple| channel.basic_ack(tag, BasicAckOptions { multiple }).boxed();
        let many = (covered > 0).then(|| ack(up_to, covered > 1));
        let singles = acked[covered..].iter().map(|tag| ack(*tag, false));
        // Each is handed to the driver by its first poll, in this order.
        let told = try_join_all(backs.chain(many).chain(singles)).await;
        let told = told.map(drop);
        for done in pending.into_iter().filter_map(|one| one.done) {
            let _ = done.send(told.clone().map_err(|_| error::lease_lost(&queue)));
        }
        told
    }
    .boxed();
    match telling.as_mut().now_or_never() {
        Some(told) => Some(ready(told).boxed()),
        None => Some(telling),
    }
}

async fn give_back(channel: &Channel, pending: &Pending) -> Result<(), lapin::Error> {
    if pending.verdict == Verdict::Requeue {
        let options = BasicRejectOptions { requeue: true };
        return channel.basic_reject(pending.tag, options).await;
    }
    // Since 4.3 the broker does not count this as a delivery, which it was not.
    let options = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    channel.basic_nack(pending.tag, options).await
}
