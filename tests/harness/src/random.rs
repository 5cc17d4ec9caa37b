//! Chance that can be repeated.

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Write, stderr};

/// Numbers that follow from a seed alone (SplitMix64 by Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence that belongs to a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins a sequence that nobody can foresee.
    pub(crate) fn unforeseen() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
}

/// A seed for a test of faults: that of `CODITECT_TEST_SEED`, or a fresh one. Printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = env::var("CODITECT_TEST_SEED").ok();
    let seed = given
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_else(|| Random::unforeseen().number());
    let _ = writeln!(stderr(), "seed: CODITECT_TEST_SEED={seed}");
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_reference() {
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }
}
