//! The handle by which a closure holds the transaction of its attempt.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::transaction::Transaction;

/// Is the transaction of one attempt, lent to the closure of [`transact`](crate::StateStoreExt::transact).
///
/// It dereferences to [`Transaction`], so `&mut *tx` goes to functions that take
/// `&mut dyn Transaction`. It must be dropped by the end of the closure's future, which hands it back to be committed.
pub struct Tx {
    // Some until drop.
    transaction: Option<Box<dyn Transaction>>,
    slot: Slot,
}

/// Receives the transaction when its handle is dropped.
#[derive(Clone)]
pub(super) struct Slot(Arc<Mutex<Option<Box<dyn Transaction>>>>);

impl Tx {
    pub(super) fn lend(transaction: Box<dyn Transaction>) -> (Self, Slot) {
        let slot = Slot(Arc::new(Mutex::new(None)));
        (
            Self {
                transaction: Some(transaction),
                slot: slot.clone(),
            },
            slot,
        )
    }
}

impl Slot {
    pub(super) fn take(self) -> Result<Box<dyn Transaction>> {
        let kept = || Error::invalid("the closure kept its transaction beyond its end");
        self.0.lock().take().ok_or_else(kept)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        *self.slot.0.lock() = self.transaction.take();
    }
}

impl Deref for Tx {
    type Target = dyn Transaction;

    fn deref(&self) -> &Self::Target {
        // Only `drop` takes the transaction out.
        self.transaction
            .as_deref()
            .expect("a handle has its transaction until it is dropped")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // Only `drop` takes the transaction out.
        self.transaction
            .as_deref_mut()
            .expect("a handle has its transaction until it is dropped")
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tx").field(&self.transaction).finish()
    }
}
