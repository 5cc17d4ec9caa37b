//! How often a capability is called: calls beyond its rate wait without a slot, and what they cost is counted afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use coditect_registry::CapabilityName;
use coditect_resilience::{
    Error, RateLimitStore, RateLimiter, RatePolicy, Reservation, SharedRateLimiter,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::breaker::Bell;

/// Longer than any rate makes anybody wait.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a provider behind a capability allows.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::RateLimits;
/// use coditect_core::resilience::RatePolicy;
///
/// # fn main() -> Result<(), coditect_core::resilience::Error> {
/// let minute = Duration::from_secs(60);
/// let limits = RateLimits::requests(RatePolicy::new(500, minute)?)
///     .with_tokens(RatePolicy::new(200_000, minute)?)
///     .with_processes(3);
/// # let _ = limits;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimits {
    requests: RatePolicy,
    tokens: Option<RatePolicy>,
    processes: u32,
}

impl RateLimits {
    /// Allows so many calls.
    #[must_use]
    pub const fn requests(policy: RatePolicy) -> Self {
        Self {
            requests: policy,
            tokens: None,
            processes: 1,
        }
    }

    /// Allows so much of what calls cost, as they report it by [`TaskContext::charge`](crate::TaskContext::charge).
    ///
    /// A call is let go as long as there is something left, and what it turns out to cost delays those after it.
    #[must_use]
    pub const fn with_tokens(mut self, policy: RatePolicy) -> Self {
        self.tokens = Some(policy);
        self
    }

    /// Says how many processes share the limits, each of which takes its part of them while the store between them is away;
    /// 1, which is all of them.
    #[must_use]
    pub const fn with_processes(mut self, processes: u32) -> Self {
        self.processes = if processes == 0 { 1 } else { processes };
        self
    }
}

impl From<RatePolicy> for RateLimits {
    fn from(requests: RatePolicy) -> Self {
        Self::requests(requests)
    }
}

/// Lets calls of a capability go at its rate, one after the other, to whichever agent of this process takes them.
pub(crate) struct RateGate {
    capability: CapabilityName,
    limits: RateLimits,
    /// Calls that may go now.
    granted: AtomicUsize,
    /// What calls have cost that was not yet counted.
    spent: AtomicU64,
    /// Somebody would call, or has paid.
    wanted: Notify,
    bells: Mutex<Vec<Arc<Bell>>>,
}

impl RateGate {
    pub(crate) fn new(capability: CapabilityName, limits: RateLimits) -> Arc<Self> {
        Arc::new(Self {
            capability,
            limits,
            granted: AtomicUsize::new(0),
            spent: AtomicU64::new(0),
            wanted: Notify::new(),
            bells: Mutex::default(),
        })
    }

    pub(crate) fn capability(&self) -> &CapabilityName {
        &self.capability
    }

    /// Has a bell rung whenever a call may go.
    pub(super) fn rings(&self, bell: &Arc<Bell>) {
        self.bells.lock().push(Arc::clone(bell));
    }

    /// Says whether a call may go now, and otherwise sees to it that one will.
    pub(super) fn has_one(&self) -> bool {
        let has = self.granted.load(Ordering::SeqCst) > 0;
        if !has {
            self.wanted.notify_one();
        }
        has
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Ticket> {
        let taken = self
            .granted
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if taken.is_err() {
            self.wanted.notify_one();
        }
        taken.ok().map(|_| Ticket {
            gate: Arc::clone(self),
            used: false,
        })
    }

    fn grant(&self) {
        self.granted.fetch_add(1, Ordering::SeqCst);
        let bells = self.bells.lock().clone();
        bells.iter().for_each(|bell| bell.ring());
    }

    /// Counts what a call has cost before the next one goes.
    pub(crate) fn charge(&self, tokens: u32) {
        self.spent.fetch_add(tokens.into(), Ordering::SeqCst);
        self.wanted.notify_one();
    }

    /// Lets calls go as the rates allow, those of all processes together where there is a store between them.
    pub(super) async fn run(&self, store: Option<Arc<dyn RateLimitStore>>) {
        let limiter = |what: &str, policy: RatePolicy| match &store {
            Some(store) => {
                let key = format!("{}/{what}", self.capability);
                let store = Arc::clone(store);
                let processes = self.limits.processes;
                Limiter::Shared(SharedRateLimiter::new(store, &key, policy, processes))
            }
            None => Limiter::Own(RateLimiter::new(policy)),
        };
        let requests = limiter("requests", self.limits.requests);
        let tokens = self.limits.tokens.map(|policy| limiter("tokens", policy));
        loop {
            self.wanted.notified().await;
            self.count(tokens.as_ref()).await;
            if self.granted.load(Ordering::SeqCst) > 0 {
                continue;
            }
            requests.wait_for(1).await;
            if let Some(tokens) = &tokens {
                self.count(Some(tokens)).await;
                // It takes nothing, and waits until what was spent before is paid for.
                tokens.wait_for(0).await;
            }
            self.grant();
        }
    }

    async fn count(&self, tokens: Option<&Limiter>) {
        let spent = self.spent.swap(0, Ordering::SeqCst);
        if let (Some(tokens), true) = (tokens, spent > 0) {
            let spent = u32::try_from(spent).unwrap_or(u32::MAX);
            // More than there is: nobody waits for it here.
            let _ = tokens.reserve(spent).await;
        }
    }
}

enum Limiter {
    Own(RateLimiter),
    Shared(SharedRateLimiter),
}

impl Limiter {
    async fn reserve(&self, tokens: u32) -> Result<Reservation, Error> {
        match self {
            Self::Own(limiter) => limiter.reserve(tokens, FOR_EVER),
            Self::Shared(limiter) => limiter.reserve(tokens, FOR_EVER).await,
        }
    }

    async fn wait_for(&self, tokens: u32) {
        loop {
            match self.reserve(tokens).await {
                Ok(reservation) => return reservation.ready().await,
                Err(refused) => {
                    let later = refused.retry_after().unwrap_or(Duration::from_secs(1));
                    tokio::time::sleep(later).await;
                }
            }
        }
    }
}

/// Leave for one call within the rate, given back where it was not made.
pub(super) struct Ticket {
    gate: Arc<RateGate>,
    used: bool,
}

impl Ticket {
    /// The call is made; says who counts what it costs.
    pub(super) fn punch(mut self) -> Arc<RateGate> {
        self.used = true;
        Arc::clone(&self.gate)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.gate.grant();
        }
    }
}
