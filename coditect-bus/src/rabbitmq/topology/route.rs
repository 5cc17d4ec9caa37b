//! Where a message is published to: its exchange at once, or first a queue in which it spends its delay.

use super::arguments::Arguments;
use super::*;
use crate::rabbitmq::name;

impl Topology {
    /// Finds where to publish, and for a delayed message makes sure that the place exists.
    pub(in crate::rabbitmq) async fn route(
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
    pub(in crate::rabbitmq) fn forget_waits(&self) {
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
}
