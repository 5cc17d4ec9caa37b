//! The latencies of late calls, in bounded memory.

use std::time::Duration;

/// Keeps a histogram of the latest 1,000 to 2,000 latencies and answers with their quantiles. Pure; it takes 1.7 KiB.
///
/// Buckets grow by a factor of two in eight steps (as in HdrHistogram), so that an answer is at most an eighth above the
/// true one and never below it. Two halves take turns: when the newer is full the older is forgotten.
#[derive(Clone)]
pub struct LatencyTracker {
    halves: [Half; 2],
}

#[derive(Clone)]
struct Half {
    counts: [u16; BUCKETS],
    calls: u16,
}

const STEPS: u64 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// In microseconds, up to about 4,300 seconds; what takes longer is counted as that.
const BUCKETS: usize = 240;
const HALF: u16 = 1_000;

impl LatencyTracker {
    /// Knows nothing.
    #[must_use]
    pub const fn new() -> Self {
        const EMPTY: Half = Half {
            counts: [0; BUCKETS],
            calls: 0,
        };
        Self { halves: [EMPTY; 2] }
    }

    /// Counts a latency.
    pub fn record(&mut self, latency: Duration) {
        if self.halves[0].calls == HALF {
            self.halves.swap(0, 1);
            self.halves[0] = Self::new().halves[0].clone();
        }
        let newer = &mut self.halves[0];
        newer.calls += 1;
        newer.counts[bucket(latency)] += 1;
    }

    /// Returns the number of latencies that are kept.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.halves.iter().map(|half| u64::from(half.calls)).sum()
    }

    /// Returns the latency that this share of calls does not exceed, or nothing while none is known.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let calls = self.calls();
        let rank = ((calls as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let [newer, older] = &self.halves;
        let counts = newer.counts.iter().zip(&older.counts);
        let mut seen = 0;
        for (i, (newer, older)) in counts.enumerate() {
            seen += u64::from(*newer) + u64::from(*older);
            if seen >= rank && calls > 0 {
                return Some(Duration::from_micros(upper(i)));
            }
        }
        None
    }
}

/// The bucket of a latency: one for each microsecond below eight, then eight for each power of two.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
    if micros < STEPS {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEP_BITS;
    let step = (micros >> shift) - STEPS;
    let bucket = u64::from(shift + 1) * STEPS + step;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest latency of a bucket, in microseconds.
const fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << shift) - 1
}

impl Default for LatencyTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LatencyTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LatencyTracker")
            .field("calls", &self.calls())
            .field("p50", &self.quantile(0.5))
            .field("p95", &self.quantile(0.95))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_known_is_no_answer() {
        assert_eq!(LatencyTracker::new().quantile(0.5), None);
    }

    #[test]
    fn what_is_absurdly_long_is_counted_as_the_longest() {
        let mut latencies = LatencyTracker::default();
        latencies.record(Duration::MAX);
        let longest = latencies.quantile(1.0).unwrap();
        assert!(longest > Duration::from_secs(4_000), "{longest:?}");
        assert!(format!("{latencies:?}").contains("calls: 1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_quantile_is_the_sorted_one_or_an_eighth_more(
            micros in prop::collection::vec(prop_oneof![0_u64..20, 0_u64..5_000, 0_u64..4_000_000_000], 1..2_500),
            quantile in 0.0..=1.0_f64,
        ) {
            let mut latencies = LatencyTracker::new();
            micros.iter().for_each(|micros| latencies.record(Duration::from_micros(*micros)));
            // A half is forgotten when the next one begins.
            let begun = micros.len().div_ceil(usize::from(HALF));
            let kept = &micros[begun.saturating_sub(2) * usize::from(HALF)..];
            prop_assert_eq!(latencies.calls() as usize, kept.len());
            let mut sorted = kept.to_vec();
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * quantile).ceil() as usize).max(1);
            let (exact, found) = (sorted[rank - 1], latencies.quantile(quantile).unwrap().as_micros() as u64);
            prop_assert!(found >= exact && found <= exact + exact / 8, "{found} for {exact}");
        }
    }
}
