//! Limits of the memory bus.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use super::MemoryBus;
use crate::Observer;

/// Builds a [`MemoryBus`] with limits of its own.
#[derive(Clone, Debug)]
#[must_use = "a builder builds nothing until `build`"]
pub struct MemoryBusBuilder {
    pub(super) max_payload: usize,
    pub(super) max_headers: usize,
    pub(super) max_dead_letters: NonZeroUsize,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// What the wall clock shows at first, where it is not the system's.
    pub(super) wall: Option<SystemTime>,
}

impl Default for MemoryBusBuilder {
    fn default() -> Self {
        const MAX_DEAD_LETTERS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
        Self {
            max_payload: 1024 * 1024,
            max_headers: 64 * 1024,
            max_dead_letters: MAX_DEAD_LETTERS,
            observer: None,
            wall: None,
        }
    }
}

impl MemoryBusBuilder {
    /// Sets the largest payload in bytes; 1 MiB unless told otherwise.
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Sets how many bytes all headers of a message may have together; 64 KiB unless told otherwise.
    pub fn with_max_headers(mut self, bytes: usize) -> Self {
        self.max_headers = bytes;
        self
    }

    /// Sets how many dead letters each queue keeps; 100,000 unless told otherwise.
    ///
    /// One more discards the oldest, which is logged and told to the observer.
    pub fn with_max_dead_letters(mut self, count: NonZeroUsize) -> Self {
        self.max_dead_letters = count;
        self
    }

    /// Sets who is told what happens.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets what the clock shows that expiries are judged by when the bus is made; that of the system.
    ///
    /// It follows tokio's time from then on, so that a simulation with paused time can have messages expire.
    #[cfg(any(test, feature = "test-util"))]
    pub fn with_wall_clock(mut self, now: SystemTime) -> Self {
        self.wall = Some(now);
        self
    }

    /// Makes the bus.
    #[must_use]
    pub fn build(self) -> MemoryBus {
        MemoryBus::from_config(self)
    }
}
