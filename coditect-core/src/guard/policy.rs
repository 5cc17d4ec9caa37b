//! How a port is guarded: plain data.

use std::time::Duration;

use coditect_resilience::{Backoff, BreakerPolicy, BulkheadPolicy, Jitter, Window};

/// Says when a port is left alone, how many of its calls may be under way, and how long one may take.
///
/// | preset | a call | at once | tripped by |
/// |---|---|---|---|
/// | [`bus`](Self::bus) | 15 s; a publish and what may be long have the bus's own bounds | 1,024 to each queue, 65,536 wait | 5 failures in a row, or half of 20 calls and more in 10 s |
/// | [`registry`](Self::registry) | 8 s | 256, 4,096 wait | the same |
/// | [`state`](Self::state) | 8 s | 1,024, 65,536 wait | the same |
///
/// All are open for 50 to 100 ms at first and for half a second at most, so that neither a lease is lost by it (5 s, renewed
/// three times as often) nor the end of an outage found out late; four probes may be under way, so that one which hangs
/// keeps nobody waiting, and one that succeeds closes it. A call may take longer than the servers' own clients let it, so that
/// what they have to say comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GuardPolicy {
    /// When it is left alone.
    pub breaker: BreakerPolicy,
    /// How many calls are under way, and how many wait.
    pub bulkhead: BulkheadPolicy,
    /// How long a call may take, where it does no harm to give it up.
    pub time_limit: Duration,
}

impl GuardPolicy {
    /// For a message bus.
    #[must_use]
    pub fn bus() -> Self {
        Self::preset(15, 1_024, 65_536)
    }

    /// For a registry.
    #[must_use]
    pub fn registry() -> Self {
        Self::preset(8, 256, 4_096)
    }

    /// For a state store.
    #[must_use]
    pub fn state() -> Self {
        Self::preset(8, 1_024, 65_536)
    }

    /// Replaces when it is left alone.
    #[must_use]
    pub const fn with_breaker(mut self, breaker: BreakerPolicy) -> Self {
        self.breaker = breaker;
        self
    }

    /// Replaces how many calls are under way, and how many wait.
    #[must_use]
    pub const fn with_bulkhead(mut self, bulkhead: BulkheadPolicy) -> Self {
        self.bulkhead = bulkhead;
        self
    }

    /// Replaces how long a call may take.
    #[must_use]
    pub const fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    fn preset(limit_secs: u64, at_once: u32, queue: u32) -> Self {
        const VALID: &str = "a preset is valid";
        let open_for = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let breaker = BreakerPolicy::builder()
            .consecutive_failures(5)
            .failure_rate(0.5)
            .window(Window::Time(Duration::from_secs(10)))
            .min_calls(20)
            .open_for(open_for.expect(VALID).with_jitter(Jitter::Equal))
            .probes(4)
            .successes_to_close(1);
        Self {
            breaker: breaker.build().expect(VALID),
            bulkhead: BulkheadPolicy::new(at_once).expect(VALID).with_queue(queue),
            time_limit: Duration::from_secs(limit_secs),
        }
    }
}
