//! The task that keeps a view true to its registry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::shared::Shared;
use crate::selector::scale;
use crate::{Error, ErrorKind, Registry, Result, Watch, random};

const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Opens a watch and takes over its first resync.
pub(super) async fn begin(shared: &Shared, registry: &dyn Registry) -> Result<Watch> {
    let mut watch = registry.watch().await?;
    let first = watch.next().await;
    if let Some(event) = first
        && shared.apply(event, Instant::now())
    {
        return Ok(watch);
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the watch did not begin with a resync",
    ))
}

/// Follows until it is dropped, and does what is due meanwhile.
pub(super) async fn run(shared: Arc<Shared>, registry: Arc<dyn Registry>, watch: Watch) {
    tokio::join!(follow(&shared, &*registry, watch), keep_time(&shared));
}

/// Takes over every event; opens another watch when one ends or skips a number.
async fn follow(shared: &Shared, registry: &dyn Registry, mut watch: Watch) {
    loop {
        while let Some(event) = watch.next().await {
            if !shared.apply(event, Instant::now()) {
                break;
            }
        }
        shared.set_stale(Instant::now());
        shared.observer.interrupted();
        tracing::warn!(
            sequence = shared.sequence.load(Ordering::Relaxed),
            "the registry's watch broke off"
        );
        watch = begin_again(shared, registry).await;
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

/// Advances the index whenever something in it is due.
async fn keep_time(shared: &Shared) {
    loop {
        let due = shared.index.read().next_due();
        match due {
            Some(due) => tokio::select! {
                biased;
                () = sleep_until(due) => shared.advance(Instant::now()),
                () = shared.sooner.notified() => {}
            },
            None => shared.sooner.notified().await,
        }
    }
}

/// Draws a wait of half to all of `longest`, so that many views do not come back at once.
fn jittered(longest: Duration) -> Duration {
    let half = longest / 2;
    half + Duration::from_nanos(scale(random::draw(), half.as_nanos() as u64))
}
