//! How an instance that is new comes up to its share of the work.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::Instance;
use crate::deadlines::Deadlines;
use crate::selector::FULL;

/// Gives instances that are new less than their share of the work at first, and more as time passes: their caches are
/// cold, and whoever has nothing in flight would otherwise get all that comes.
///
/// The capacity of an instance grows linearly over a window, from a part of it to the whole. It begins when an instance
/// appears after the view has begun, when one that was evicted answers again, and when an ejection ends.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_registry::{SlowStart, View};
///
/// let slow_start = SlowStart::over(Duration::from_secs(30)).with_first_share(0.2);
/// let builder = View::builder().with_slow_start(slow_start);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    window: Duration,
    /// In 256ths.
    first: u32,
}

impl SlowStart {
    /// Brings an instance from a tenth of its share to the whole over `window`.
    pub fn over(window: Duration) -> Self {
        Self { window, first: 26 }
    }

    /// Sets with which part of its share an instance begins, 0 to 1; it always gets a little.
    #[must_use]
    pub fn with_first_share(mut self, share: f64) -> Self {
        // A number out of range is brought into it by the conversion, and what is no number becomes 0.
        self.first = ((share * f64::from(FULL)) as u32).clamp(1, FULL);
        self
    }

    /// Returns which part of its capacity an instance is given after some time, in 256ths.
    fn ramp(&self, after: Duration) -> u32 {
        if after >= self.window {
            return FULL;
        }
        let passed = after.as_secs_f64() / self.window.as_secs_f64();
        self.first + (f64::from(FULL - self.first) * passed) as u32
    }

    fn step(&self) -> Duration {
        (self.window / 32).max(Duration::from_millis(1))
    }
}

/// The instances that are on their way up.
#[derive(Debug, Default)]
pub(super) struct Ramps {
    began: HashMap<Instance, Instant>,
    steps: Deadlines,
}

impl Ramps {
    /// Starts an instance, or starts it over; returns the ramp it begins with.
    pub(super) fn begin(
        &mut self,
        slow_start: &SlowStart,
        instance: &Instance,
        now: Instant,
    ) -> u32 {
        let ramp = slow_start.ramp(Duration::ZERO);
        if ramp < FULL {
            self.began.insert(instance.clone(), now);
            self.steps.set(instance, now + slow_start.step());
        }
        ramp
    }

    pub(super) fn forget(&mut self, instance: &Instance) {
        self.began.remove(instance);
        self.steps.clear(instance);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.steps.next()
    }

    /// Takes one step that is due and returns whose, with its ramp.
    pub(super) fn step(&mut self, slow_start: &SlowStart, now: Instant) -> Option<(Instance, u32)> {
        let instance = self.steps.pop(now)?;
        let began = self.began.get(&instance).copied().unwrap_or(now);
        let ramp = slow_start.ramp(now.saturating_duration_since(began));
        if ramp < FULL {
            self.steps.set(&instance, now + slow_start.step());
        } else {
            self.began.remove(&instance);
        }
        Some((instance, ramp))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Incarnation;

    proptest! {
        #[test]
        fn the_share_grows_steadily_from_the_first_to_the_whole(
            first in -0.5..1.5f64,
            window in 1..100_000u64,
            pauses in prop::collection::vec(0..20_000u64, 1..60),
        ) {
            let slow_start = SlowStart::over(Duration::from_millis(window)).with_first_share(first);
            let instance = Instance::new("a".parse().unwrap(), Incarnation::fresh());
            let (mut ramps, start) = (Ramps::default(), Instant::now());
            let mut ramp = ramps.begin(&slow_start, &instance, start);
            let expected = (first.clamp(0.0, 1.0) * 256.0).floor().max(1.0) as u32;
            prop_assert_eq!(ramp, expected);
            let mut now = start;
            for pause in pauses {
                now += Duration::from_millis(pause);
                while let Some((whose, next)) = ramps.step(&slow_start, now) {
                    prop_assert_eq!(&whose, &instance);
                    prop_assert!(next >= ramp && next <= FULL);
                    ramp = next;
                }
            }
            now += Duration::from_millis(window);
            while let Some((_, next)) = ramps.step(&slow_start, now) {
                ramp = next;
            }
            prop_assert_eq!(ramp, FULL);
            prop_assert_eq!((ramps.next(), ramps.began.len()), (None, 0), "nothing is left behind");
        }
    }

    #[test]
    fn starting_over_and_leaving_leave_nothing_behind() {
        let slow_start = SlowStart::over(Duration::from_secs(32));
        let instance = Instance::new("a".parse().unwrap(), Incarnation::fresh());
        let (mut ramps, start) = (Ramps::default(), Instant::now());
        let first = ramps.begin(&slow_start, &instance, start);
        let half = start + Duration::from_secs(16);
        let (_, risen) = ramps.step(&slow_start, half).unwrap();
        assert!(risen > 2 * first);
        assert_eq!(ramps.begin(&slow_start, &instance, half), first);
        assert_eq!(ramps.next(), Some(half + Duration::from_secs(1)));
        ramps.forget(&instance);
        assert_eq!((ramps.next(), ramps.began.len()), (None, 0));
    }
}
