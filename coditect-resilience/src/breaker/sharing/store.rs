//! The port through which processes tell each other what their breakers found out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tower::BoxError;

/// Keeps what processes say about callees, each notice for a while.
///
/// It needs no memory beyond a restart and no strict order: a notice that is lost costs another process a few calls.
/// So a cache with expiry is enough. Nothing waits for it but [`BreakerSharing`](super::BreakerSharing).
///
/// # Contract
///
/// - **R1** What was published is read by all who ask after that.
/// - **R2** A notice replaces the one before it under the same name, whoever it came from.
/// - **R3** A notice vanishes once its [`left`](BreakerNotice::left) has passed on the store's clock.
/// - **R4** A notice is read with what is then left of its time.
/// - **R5** No more than `limit` notices are read at once; which ones, where there are more, is the store's choice.
#[async_trait]
pub trait BreakerStore: Send + Sync + 'static {
    /// Makes a notice known for as long as it says.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is reported and the notice is given up.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have published the notice or not.
    async fn publish(&self, notice: &BreakerNotice) -> Result<(), BoxError>;

    /// Returns the notices whose time is not over.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is reported, and the store is asked again at the next turn.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call changes nothing.
    async fn notices(&self, limit: usize) -> Result<Vec<BreakerNotice>, BoxError>;
}

/// What one process says about one callee. Its serialized form is fit for any store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerNotice {
    /// The name of the breaker: its key.
    pub name: String,
    /// The process that says so: a number that it drew at its start.
    pub origin: u64,
    /// Counts what that process has said.
    pub sequence: u64,
    /// What it found out.
    pub finding: Finding,
    /// For how long it holds.
    pub left: Duration,
}

/// What a process found out about a callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Finding {
    /// It is failing: stay away for the time of the notice.
    Open,
    /// It answers again.
    Closed,
}

impl fmt::Debug for BreakerNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is {:?} for {:?}, says {:x}#{}",
            self.name, self.finding, self.left, self.origin, self.sequence
        )
    }
}
