//! What stands before the calls of one capability of an agent: its breaker and its rate, which pause the taking of such work.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use coditect_resilience::{Breaker, BreakerPermit, BreakerPolicy, BreakerState};
use tokio::sync::watch;

use super::attempt::{Attempted, Ended};
use super::hungry::Hungry;
use super::rate::{RateGate, Ticket};
use crate::failure::FailureKind;

/// What stands before the calls of one capability of an agent: its breaker, unless that was left out, and its rate, where it
/// has one.
pub(crate) struct Guard {
    breaker: Option<Breaker>,
    rate: Option<Arc<RateGate>>,
    bell: Arc<Bell>,
}

/// What is told of one breaker.
pub(super) struct Bell {
    /// Since when it lets not every call through; none while it does.
    tripped: watch::Sender<Option<SystemTime>>,
    /// Whether it was told that its open time is over.
    told_elapsed: AtomicBool,
    hungry: Arc<Hungry>,
}

/// The breaker does not let a call through now.
#[derive(Debug)]
pub(super) struct Refused;

impl Guard {
    pub(super) fn new(
        breaker: Option<Breaker>,
        rate: Option<Arc<RateGate>>,
        bell: Arc<Bell>,
    ) -> Self {
        if let Some(rate) = &rate {
            rate.rings(&bell);
        }
        Self {
            breaker,
            rate,
            bell,
        }
    }

    pub(crate) fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }

    /// Says whether a call would be let through now.
    pub(super) fn admits(&self) -> bool {
        self.look().is_ok()
    }

    /// As [`admits`](Self::admits), with the time after which to look again if nobody rings before.
    fn look(&self) -> Result<(), Option<Duration>> {
        if let Some(breaker) = &self.breaker {
            breaker.look()?;
        }
        match &self.rate {
            Some(rate) if !rate.has_one() => Err(None),
            _ => Ok(()),
        }
    }

    /// Waits until a call would be let through.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn admitted(&self) {
        if self.admits() {
            return;
        }
        let mut rung = self.bell.tripped.subscribe();
        while let Err(left) = self.look() {
            tokio::select! {
                biased;
                // The sender lives as long as this.
                _ = rung.changed() => {}
                () = elapsed(left) => {}
            }
        }
    }

    /// Asks leave for a call; none is needed where nothing stands before it.
    pub(super) fn leave(&self) -> Result<Option<Leave>, Refused> {
        // Asked first: a refusal is no event that anybody is to be told of.
        let breaker = self.breaker.as_ref();
        breaker.map_or(Ok(()), Breaker::look).map_err(|_| Refused)?;
        let ticket = match &self.rate {
            Some(rate) => Some(rate.take().ok_or(Refused)?),
            None => None,
        };
        let permit = breaker.map(Breaker::acquire).transpose();
        let permit = permit.map_err(|_| Refused)?;
        if permit.is_none() && ticket.is_none() {
            return Ok(None);
        }
        let is_probe = permit.as_ref().is_some_and(BreakerPermit::is_probe);
        Ok(Some(Leave {
            bell: is_probe.then(|| Arc::clone(&self.bell)),
            permit,
            ticket,
        }))
    }

    /// Says whether the breaker lets no call through now.
    pub(super) fn is_open(&self) -> bool {
        let breaker = self.breaker.as_ref();
        breaker.is_some_and(|breaker| breaker.look().is_err())
    }

    /// Says whether calls are held back, all or all but a few.
    pub(super) fn is_tripped(&self) -> bool {
        let breaker = self.breaker.as_ref();
        breaker.is_some_and(|breaker| !breaker.is_flowing())
    }

    /// Waits until calls are held back, or are no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn turned(&self, tripped: bool) {
        let mut told = self.bell.tripped.subscribe();
        while self.is_tripped() != tripped {
            // The sender lives as long as this.
            let _ = told.changed().await;
        }
    }

    /// Since when calls are held back; none while they are not, nor while one is wanted that shows whether they need be:
    /// whoever is not to be preferred is not called where others are.
    pub(super) fn tripped_since(&self) -> Option<SystemTime> {
        let since = *self.bell.tripped.borrow();
        since.filter(|_| self.is_shut())
    }

    /// Says whether no call is let through, whatever those under way show.
    fn is_shut(&self) -> bool {
        let half_open = |breaker: &&Breaker| breaker.state() == BreakerState::HalfOpen;
        self.is_open() && self.breaker().filter(half_open).is_none()
    }

    /// How many calls go through at once while it is found out whether all may.
    pub(super) fn probes(&self) -> u32 {
        let policy = self.breaker().map(Breaker::policy);
        policy.map_or(1, BreakerPolicy::probes)
    }

    /// Tells those who wait, once, that the open time is over, which a breaker finds with the next call only. Says when to look
    /// again.
    pub(super) fn tend(&self) -> Option<Duration> {
        let (breaker, bell) = (self.breaker.as_ref()?, &self.bell);
        if breaker.is_flowing() {
            return None;
        }
        let left = breaker.open_left()?;
        if !left.is_zero() {
            return Some(left);
        }
        if !bell.told_elapsed.swap(true, Ordering::AcqRel) {
            bell.ring();
        }
        None
    }
}

impl Bell {
    pub(super) fn new(hungry: &Arc<Hungry>) -> Self {
        Self {
            tripped: watch::Sender::new(None),
            told_elapsed: AtomicBool::new(false),
            hungry: Arc::clone(hungry),
        }
    }

    /// Tells those who wait that calls are held back from now on, or are no more.
    pub(super) fn turn(&self, flows: bool) {
        self.told_elapsed.store(false, Ordering::Release);
        self.tripped.send_modify(|tripped| {
            *tripped = match flows {
                true => None,
                false => tripped.or_else(|| Some(SystemTime::now())),
            };
        });
        self.hungry.feed_all();
    }

    /// Has those who wait look again.
    pub(super) fn ring(&self) {
        self.tripped.send_modify(|_| {});
        self.hungry.feed_all();
    }
}

async fn elapsed(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// Leave for one call. Dropping it says that the call showed nothing.
pub(crate) struct Leave {
    /// Taken when the call has ended, or was not made.
    permit: Option<BreakerPermit>,
    /// Within the rate, where there is one.
    ticket: Option<Ticket>,
    /// Of a probe, which makes room for another.
    bell: Option<Arc<Bell>>,
}

impl Leave {
    /// The call is made; says who counts what it costs.
    pub(super) fn begin(&mut self) -> Option<Arc<RateGate>> {
        self.ticket.take().map(Ticket::punch)
    }

    /// Tells the breaker what the call has shown.
    pub(super) fn settle(mut self, attempted: &Attempted) {
        if let Some(permit) = self.permit.take() {
            match shown(attempted) {
                Some(true) => permit.success(),
                Some(false) => permit.failure(),
                None => drop(permit),
            }
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        drop(self.permit.take());
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

/// Whether an attempt shows that its agent works; none where it shows nothing of the agent.
fn shown(attempted: &Attempted) -> Option<bool> {
    match &attempted.ended {
        Ended::Output(_) | Ended::Plan(_) => Some(true),
        Ended::Failed { .. } if attempted.was_given_up() => None,
        Ended::Failed { failure, .. } => match failure.kind {
            FailureKind::Error | FailureKind::Panic | FailureKind::Timeout => Some(false),
            // The caller asked for what cannot be done, gave too little time, or wanted no answer any more.
            FailureKind::Permanent
            | FailureKind::InvalidInput
            | FailureKind::TooLarge
            | FailureKind::InvalidPlan
            | FailureKind::DeadlineExceeded
            | FailureKind::Unserved
            | FailureKind::Lost
            | FailureKind::Cancelled
            | FailureKind::Upstream
            | FailureKind::OutcomeUnknown
            | FailureKind::Rejected => None,
        },
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leave")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}
