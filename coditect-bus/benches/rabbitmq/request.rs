//! Request-reply as a user of the bus writes it: a requester, and a responder that serves a queue.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Destination, MessageBusExt, RabbitMqBus, Requester, Responder};
use tokio::time::Instant;

use super::{PAYLOAD, PREFETCH};

pub(crate) struct Questions {
    requester: Arc<Requester>,
    responder: Responder,
    to: Destination,
}

impl Questions {
    pub(crate) async fn start(bus: &RabbitMqBus) -> Self {
        let queue = bus.offer("questions").await.unwrap();
        // As many as the other side prefetches.
        let at_once = NonZeroUsize::new(PREFETCH.into()).unwrap();
        let answer = async |text: String| Ok::<_, Infallible>(text);
        Self {
            responder: bus.serve(queue.clone(), at_once, answer).await.unwrap(),
            requester: Arc::new(bus.requester().await.unwrap()),
            to: queue.into(),
        }
    }

    /// Asks so many questions, one after the other, and returns how long each took.
    pub(crate) async fn ask(&self, count: usize) -> Vec<Duration> {
        let (requester, to) = (Arc::clone(&self.requester), self.to.clone());
        // With the quotes of JSON it is as long as the payload of the others.
        let question = String::from_utf8(PAYLOAD[2..].to_vec()).unwrap();
        let asking = tokio::spawn(async move {
            let mut took = Vec::with_capacity(count);
            for _ in 0..count {
                let start = Instant::now();
                let patience = Duration::from_secs(10);
                let answer: String = requester.request(&to, &question, patience).await.unwrap();
                took.push(start.elapsed());
                assert_eq!(answer.len(), question.len());
            }
            took
        });
        asking.await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.responder.stop().await;
    }
}
