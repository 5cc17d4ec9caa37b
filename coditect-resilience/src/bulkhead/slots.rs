//! The slots of one compartment, and the queue before them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::observer::BulkheadObserver;
use super::policy::BulkheadPolicy;
use crate::error::Error;
use crate::gate::Guard;

/// Hands out the slots of one compartment, first come, first served. Clones are the same compartment.
///
/// ```
/// use coditect_resilience::{BulkheadPolicy, ErrorKind, Slots};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), coditect_resilience::Error> {
/// let slots = Slots::new(BulkheadPolicy::new(1)?);
/// let slot = slots.acquire().await?;
/// assert_eq!(slots.acquire().await.unwrap_err().kind(), ErrorKind::Overloaded);
/// drop(slot);
/// assert!(slots.acquire().await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Slots {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    policy: BulkheadPolicy,
    observer: Arc<dyn BulkheadObserver>,
    free: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// One slot; dropping it frees it.
#[derive(Debug)]
#[must_use = "a slot that is dropped at once is free again"]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// Makes a compartment without a name.
    #[must_use]
    pub fn new(policy: BulkheadPolicy) -> Self {
        Self::named("".into(), policy, Arc::new(()))
    }

    /// Tells an observer about a compartment that is not yet shared.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn BulkheadObserver>) -> Self {
        Self::named(Arc::clone(&self.inner.name), self.inner.policy, observer)
    }

    pub(super) fn named(
        name: Arc<str>,
        policy: BulkheadPolicy,
        observer: Arc<dyn BulkheadObserver>,
    ) -> Self {
        // A semaphore holds at least 2^29 permits on every platform, which no compartment needs.
        let permits = (policy.max_concurrent() as usize).min(Semaphore::MAX_PERMITS);
        Self {
            inner: Arc::new(Inner {
                name,
                policy,
                observer,
                free: Arc::new(Semaphore::new(permits)),
                waiting: AtomicU32::new(0),
            }),
        }
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &BulkheadPolicy {
        &self.inner.policy
    }

    /// Returns the number of slots that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inner.free.available_permits()
    }

    /// Returns the number of calls that wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Takes a slot if one is free; those that wait come first.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.inner.free).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// Takes a slot, waiting for one if the policy allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) if the queue is full or the wait too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the queue.
    pub async fn acquire(&self) -> Result<Slot, Error> {
        if let Some(slot) = self.try_acquire() {
            return Ok(slot);
        }
        self.enter()?.slot().await
    }

    /// Takes a place in the queue.
    pub(super) fn enter(&self) -> Result<Place, Error> {
        let (inner, most) = (&self.inner, self.inner.policy.max_queue());
        let entered = inner
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < most).then(|| waiting + 1)
            });
        match entered {
            Ok(before) => {
                inner.observer.on_wait(&inner.name, before + 1);
                Ok(Place(self.clone()))
            }
            Err(_) => Err(self.refuse()),
        }
    }

    #[cold]
    fn refuse(&self) -> Error {
        self.inner.observer.on_refused(&self.inner.name);
        Error::overloaded()
    }

    /// Tells whether nobody but the table knows this compartment, so that forgetting it changes nothing.
    pub(super) fn is_idle(&self) -> bool {
        // A slot in use holds the semaphore, and a place in the queue holds the compartment.
        Arc::strong_count(&self.inner) == 1 && Arc::strong_count(&self.inner.free) == 1
    }
}

/// A place in the queue; dropping it leaves the queue.
pub(super) struct Place(Slots);

impl Place {
    pub(super) async fn slot(self) -> Result<Slot, Error> {
        let inner = &self.0.inner;
        let permit = Arc::clone(&inner.free).acquire_owned();
        let permit = match inner.policy.max_wait() {
            Some(limit) => timeout(limit, permit).await.map_err(|_| self.0.refuse())?,
            None => permit.await,
        };
        // The semaphore is never closed; were it, nothing could be let in.
        permit
            .map(|permit| Slot { _permit: permit })
            .map_err(|_| self.0.refuse())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inner.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T, E> Guard<T, E> for Slot {
    fn settle(self, _: &Result<T, E>) {}
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("name", &self.inner.name)
            .field("free", &self.free())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
