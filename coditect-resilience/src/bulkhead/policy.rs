//! How many calls run at once and how many wait: plain data.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::millis::Millis;

/// Says how many calls may be under way at once, and how many more may wait for how long.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::BulkheadPolicy;
///
/// let policy = BulkheadPolicy::new(8)?.with_queue(16).with_max_wait(Duration::from_secs(1));
/// assert_eq!((policy.max_concurrent(), policy.max_queue()), (8, 16));
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkheadPolicy {
    max_concurrent: NonZeroU32,
    #[serde(default)]
    max_queue: u32,
    #[serde(
        rename = "max_wait_ms",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    max_wait: Option<Millis>,
}

impl BulkheadPolicy {
    /// Allows so many calls at once and no queue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if no call is allowed.
    pub fn new(max_concurrent: u32) -> Result<Self, Error> {
        let max_concurrent =
            NonZeroU32::new(max_concurrent).ok_or(Error::invalid_policy("no call is allowed"))?;
        Ok(Self {
            max_concurrent,
            max_queue: 0,
            max_wait: None,
        })
    }

    /// Lets so many more calls wait, first come, first served.
    #[must_use]
    pub const fn with_queue(mut self, max_queue: u32) -> Self {
        self.max_queue = max_queue;
        self
    }

    /// Refuses a call that has waited this long.
    #[must_use]
    pub const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(Millis::from_duration(max_wait));
        self
    }

    /// Returns how many calls may be under way at once.
    #[must_use]
    pub const fn max_concurrent(&self) -> u32 {
        self.max_concurrent.get()
    }

    /// Returns how many more may wait.
    #[must_use]
    pub const fn max_queue(&self) -> u32 {
        self.max_queue
    }

    /// Returns how long a call may wait.
    #[must_use]
    pub fn max_wait(&self) -> Option<Duration> {
        self.max_wait.map(Millis::duration)
    }
}
