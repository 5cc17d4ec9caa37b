//! The task that keeps a view true to its registry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::Shared;
use crate::selector::scale;
use crate::{Change, Error, ErrorKind, Event, Registry, Result, Watch};

const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Opens a watch and takes over its first resync.
pub(super) async fn begin(shared: &Shared, registry: &dyn Registry) -> Result<Watch> {
    let mut watch = registry.watch().await?;
    let first = watch.next().await;
    if let Some(event) = first
        && shared.apply(event)
    {
        shared.current.store(true, Ordering::Release);
        return Ok(watch);
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the watch did not begin with a resync",
    ))
}

/// Follows until it is dropped; opens another watch when one ends or skips a number.
pub(super) async fn run(shared: Arc<Shared>, registry: Arc<dyn Registry>, mut watch: Watch) {
    loop {
        while let Some(event) = watch.next().await {
            if !shared.apply(event) {
                break;
            }
        }
        shared.current.store(false, Ordering::Release);
        shared.observer.interrupted();
        tracing::warn!(
            sequence = shared.sequence.load(Ordering::Relaxed),
            "the registry's watch broke off"
        );
        watch = begin_again(&shared, &*registry).await;
    }
}

async fn begin_again(shared: &Shared, registry: &dyn Registry) -> Watch {
    let mut longest = SHORTEST_WAIT;
    loop {
        tokio::time::sleep(jittered(longest)).await;
        match begin(shared, registry).await {
            Ok(watch) => return watch,
            Err(error) => tracing::debug!(%error, "the registry cannot be watched yet"),
        }
        longest = (longest * 2).min(LONGEST_WAIT);
    }
}

/// Draws a wait of half to all of `longest`, so that many views do not come back at once.
fn jittered(longest: Duration) -> Duration {
    // The lower half of a version 7 UUID is random but for its variant bits, which are moved out of the way.
    let random = (Uuid::now_v7().as_u128() as u64) << 2;
    let half = longest / 2;
    half + Duration::from_nanos(scale(random, half.as_nanos() as u64))
}

impl Shared {
    /// Applies an event; `false` if it does not follow upon the last one.
    fn apply(&self, event: Event) -> bool {
        let Event { sequence, change } = event;
        if let Change::Resync(records) = &change {
            self.observer.resynced(records.len());
        } else if !self.is_current() || sequence != self.sequence.load(Ordering::Relaxed) + 1 {
            return false;
        }
        let changed = self.index.write().apply(change);
        self.sequence.store(sequence, Ordering::Release);
        if changed {
            self.changed.notify_waiters();
        }
        true
    }

    fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire)
    }
}
