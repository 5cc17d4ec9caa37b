//! Who is set aside because it fails more than the others, and for how long.

use std::time::Duration;

use tokio::time::Instant;

use super::success::Success;
use crate::selector::scale;

/// Says when an instance is set aside for a capability because its tasks fail there, and for how long.
///
/// Modelled on Envoy's outlier detection. An instance stands out if it fails several times in a row, or if it succeeds much
/// more rarely than all who offer the capability do together: when everybody fails alike, the cause lies elsewhere, and
/// nobody is ejected for it. Each ejection in quick succession lasts twice as long as the one before. What is ejected comes
/// back by itself, with a clean record, and slowly (see [`SlowStart`](crate::SlowStart)).
///
/// Never more than a share of them are ejected at once, and never the last one. If everybody else who meets a requirement
/// is gone, those who are ejected are chosen all the same.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_registry::Ejection;
///
/// let strict = Ejection::default()
///     .with_failures_in_row(2)
///     .with_time(Duration::from_secs(5), Duration::from_secs(60))
///     .with_max_share(0.3);
/// assert_ne!(strict, Ejection::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    failures_in_row: u32,
    success_ratio: f64,
    min_outcomes: u32,
    shortest: Duration,
    longest: Duration,
    max_share: f64,
}

impl Default for Ejection {
    /// Five failures in a row, or half the success of all over at least 16 outcomes; 10 seconds to 5 minutes; at most half
    /// of those who offer the capability.
    fn default() -> Self {
        Self {
            failures_in_row: 5,
            success_ratio: 0.5,
            min_outcomes: 16,
            shortest: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            max_share: 0.5,
        }
    }
}

impl Ejection {
    /// Sets how many failures in a row eject; at least one.
    #[must_use]
    pub fn with_failures_in_row(mut self, failures: u32) -> Self {
        self.failures_in_row = failures.max(1);
        self
    }

    /// Sets which part of the common success rate is too little (0 turns this rule off), and after how many outcomes it is
    /// judged, at most 64.
    #[must_use]
    pub fn with_success_ratio(mut self, ratio: f64, min_outcomes: u32) -> Self {
        self.success_ratio = share(ratio);
        self.min_outcomes = min_outcomes.clamp(1, Success::WINDOW);
        self
    }

    /// Sets how long the first ejection lasts, and the longest.
    #[must_use]
    pub fn with_time(mut self, shortest: Duration, longest: Duration) -> Self {
        self.shortest = shortest;
        self.longest = longest.max(shortest);
        self
    }

    /// Sets which share of those who offer a capability may be ejected at once, 0 to 1.
    #[must_use]
    pub fn with_max_share(mut self, max_share: f64) -> Self {
        self.max_share = share(max_share);
        self
    }

    /// Tells whether one instance stands out among all.
    pub(super) fn stands_out(&self, own: &Success, all: &Success) -> bool {
        own.failures_in_row() >= self.failures_in_row
            || (own.outcomes() >= self.min_outcomes && own.rate() < all.rate() * self.success_ratio)
    }

    /// Tells whether one more of `members` may be ejected.
    pub(crate) fn allows(&self, ejected: usize, members: usize) -> bool {
        let next = ejected + 1;
        next < members && next as f64 <= self.max_share * members as f64
    }
}

/// Bounds a share; what is no number counts as none.
fn share(share: f64) -> f64 {
    if share.is_nan() {
        0.0
    } else {
        share.clamp(0.0, 1.0)
    }
}

/// Remembers the ejections of one instance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ejected {
    until: Option<Instant>,
    /// How many there have been in quick succession.
    times: u32,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Ejected {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ejects until the time returned: by up to a quarter longer than the backoff, at random, so that those ejected by
    /// one event do not come back by one.
    pub(super) fn begin(&mut self, policy: &Ejection, now: Instant, random: u64) -> Instant {
        let forgiven = self.ended.map_or(0, |ended| {
            let behaved = now.saturating_duration_since(ended).as_nanos();
            let each = policy.shortest.as_nanos().max(1);
            u32::try_from(behaved / each).unwrap_or(u32::MAX)
        });
        self.times = self.times.saturating_sub(forgiven).saturating_add(1);
        let doubled = 1u32.checked_shl(self.times - 1).unwrap_or(u32::MAX);
        let backoff = policy.shortest.saturating_mul(doubled).min(policy.longest);
        let quarter = u64::try_from((backoff / 4).as_nanos()).unwrap_or(u64::MAX);
        let until = now + backoff + Duration::from_nanos(scale(random, quarter));
        self.until = Some(until);
        until
    }

    pub(super) fn end(&mut self) {
        self.ended = self.until.take();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn success(outcomes: &[bool]) -> Success {
        let mut success = Success::default();
        outcomes.iter().for_each(|&ok| success.observe(ok));
        success
    }

    #[test]
    fn standing_out_is_failing_in_a_row_or_more_than_the_others() {
        let policy = Ejection::default();
        let all = success(&[true; 40]);
        assert!(!policy.stands_out(&success(&[false; 4]), &all));
        assert!(policy.stands_out(&success(&[false; 5]), &all));
        let alternating: Vec<bool> = (0..32).map(|i| i % 3 == 0).collect();
        assert!(!policy.stands_out(&success(&alternating[..15]), &all));
        assert!(policy.stands_out(&success(&alternating), &all));
        // Everybody fails as often: it is not this one's fault.
        assert!(!policy.stands_out(&success(&alternating), &success(&alternating)));
        let never = policy.with_success_ratio(0.0, 1);
        assert!(!never.stands_out(&success(&alternating), &all));
    }

    #[test]
    fn ejections_in_quick_succession_last_longer_and_are_forgiven_with_time() {
        let policy =
            Ejection::default().with_time(Duration::from_secs(10), Duration::from_secs(60));
        let (mut ejected, mut now) = (Ejected::default(), Instant::now());
        for seconds in [10, 20, 40, 60, 60] {
            let until = ejected.begin(&policy, now, 0);
            assert_eq!(until - now, Duration::from_secs(seconds));
            ejected.end();
            now = until;
        }
        // 30 seconds of good conduct forgive three of the five.
        now += Duration::from_secs(30);
        assert_eq!(
            ejected.begin(&policy, now, 0) - now,
            Duration::from_secs(40)
        );
        ejected.end();
        now += Duration::from_secs(3600);
        let longest = ejected.begin(&policy, now, u64::MAX) - now;
        assert!(
            (12_499..=12_500).contains(&longest.as_millis()),
            "{longest:?}"
        );
    }

    proptest! {
        #[test]
        fn the_share_is_kept_and_never_are_all_ejected(max_share in -0.5..1.5f64, members in 0..50usize) {
            let policy = Ejection::default().with_max_share(max_share);
            let mut ejected = 0;
            while policy.allows(ejected, members) {
                ejected += 1;
            }
            prop_assert!(ejected == 0 || ejected < members);
            prop_assert!(ejected as f64 <= (max_share * members as f64).max(0.0));
            // And as many as the share says can be.
            let allowed = (max_share.clamp(0.0, 1.0) * members as f64).floor() as usize;
            prop_assert_eq!(ejected, allowed.min(members.saturating_sub(1)));
        }
    }
}
