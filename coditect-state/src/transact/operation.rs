//! Operation keys: finding out what became of a commit that got no answer.
//!
//! Each attempt reads a fresh key and sets it in its transaction. Whoever finds the key after a lost answer
//! knows that the attempt was committed. Finding nothing is not enough, for the commit may still be
//! under way; so the key is set to `REFUSED`, which makes the late commit fail with a conflict, since it
//! has read that key as absent.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::TransactOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::store::StateStore;
use crate::transaction::Transaction;

/// Starts all operation keys; what follows is a version 7 UUID, so they lie in the order of time.
pub(super) const PREFIX: &[u8] = b"\xfecoditect/operation/";

const COMMITTED: &[u8] = b"committed";
const REFUSED: &[u8] = b"refused";

/// Returns the key before which all operation keys made before `time` lie: the UUIDs start with milliseconds.
pub(super) fn first_key_after(time: SystemTime) -> Vec<u8> {
    let millis = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    [PREFIX, &millis.to_be_bytes()[10..]].concat()
}

/// Is the key by which one attempt can be found again.
#[derive(Debug)]
pub(super) struct Operation {
    key: Vec<u8>,
}

impl Operation {
    /// Adds a fresh operation key to what the transaction reads and writes.
    pub(super) async fn enlist(transaction: &mut dyn Transaction) -> Result<Self> {
        let key = [PREFIX, Uuid::now_v7().as_bytes()].concat();
        if transaction.get(&key).await?.is_some() {
            return Err(Error::conflict("operation key is taken"));
        }
        transaction.set(&key, Bytes::from_static(COMMITTED))?;
        Ok(Self { key })
    }

    /// Returns whether the attempt was committed; if not, it never will be.
    pub(super) async fn resolve<S: StateStore + ?Sized>(
        &self,
        store: &S,
        options: &TransactOptions,
        deadline: Instant,
    ) -> Result<bool> {
        let mut look = 1;
        loop {
            let late = |_| {
                Error::new(
                    ErrorKind::OutcomeUnknown,
                    "outcome could not be found before the deadline",
                )
            };
            match timeout_at(deadline, self.look(store)).await.map_err(late)? {
                Ok(happened) => return Ok(happened),
                Err(error) if error.is_retryable() || error.outcome_unknown() => {}
                Err(error) => return Err(error),
            }
            sleep(
                options
                    .backoff(look, store.jitter())
                    .max(Duration::from_millis(1)),
            )
            .await;
            look += 1;
        }
    }

    async fn look<S: StateStore + ?Sized>(&self, store: &S) -> Result<bool> {
        let mut transaction = store.begin().await?;
        match transaction.get(&self.key).await?.as_deref() {
            Some(COMMITTED) => Ok(true),
            Some(REFUSED) => Ok(false),
            Some(_) => Err(Error::corrupt("operation key has an unknown value")),
            None => {
                transaction.set(&self.key, Bytes::from_static(REFUSED))?;
                transaction.commit().await.map(|_| false)
            }
        }
    }
}
