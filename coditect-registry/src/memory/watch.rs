//! A watch on the memory registry: a bounded buffer behind, the clock of the next expiry ahead.

use std::future;
use std::sync::Arc;

use futures::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::{Event, Watch};

pub(super) fn begin(shared: Arc<Shared>) -> Watch {
    let (first, receiver) = shared.with_live(|state, _| state.snapshot());
    let begun = Watcher {
        shared,
        receiver,
        first: Some(first),
    };
    Watch::new(stream::unfold(begun, |mut watcher| async {
        let event = watcher.next().await?;
        Some((event, watcher))
    }))
}

struct Watcher {
    shared: Arc<Shared>,
    receiver: Receiver<Event>,
    first: Option<Event>,
}

impl Watcher {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            // No lease can be made to end sooner but by a change, which wakes this up.
            let expiry = self.shared.state.lock().next_expiry();
            tokio::select! {
                biased;
                received = self.receiver.recv() => match received {
                    Ok(event) => return Some(event),
                    Err(RecvError::Lagged(_)) => return Some(self.resync()),
                    Err(RecvError::Closed) => return None,
                },
                () = reached(expiry) => self.shared.with_live(|_, _| ()),
            }
        }
    }

    /// Starts over: from here on the receiver tells what comes after the snapshot.
    fn resync(&mut self) -> Event {
        let (event, receiver) = self.shared.with_live(|state, _| state.snapshot());
        self.receiver = receiver;
        event
    }
}

async fn reached(expiry: Option<Instant>) {
    match expiry {
        Some(expiry) => sleep_until(expiry).await,
        None => future::pending().await,
    }
}
