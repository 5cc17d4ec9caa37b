//! A watch on what a follower tells: a bounded buffer, and a resync from the copy when it overflows.

use std::sync::Arc;

use futures::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Follower;
use crate::{Event, Watch};

/// Opens a watch; `None` if the follower itself hears nothing.
pub(super) fn begin(follower: &Arc<Follower>) -> Option<Watch> {
    let (first, receiver) = follower.snapshot()?;
    let begun = Watcher {
        follower: Arc::clone(follower),
        receiver,
        first: Some(first),
    };
    Some(Watch::new(stream::unfold(begun, |mut watcher| async {
        let event = watcher.next().await?;
        Some((event, watcher))
    })))
}

struct Watcher {
    follower: Arc<Follower>,
    receiver: Receiver<Event>,
    first: Option<Event>,
}

impl Watcher {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(_)) => {
                let (event, receiver) = self.follower.snapshot()?;
                self.receiver = receiver;
                Some(event)
            }
        }
    }
}

impl Follower {
    /// Returns everything there is as a resync, and a receiver of every change after it.
    fn snapshot(&self) -> Option<(Event, Receiver<Event>)> {
        let state = self.state.lock();
        let receiver = state.events.as_ref()?.subscribe();
        self.observer.resynced(state.replica.len());
        Some((state.replica.snapshot(), receiver))
    }
}
