//! Being told what the store does, for metrics.

use std::fmt;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::token::FencingToken;

/// Is told what happens; each method does nothing by default.
///
/// Called on the path of the caller, so implementations must neither block nor panic.
pub trait StateObserver: fmt::Debug + Send + Sync + 'static {
    /// A [`transact`](crate::StateStoreExt::transact) committed.
    fn committed(&self, commit: &Committed) {
        let _ = commit;
    }

    /// An attempt is given up and another follows, for a conflict or a store out of reach.
    fn retried(&self, kind: ErrorKind, attempt: u32) {
        let _ = (kind, attempt);
    }

    /// A commit ended without an answer; `happened` is what its operation key said.
    fn outcome_resolved(&self, happened: bool) {
        let _ = happened;
    }

    /// A `transact` ended with an error other than [`Aborted`](ErrorKind::Aborted).
    fn failed(&self, kind: ErrorKind) {
        let _ = kind;
    }

    /// A lease was acquired.
    fn lease_acquired(&self, name: &str, token: FencingToken) {
        let _ = (name, token);
    }

    /// A lease was lost to time or to another holder.
    fn lease_lost(&self, name: &str, token: FencingToken) {
        let _ = (name, token);
    }
}

/// Describes a committed transaction to an observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// How many attempts it took, from 1.
    pub attempts: u32,
    /// The bytes that it wrote.
    pub bytes: usize,
    /// The time from the begin of the first attempt.
    pub elapsed: Duration,
}

/// Is told everything and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl StateObserver for NoObserver {}
