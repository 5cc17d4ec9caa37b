//! Publishing on the memory bus: check, route, hand over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::queue::{Queue, Refusal};
use super::{Hub, error};
use crate::{Destination, Envelope, Error, PublishError};

enum Route {
    Direct(Arc<Queue>),
    Copies(Vec<Arc<Queue>>),
}

impl Hub {
    pub(super) async fn publish(
        &self,
        to: &Destination,
        envelope: Envelope,
    ) -> Result<(), PublishError> {
        let (id, len) = (envelope.id(), envelope.payload().len());
        let result = match self.check(&envelope).and_then(|()| self.route(to)) {
            Err(error) => Err(PublishError::new(error, envelope)),
            Ok(Route::Direct(queue)) => queue
                .offer(envelope)
                .await
                .map_err(|refusal| self.refused(&queue, to, refusal)),
            Ok(Route::Copies(queues)) => self.copy(&queues, to, envelope),
        };
        if let Some(observer) = &self.config.observer {
            match &result {
                Ok(()) => observer.published(to, id, len),
                Err(error) => observer.refused(to, error.error()),
            }
        }
        result
    }

    /// Publishes in order. To a queue, all that it has room for goes in under one lock.
    pub(super) async fn publish_batch(
        &self,
        to: &Destination,
        mut batch: VecDeque<Envelope>,
    ) -> Result<(), PublishError> {
        let mut failed: Option<Error> = None;
        let mut returned = Vec::new();
        // An observer wants each envelope by itself, and so does an envelope that will be refused.
        if self.config.observer.is_none()
            && batch.iter().all(|envelope| self.check(envelope).is_ok())
            && let Ok(Route::Direct(queue)) = self.route(to)
            && let Err(refusal) = queue.offer_many(&mut batch)
        {
            batch.push_front(refusal.into_envelope());
        }
        for envelope in batch {
            if let Err(error) = self.publish(to, envelope).await {
                let (error, envelopes) = error.into_parts();
                failed.get_or_insert(error);
                returned.extend(envelopes);
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(PublishError::of_batch(error, returned)),
        }
    }

    fn check(&self, envelope: &Envelope) -> Result<(), Error> {
        self.check_open()?;
        let (payload, limit) = (envelope.payload().len(), self.config.max_payload);
        if payload > limit {
            return Err(error::too_large("payload", payload, limit));
        }
        if !envelope.headers().is_empty() {
            let (headers, limit) = (envelope.headers().byte_len(), self.config.max_headers);
            if headers > limit {
                return Err(error::too_large("headers", headers, limit));
            }
        }
        Ok(())
    }

    fn route(&self, to: &Destination) -> Result<Route, Error> {
        let queues = match to {
            Destination::Queue(name) => {
                let queue = self.queues.read().get(name).cloned();
                return queue
                    .map(Route::Direct)
                    .ok_or_else(|| error::unroutable(to));
            }
            Destination::Topic(topic) => self.routes.read().of_topic(topic),
            Destination::Fanout(name) => self.routes.read().of_fanout(name),
        };
        if queues.is_empty() {
            return Err(error::unroutable(to));
        }
        Ok(Route::Copies(queues))
    }

    fn copy(
        &self,
        queues: &[Arc<Queue>],
        to: &Destination,
        envelope: Envelope,
    ) -> Result<(), PublishError> {
        let mut taken = false;
        for queue in queues {
            taken |= queue.offer_copy(envelope.clone(), to);
        }
        if taken {
            return Ok(());
        }
        Err(PublishError::new(error::unroutable(to), envelope))
    }

    fn refused(&self, queue: &Queue, to: &Destination, refusal: Refusal) -> PublishError {
        let error = match (&refusal, self.check_open()) {
            (_, Err(closed)) => closed,
            (Refusal::Full(_), Ok(())) => error::full(queue.name(), queue.spec.capacity().get()),
            (Refusal::Gone(_), Ok(())) => error::unroutable(to),
        };
        PublishError::new(error, refusal.into_envelope())
    }
}
