//! Attempts that went with their queue: published again, as the same attempts.

use std::time::Duration;

use coditect_dag::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::active::Place;
use super::commit::Deferred;
use super::owner::Owner;
use crate::wire::Anew;

/// How far the clocks of two processes may be apart: what was handed out this shortly before a queue was found missing
/// counts as handed to the new one, or whatever waits for a first worker would be done twice.
const SKEW: Duration = Duration::from_secs(1);

/// For how long notices of one queue are taken for one.
const REPEATED: Duration = Duration::from_secs(5);

/// Waits until a queue was made anew; none when there were too many to tell which.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn made_anew(anew: &mut broadcast::Receiver<Anew>) -> Option<Anew> {
    match anew.recv().await {
        Ok(anew) => Some(anew),
        Err(RecvError::Lagged(_)) => None,
        // The worker, which holds the sender, outlives the owners of its process.
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

impl Owner {
    /// Publishes what was handed to a queue before it was made anew; without a notice, what was handed to any.
    ///
    /// One that had been taken and not acknowledged went with the queue, too: its worker has been told that it is lost.
    pub(super) fn publish_again(&mut self, notice: Option<&Anew>) {
        let now = self.now;
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let at = match &flight.place {
                    Place::Bus(at) => at,
                    Place::Instance(routed) => &routed.queue,
                    Place::Local(_) | Place::Claimed(_) => continue,
                };
                let is_gone = notice.is_none_or(|notice| {
                    // Everybody who took tasks there tells, one after the other: the first notice counts.
                    let heard = |again: Timestamp| now.saturating_since(again) < REPEATED;
                    notice.anew == *at
                        && !flight.again.is_some_and(heard)
                        && notice
                            .at
                            .is_none_or(|made| flight.since.saturating_add(SKEW) < made)
                });
                if is_gone {
                    flight.again = Some(now);
                    self.deferred.push(Deferred::Publish {
                        run: *run,
                        task: *task,
                        attempt: flight.attempt,
                    });
                }
            }
        }
    }
}
