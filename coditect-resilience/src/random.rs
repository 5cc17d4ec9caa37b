//! Where random numbers come from: handed in, with a small generator as the default.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Yields the random numbers that spread retries over time.
///
/// Any `Fn() -> f64` is one, so a test hands in `|| 0.5` and gets the same delays every time.
/// A number outside `[0, 1)` is brought back into it by whoever uses it.
pub trait Randomness: Send + Sync + 'static {
    /// Returns a number that is at least 0 and less than 1.
    fn next_unit(&self) -> f64;
}

impl<F> Randomness for F
where
    F: Fn() -> f64 + Send + Sync + 'static,
{
    fn next_unit(&self) -> f64 {
        self()
    }
}

/// Generates random numbers good enough to spread load, and no secrets.
///
/// This is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) on
/// one atomic word: threads share it without waiting for each other, and no two calls see the same state.
pub struct SplitMix {
    state: AtomicU64,
}

impl SplitMix {
    /// Starts a sequence that differs between processes and between generators.
    #[must_use]
    pub fn new() -> Self {
        // The keys of a `RandomState` come from the operating system's entropy.
        Self::from_seed(RandomState::new().hash_one(0_u64))
    }

    /// Starts the sequence that belongs to a seed: the same one for the same seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }
}

impl Default for SplitMix {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SplitMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitMix").finish_non_exhaustive()
    }
}

impl Randomness for SplitMix {
    fn next_unit(&self) -> f64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits fill the mantissa exactly, so that the quotient stays below 1.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Brings a number that was handed in into `[0, 1)`; what is no number becomes 0.
pub(crate) fn unit(random: f64) -> f64 {
    const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;
    if random.is_nan() {
        return 0.0;
    }
    random.clamp(0.0, BELOW_ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        // First outputs of the reference implementation for the seed 1234567.
        let generator = SplitMix::from_seed(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        for output in expected {
            assert_eq!(
                generator.next_unit(),
                (output >> 11) as f64 / (1_u64 << 53) as f64
            );
        }
    }

    #[test]
    fn numbers_fill_the_unit_interval_evenly() {
        let generator = SplitMix::new();
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[(generator.next_unit() * 10.0) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_000..11_000).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn two_generators_do_not_repeat_each_other() {
        let (one, other) = (SplitMix::new(), SplitMix::new());
        assert!((0..4).any(|_| one.next_unit() != other.next_unit()));
    }

    #[test]
    fn whatever_is_handed_in_ends_up_in_the_unit_interval() {
        for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1.0, 7.5] {
            assert!((0.0..1.0).contains(&unit(wild)), "{wild}");
        }
        assert_eq!(unit(0.25), 0.25);
    }
}
