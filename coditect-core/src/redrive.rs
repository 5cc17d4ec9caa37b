//! When tasks that have failed for good are put back without anybody asking for it.

use std::time::Duration;

use coditect_registry::CapabilityName;
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::failure::FailureKind;

/// How often a task is put back by itself at most, whatever a policy says.
const MOST: usize = 100;

/// Says when a task that has failed for good is put back by itself, how often, and for which failures.
///
/// Each redrive is one more attempt, after its delay. The task is set aside meanwhile: it shows among the
/// [dead letters](crate::Runtime::dead_letters), and its run waits for it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::{FailureKind, RedrivePolicy};
///
/// const MINUTE: Duration = Duration::from_secs(60);
/// let policy = RedrivePolicy::new([MINUTE, 10 * MINUTE, 60 * MINUTE])?
///     .with_kinds([FailureKind::Error, FailureKind::Timeout]);
/// assert_eq!(policy.delay(FailureKind::Error, 1), Some(10 * MINUTE));
/// assert_eq!(policy.delay(FailureKind::Error, 3), None);
/// assert_eq!(policy.delay(FailureKind::Permanent, 0), None);
/// # Ok::<(), coditect_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedrivePolicy {
    delays: Vec<Duration>,
    kinds: Vec<FailureKind>,
}

impl RedrivePolicy {
    /// Puts tasks back once after each of these delays, where their failure may pass: `Error`, `Panic` and `Timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for no delay at all, or more than 100.
    pub fn new(delays: impl IntoIterator<Item = Duration>) -> Result<Self, Error> {
        let delays: Vec<_> = delays.into_iter().take(MOST + 1).collect();
        if delays.is_empty() || delays.len() > MOST {
            let text = format!("a redrive policy has between 1 and {MOST} delays");
            return Err(Error::invalid(text));
        }
        Ok(Self {
            delays,
            kinds: vec![FailureKind::Error, FailureKind::Panic, FailureKind::Timeout],
        })
    }

    /// Puts tasks back that failed in these ways, and no others.
    ///
    /// Only what an agent answered can be named: an attempt that is [lost](FailureKind::Lost) too often, a deadline
    /// that passes and what people decide are never put back by themselves.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = FailureKind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// After how long a task is put back that failed in this way and was put back so often; none if it is not.
    #[must_use]
    pub fn delay(&self, kind: FailureKind, redrives: u32) -> Option<Duration> {
        let delay = self.delays.get(usize::try_from(redrives).ok()?);
        delay.filter(|_| self.kinds.contains(&kind)).copied()
    }
}

/// The redrive policies of a process.
#[derive(Debug, Default)]
pub(crate) struct Redrives {
    named: FxHashMap<CapabilityName, Option<RedrivePolicy>>,
    default: Option<RedrivePolicy>,
}

impl Redrives {
    pub(crate) fn new(
        named: FxHashMap<CapabilityName, Option<RedrivePolicy>>,
        default: Option<RedrivePolicy>,
    ) -> Self {
        Self { named, default }
    }

    /// The policy of a capability; none where its tasks are not put back by themselves.
    pub(crate) fn policy(&self, capability: &CapabilityName) -> Option<&RedrivePolicy> {
        match self.named.get(capability) {
            Some(named) => named.as_ref(),
            None => self.default.as_ref(),
        }
    }
}
