//! A moving average of latencies that follows bad news at once and good news slowly.

use std::time::Duration;

use tokio::time::Instant;

/// Estimates latency by the peak-sensitive, exponentially weighted moving average of Twitter's Finagle
/// (`com.twitter.finagle.loadbalancer.PeakEwma`): a sample above the estimate replaces it, one below it draws it down with
/// the time that has passed. Between samples the estimate fades, so that an instance once slow is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    /// In seconds, as of `at`; there is none before the first sample.
    estimate: f64,
    at: Option<Instant>,
}

impl Latency {
    pub(crate) fn observe(&mut self, sample: Duration, now: Instant, decay: Duration) {
        let sample = sample.as_secs_f64();
        let kept = self.at.map_or(0.0, |at| fading(at, now, decay));
        self.estimate = if sample > self.estimate {
            sample
        } else {
            self.estimate * kept + sample * (1.0 - kept)
        };
        // Time may be handed in out of order by several threads; it never goes back here.
        self.at = self.at.max(Some(now));
    }

    /// Returns the estimate in seconds, faded since the last sample; `None` before the first.
    pub(crate) fn at(&self, now: Instant, decay: Duration) -> Option<f64> {
        self.at.map(|at| self.estimate * fading(at, now, decay))
    }
}

/// What is left after the time from `from` to `to`: half of it fades in about 0.7 `decay`.
pub(super) fn fading(from: Instant, to: Instant, decay: Duration) -> f64 {
    let passed = to.saturating_duration_since(from).as_secs_f64();
    (-passed / decay.as_secs_f64().max(f64::MIN_POSITIVE)).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    #[test]
    fn bad_news_count_at_once_and_good_news_with_time() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        assert_eq!(latency.at(start, DECAY), None);
        latency.observe(Duration::from_secs(1), start, DECAY);
        latency.observe(Duration::from_secs(8), start, DECAY);
        assert_eq!(latency.at(start, DECAY), Some(8.0));
        latency.observe(Duration::from_secs(1), start, DECAY);
        assert_eq!(latency.at(start, DECAY), Some(8.0), "no time has passed");
        let later = start + DECAY;
        latency.observe(Duration::from_secs(1), later, DECAY);
        let kept = (-1.0f64).exp();
        let expected = 8.0 * kept + (1.0 - kept);
        assert!((latency.at(later, DECAY).unwrap() - expected).abs() < 1e-9);
        // Left alone it fades.
        let much_later = later + 10 * DECAY;
        assert!(latency.at(much_later, DECAY).unwrap() < 0.001);
    }

    proptest! {
        #[test]
        fn the_estimate_stays_between_the_least_and_the_greatest_sample(
            samples in prop::collection::vec((0..10_000u64, 0..30_000u64), 1..50),
        ) {
            let (mut latency, mut now) = (Latency::default(), Instant::now());
            let (mut least, mut greatest) = (f64::MAX, 0f64);
            for (sample, pause) in samples {
                now += Duration::from_millis(pause);
                let sample = Duration::from_millis(sample);
                latency.observe(sample, now, DECAY);
                least = least.min(sample.as_secs_f64());
                greatest = greatest.max(sample.as_secs_f64());
                let estimate = latency.at(now, DECAY).unwrap();
                prop_assert!(estimate >= sample.as_secs_f64().min(estimate));
                prop_assert!((least - 1e-9..=greatest + 1e-9).contains(&estimate), "{least} {estimate} {greatest}");
            }
        }
    }
}
