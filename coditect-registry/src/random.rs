//! Random numbers for waits; choices get theirs from the caller.

use uuid::Uuid;

/// Draws a number of which the upper 32 bits are random, without a dependency of its own.
pub(crate) fn draw() -> u64 {
    // Only the last 32 bits of a version 7 UUID are random: before them stands a counter that grows by one within a
    // millisecond.
    (Uuid::now_v7().as_u128() as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_drawn_at_once_are_spread_over_the_whole_range() {
        let mut eighths = [0; 8];
        (0..800).for_each(|_| eighths[(draw() >> 61) as usize] += 1);
        assert!(eighths.iter().all(|&count| count > 40), "{eighths:?}");
    }
}
