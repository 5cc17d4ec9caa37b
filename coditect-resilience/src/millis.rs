//! Durations in whole milliseconds: the grain in which policies are kept and travel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span in whole milliseconds, so that a policy is the same before and after it has travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Millis(u64);

impl Millis {
    /// Rounds up, so that a span that is not zero stays so.
    pub(crate) const fn from_duration(span: Duration) -> Self {
        let millis = span.as_nanos().div_ceil(1_000_000);
        if millis > u64::MAX as u128 {
            Self(u64::MAX)
        } else {
            Self(millis as u64)
        }
    }

    pub(crate) const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_rounded_up_and_never_overflows() {
        let of = |span| Millis::from_duration(span).duration();
        assert_eq!(of(Duration::ZERO), Duration::ZERO);
        assert_eq!(of(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(of(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(of(Duration::MAX), Duration::from_millis(u64::MAX));
    }
}
