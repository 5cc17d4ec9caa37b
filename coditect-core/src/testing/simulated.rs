//! A runtime that can be repeated.

use std::time::SystemTime;

use crate::chance::Chance;
use crate::runtime::RuntimeBuilder;

impl RuntimeBuilder {
    /// Lets everything that differs at every start follow from a seed, and the clock show `now` at first.
    ///
    /// On one thread, with paused time, and on ports that hold no chance either, a start then repeats another one
    /// event by event. Two runtimes of the same ports need two seeds, as they would be the same process otherwise.
    pub fn simulated(mut self, seed: u64, now: SystemTime) -> Self {
        self.chance = Chance::seeded(seed, now);
        self
    }
}
