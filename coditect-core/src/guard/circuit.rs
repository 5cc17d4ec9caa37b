//! One endpoint: its breaker, its slots, and what was wrong with it last.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::Destination;
use coditect_resilience::{Breaker, BreakerPermit, BreakerState, Classification, Slot, Slots};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::refusal::{LastFailure, PortError, Refusal};

/// Lets calls go to one endpoint. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    pub(super) endpoint: Endpoint,
    pub(super) breaker: Breaker,
    pub(super) slots: Slots,
    pub(super) last: Last,
}

/// What is called, as errors name it.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    Port(&'static str),
    Destination(Destination),
}

/// What failed last; where endpoints are many they share it.
pub(super) type Last = Arc<Mutex<Option<LastFailure>>>;

/// Leave for one call. Dropping it says that the call showed nothing.
#[must_use = "what came of the call has to be said"]
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    permit: BreakerPermit,
    _slot: Slot,
}

impl Circuit {
    pub(super) fn new(what: &'static str, breaker: Breaker, slots: Slots) -> Self {
        Self {
            endpoint: Endpoint::Port(what),
            breaker,
            slots,
            last: Arc::default(),
        }
    }

    /// The same endpoint, with as many slots again that others cannot take.
    pub(super) fn with_own_slots(&self) -> Self {
        Self {
            slots: Slots::new(*self.slots.policy()),
            ..self.clone()
        }
    }

    /// Waits for leave to make a call.
    ///
    /// The breaker is asked before the queue, so that nobody waits behind calls that hang, and after it, as it may have opened
    /// in the meantime.
    pub(super) async fn enter(&self) -> Result<Pass<'_>, Refusal> {
        self.breaker.look().map_err(|left| self.open(left))?;
        let slot = self.slots.acquire().await.map_err(|_| {
            let policy = self.slots.policy();
            Refusal::is_full(&self.endpoint, policy.max_concurrent(), policy.max_queue())
        })?;
        let refused = |error: coditect_resilience::Error| self.open(error.retry_after());
        Ok(Pass {
            circuit: self,
            permit: self.breaker.acquire().map_err(refused)?,
            _slot: slot,
        })
    }

    /// Makes a call, and gives it up after a time where there is one.
    pub(super) async fn call<T, E: PortError>(
        &self,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        self.call_or(limit, call, E::late).await
    }

    /// Makes a call that may never have left this process: that it fails shows something, that it succeeds shows nothing.
    pub(super) async fn prepare<T, E: PortError>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let pass = self.enter().await.map_err(E::refused)?;
        let result = self.within(Some(limit), call, E::late).await;
        match &result {
            Ok(_) => drop(pass),
            Err(error) => pass.settle(Some(error)),
        }
        result
    }

    /// Makes a call whose outcome after its time is for the caller to name.
    pub(super) async fn call_or<T, E: PortError>(
        &self,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T, E>> + Send,
        late: impl FnOnce(String) -> E + Send,
    ) -> Result<T, E> {
        let pass = self.enter().await.map_err(E::refused)?;
        let result = self.within(limit, call, late).await;
        pass.settle(result.as_ref().err());
        result
    }

    async fn within<T, E>(
        &self,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T, E>> + Send,
        late: impl FnOnce(String) -> E + Send,
    ) -> Result<T, E> {
        let Some(limit) = limit else {
            return call.await;
        };
        timeout(limit, call).await.unwrap_or_else(|_| {
            let text = format!("{} gave no answer within {limit:?}", self.endpoint);
            Err(late(text))
        })
    }

    #[cold]
    fn open(&self, left: Option<Duration>) -> Refusal {
        if self.breaker.state() == BreakerState::ForcedOpen {
            return Refusal::is_forced(&self.endpoint);
        }
        Refusal::is_open(&self.endpoint, left, self.last.lock().clone())
    }
}

impl Pass<'_> {
    /// Says what came of the call.
    pub(super) fn settle<E: PortError>(self, error: Option<&E>) {
        let class = error.map_or(Classification::Success, E::classification);
        if let (Classification::Fail, Some(error)) = (class, error) {
            let failure = LastFailure::of(&self.circuit.endpoint, error);
            *self.circuit.last.lock() = Some(failure);
        }
        self.permit.settle(class);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(what) => f.write_str(what),
            Self::Destination(to) => write!(f, "{to} on the message bus"),
        }
    }
}
