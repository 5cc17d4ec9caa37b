//! `transact`: a closure run in a transaction until it commits or must not be tried again.

mod operation;
mod options;
mod tx;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

pub use self::options::TransactOptions;
pub(crate) use self::options::random_share;
pub use self::tx::Tx;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::Committed;
use crate::store::StateStore;
use crate::transact::operation::Operation;

/// Adds [`transact`](StateStoreExt::transact) to every store.
pub trait StateStoreExt: StateStore {
    /// Runs `closure` in a transaction and commits, again after each conflict, with the default options.
    ///
    /// The closure may run several times, so its effects outside of the transaction must bear
    /// repetition. To leave without commit, return [`Error::abort`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use coditect_state::{MemoryStore, StateStoreExt, TransactionExt};
    ///
    /// let store = MemoryStore::new();
    /// let visits = store
    ///     .transact(|mut tx| async move {
    ///         let visits = tx.get_json(b"visits").await?.unwrap_or(0) + 1;
    ///         tx.set_json(b"visits", &visits)?;
    ///         Ok(visits)
    ///     })
    ///     .await?;
    /// assert_eq!(visits, 1);
    /// # Ok::<_, coditect_state::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own error if it is not retryable; the last [`Conflict`](ErrorKind::Conflict) or
    /// [`Unavailable`](ErrorKind::Unavailable) when attempts or time run out;
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) if a commit got no answer and the store stayed out of reach
    /// until the deadline.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped during a commit, its outcome is unknown.
    fn transact<T, F, Fut>(&self, closure: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: FnMut(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.transact_with(TransactOptions::default(), closure)
    }

    /// Runs `closure` as [`transact`](StateStoreExt::transact) does, with other bounds on attempts and time.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped during a commit, its outcome is unknown.
    fn transact_with<T, F, Fut>(
        &self,
        options: TransactOptions,
        closure: F,
    ) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: FnMut(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        run(self, options, closure)
    }

    /// Removes the operation keys of attempts that are older than `age`.
    ///
    /// Only stores with [`unknown_outcomes`](crate::Capabilities::unknown_outcomes) have them. One process of a
    /// deployment calls this now and then, with an age well above all timeouts, such as an hour.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at worst the keys are removed by the next call.
    fn sweep_operations(&self, age: Duration) -> impl Future<Output = Result<()>> + Send {
        async move {
            let bound = self
                .now()
                .await?
                .checked_sub(age)
                .unwrap_or(SystemTime::UNIX_EPOCH);
            let end = &operation::first_key_after(bound);
            self.transact(|mut tx| async move { tx.clear_range(operation::PREFIX, end) })
                .await
        }
    }
}

impl<S: StateStore + ?Sized> StateStoreExt for S {}

async fn run<S, T, F, Fut>(store: &S, options: TransactOptions, mut closure: F) -> Result<T>
where
    S: StateStore + ?Sized,
    T: Send,
    F: FnMut(Tx) -> Fut + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    let started = Instant::now();
    let deadline = started + options.timeout;
    let mut attempt = 1;
    let mut before = None;
    loop {
        let error: Error = match run_once(store, &options, &mut closure, deadline).await {
            Ok((value, bytes)) => {
                let elapsed = started.elapsed();
                store.observer().committed(&Committed {
                    attempts: attempt,
                    bytes,
                    elapsed,
                });
                return Ok(value);
            }
            Err(error) => error,
        };
        // One that ran out of time says why the others before it did not succeed.
        let is_bare = std::error::Error::source(&error).is_none();
        let error = match before
            .take()
            .filter(|_| is_bare && Instant::now() >= deadline)
        {
            Some(earlier) => error.with_source(earlier),
            None => error,
        };
        let wait = options.backoff(attempt, store.jitter());
        if !error.is_retryable()
            || attempt >= options.max_attempts
            || Instant::now() + wait >= deadline
        {
            if error.kind() != ErrorKind::Aborted {
                store.observer().failed(error.kind());
            }
            return Err(error);
        }
        debug!(attempt, %error, "transaction starts again");
        store.observer().retried(error.kind(), attempt);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        attempt += 1;
        before = Some(error);
    }
}

/// Runs one attempt to its commit, and finds out what became of a commit without an answer.
async fn run_once<S, T, F, Fut>(
    store: &S,
    options: &TransactOptions,
    closure: &mut F,
    deadline: Instant,
) -> Result<(T, usize)>
where
    S: StateStore + ?Sized,
    F: FnMut(Tx) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let prepare = async {
        let (tx, slot) = Tx::lend(store.begin().await?);
        let value = closure(tx).await?;
        let mut transaction = slot.take()?;
        let bytes = transaction.size();
        let operation = if bytes > 0 && store.capabilities().unknown_outcomes {
            Some(Operation::enlist(&mut *transaction).await?)
        } else {
            None
        };
        Ok::<_, Error>((value, bytes, transaction, operation))
    };
    let late = |_| {
        Error::new(
            ErrorKind::Unavailable,
            "transaction had no answer before its deadline",
        )
    };
    let (value, bytes, transaction, operation) =
        timeout_at(deadline, prepare).await.map_err(late)??;

    let unknown = |_| {
        Error::new(
            ErrorKind::OutcomeUnknown,
            "commit had no answer before its deadline",
        )
    };
    let error = match timeout_at(deadline, transaction.commit())
        .await
        .map_err(unknown)
    {
        Ok(Ok(_)) => return Ok((value, bytes)),
        Ok(Err(error)) | Err(error) => error,
    };
    if bytes == 0 && error.outcome_unknown() {
        // Nothing was written, so that nothing can have happened: it is read again.
        let text = "the commit of what was read had no answer";
        return Err(Error::new(ErrorKind::Unavailable, text).with_source(error));
    }
    let Some(operation) = operation.filter(|_| error.outcome_unknown()) else {
        return Err(error);
    };
    warn!(%error, "commit had no answer, looking for its operation key");
    let patience = Instant::now() + options.timeout;
    let happened = operation
        .resolve(store, options, patience)
        .await
        .map_err(|_| error)?;
    store.observer().outcome_resolved(happened);
    if happened {
        return Ok((value, bytes));
    }
    Err(Error::conflict("commit without an answer did not happen"))
}
