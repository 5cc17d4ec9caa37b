//! Looking at dead letters, putting them back, discarding them.
//!
//! AMQP has no way to look into a queue: letters are received, and those that stay are given back at the end. So each call costs a
//! transfer of the letters up to the last one that matters: for a page those before it and on it, for redriving and discarding all. While it
//! lasts another call sees fewer of them. One who dies in the middle loses nothing: the broker takes back what was not settled.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep, timeout};

use super::core::Core;
use super::error::{self, Failure};
use super::leave::Leaving;
use super::topology;
use super::wire;
use crate::{
    DeadLetter, DeadLetterCursor, DeadLetterFilter, DeadLetterPage, Destination, Error, ErrorKind,
    Page, Priority, QueueName,
};

/// Goes through the dead letters of a queue, the oldest first.
struct Walk<'a> {
    core: &'a Core,
    queue: &'a QueueName,
    /// Dropped before the letters.
    channel: Leaving,
    dead: String,
    /// `None` if there was nothing to see.
    letters: Option<lapin::Consumer>,
    /// Letters that were there at the beginning.
    count: usize,
    seen: usize,
    gone: usize,
}

impl Core {
    pub(super) async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        let from = page.from.map_or(0, |cursor| cursor.0);
        let mut result = DeadLetterPage::default();
        let mut walk = Walk::begin(self, queue).await?;
        let mut position = 0;
        while let Some((_, letter)) = walk.next().await {
            let at = position;
            position += 1;
            if at < from || !filter.matches(&letter) {
                continue;
            }
            if result.letters.len() == page.limit.get() {
                result.next = Some(DeadLetterCursor(at));
                break;
            }
            result.letters.push(letter);
        }
        walk.end().await?;
        Ok(result)
    }

    pub(super) async fn redrive(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        let to = Destination::Queue(queue.clone());
        let mut walk = Walk::begin(self, queue).await?;
        let mut outcome = Ok(());
        while let Some((tag, letter)) = walk.next().await {
            if !filter.matches(&letter) {
                continue;
            }
            match self.put_back(&to, letter).await {
                Ok(()) => walk.remove(tag).await?,
                Err(error) => {
                    outcome = if error.kind() == ErrorKind::Full {
                        Ok(())
                    } else {
                        Err(error)
                    };
                    break;
                }
            }
        }
        let gone = walk.end().await?;
        outcome.map(|()| gone)
    }

    pub(super) async fn purge(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        let mut walk = Walk::begin(self, queue).await?;
        while let Some((tag, letter)) = walk.next().await {
            if filter.matches(&letter) {
                walk.remove(tag).await?;
            }
        }
        walk.end().await
    }

    /// Publishes a dead letter as new.
    async fn put_back(&self, to: &Destination, letter: DeadLetter) -> Result<(), Error> {
        let mut envelope = letter.envelope;
        envelope.clear_expiry();
        let destination = (letter.destination != *to).then_some(letter.destination);
        let story = wire::Story {
            destination,
            ..Default::default()
        };
        self.send_once(to, &envelope, &story).await
    }
}

impl<'a> Walk<'a> {
    async fn begin(core: &'a Core, queue: &'a QueueName) -> Result<Self, Error> {
        let failed = |failure| core.explain(error::of_queue(queue, failure));
        let channel = core.topology.channel().await.map_err(failed)?;
        let names = &core.topology.names;
        let (work, dead) = (names.work(queue, Priority::P0), names.dead_of(queue));
        topology::passive(&channel, &work).await.map_err(failed)?;
        let (count, _) = topology::passive(&channel, &dead).await.map_err(failed)?;
        let mut walk = Self {
            core,
            queue,
            channel: Leaving(channel),
            dead,
            letters: None,
            count,
            seen: 0,
            gone: 0,
        };
        if count > 0 {
            walk.letters = Some(walk.consume().await.map_err(|error| failed(error.into()))?);
        }
        Ok(walk)
    }

    async fn consume(&self) -> Result<lapin::Consumer, lapin::Error> {
        // As many as there may be, since those that stay are not settled before the end.
        let window = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.channel
            .basic_qos(window, BasicQosOptions { global: false })
            .await?;
        let (queue, options) = (self.dead.as_str().into(), BasicConsumeOptions::default());
        self.channel
            .basic_consume(queue, "".into(), options, FieldTable::default())
            .await
    }

    /// Receives the next letter of those that were there at the beginning, and the tag that settles it.
    async fn next(&mut self) -> Option<(u64, DeadLetter)> {
        /// Letters that do not come are in somebody else's hands.
        const PATIENCE: Duration = Duration::from_millis(500);
        if self.seen == self.count {
            return None;
        }
        let message = timeout(PATIENCE, self.letters.as_mut()?.next())
            .await
            .ok()??
            .ok()?;
        self.seen += 1;
        let (tag, limit) = (
            message.delivery_tag,
            topology::max_deliveries(message.routing_key.as_str()),
        );
        let (incoming, death) = wire::dead(message, &self.core.topology.names, limit);
        let letter = DeadLetter {
            envelope: incoming.envelope,
            queue: self.queue.clone(),
            destination: incoming
                .story
                .destination
                .unwrap_or_else(|| Destination::Queue(self.queue.clone())),
            reason: death.reason,
            deliveries: death.deliveries,
            first_failed_at: incoming
                .story
                .first_failed_at
                .unwrap_or(death.at)
                .min(death.at),
            dead_lettered_at: death.at,
        };
        Some((tag, letter))
    }

    /// Takes a letter away for good.
    async fn remove(&mut self, tag: u64) -> Result<(), Error> {
        let acked = self
            .channel
            .basic_ack(tag, BasicAckOptions::default())
            .await;
        acked.map_err(|error| self.failed(error.into()))?;
        self.gone += 1;
        Ok(())
    }

    /// Gives back what stays, waits until it shows, so that the next look sees all, and says how many have gone.
    async fn end(self) -> Result<u64, Error> {
        const PATIENCE: Duration = Duration::from_secs(1);
        if let Some(letters) = &self.letters {
            let tag = letters.tag();
            let cancelled = self
                .channel
                .basic_cancel(tag, BasicCancelOptions::default())
                .await;
            cancelled.map_err(|error| self.failed(error.into()))?;
        }
        if self.letters.is_some() {
            // Tag 0 with `multiple` means all of the channel.
            let options = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            let given_back = self.channel.basic_nack(0, options).await;
            given_back.map_err(|error| self.failed(error.into()))?;
        }
        let (expected, deadline) = (self.count - self.gone, Instant::now() + PATIENCE);
        loop {
            let (ready, _) = topology::passive(&self.channel, &self.dead)
                .await
                .map_err(|failure| self.failed(failure))?;
            if ready >= expected || Instant::now() >= deadline {
                return Ok(self.gone as u64);
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        self.core.explain(error::of_queue(self.queue, failure))
    }
}
