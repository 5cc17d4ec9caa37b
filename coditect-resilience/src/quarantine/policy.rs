//! When a quarantine begins, and how often it is tried whether it can end: plain data.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::breaker::BreakerPolicy;
use crate::error::Error;

/// Says how many failures of one kind begin a quarantine, and after how long it is probed.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{Backoff, QuarantinePolicy};
///
/// // Five of the last twenty, within ten minutes; the first probe after a minute.
/// let policy = QuarantinePolicy::new(5, 20, Duration::from_secs(600))?
///     .with_probe_after(Backoff::constant(Duration::from_secs(60)));
/// assert_eq!((policy.failures(), policy.of()), (5, 20));
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuarantinePolicy {
    failures: u32,
    of: u32,
    within: Duration,
    /// How the quarantine itself opens and is probed.
    gate: BreakerPolicy,
}

impl QuarantinePolicy {
    /// The longest memory, in pieces of work.
    pub const MAX_OF: u32 = 1_000;

    /// Begins a quarantine with the `failures`th failure of one kind among the last `of` outcomes that are no older than `within`.
    ///
    /// It is probed after half a minute, and ever more rarely, up to every ten minutes, as long as probes fail.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless `failures` is between 1 and `of`, that not above [`MAX_OF`](Self::MAX_OF), and the
    /// span not zero.
    pub fn new(failures: u32, of: u32, within: Duration) -> Result<Self, Error> {
        if failures == 0 || failures > of || of > Self::MAX_OF || within.is_zero() {
            return Err(Error::invalid_policy(
                "a quarantine begins with 1 failure at least, of as many outcomes or more, 1,000 at most, within some time",
            ));
        }
        let probes = Backoff::new(Duration::from_secs(30), Duration::from_secs(600))?;
        Ok(Self {
            failures,
            of,
            within,
            gate: gate(probes)?,
        })
    }

    /// Sets after how long it is probed, again and again.
    #[must_use]
    pub fn with_probe_after(mut self, backoff: Backoff) -> Self {
        // Only the backoff differs from what was valid before.
        if let Ok(gate) = gate(backoff) {
            self.gate = gate;
        }
        self
    }

    /// Returns how many failures of one kind begin it.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns of how many outcomes.
    #[must_use]
    pub const fn of(&self) -> u32 {
        self.of
    }

    /// Returns how old an outcome may be to count.
    #[must_use]
    pub const fn within(&self) -> Duration {
        self.within
    }

    /// Returns after how long it is probed.
    #[must_use]
    pub const fn probe_after(&self) -> &Backoff {
        self.gate.open_for()
    }

    pub(super) const fn gate(&self) -> &BreakerPolicy {
        &self.gate
    }
}

/// One failure opens it, one probe at a time is let through, and one success closes it.
fn gate(open_for: Backoff) -> Result<BreakerPolicy, Error> {
    BreakerPolicy::builder()
        .consecutive_failures(1)
        .open_for(open_for)
        .probes(1)
        .successes_to_close(1)
        .build()
}
