//! The limit against a naive model, its bounds, and a callee that queues.

use proptest::prelude::*;

use super::*;

fn sample(secs: f64, in_flight: u32) -> Sample {
    Sample {
        latency: Duration::from_secs_f64(secs),
        in_flight,
        overloaded: false,
    }
}

#[test]
fn contradictory_bounds_are_refused() {
    for (min, start, max) in [(0, 1, 2), (3, 2, 4), (1, 5, 4)] {
        assert!(AdaptivePolicy::new(min, start, max).is_err());
    }
    assert!(AdaptivePolicy::fixed(0).is_err());
    assert!(AdaptivePolicy::default().with_tolerance(0.9).is_err());
    let sent = serde_json::to_string(&AdaptivePolicy::default()).unwrap();
    assert_eq!(sent, r#"{"min":4,"start":20,"max":1000,"tolerance":1.5}"#);
    let received: AdaptivePolicy = serde_json::from_str(&sent).unwrap();
    assert_eq!(received, AdaptivePolicy::default());
}

/// A callee of so many workers of 100 ms each: what is beyond them queues.
#[test]
fn it_stays_near_what_a_callee_bears_however_long_the_load_lasts() {
    for (workers, start) in [(10, 100), (10, 2), (200, 20), (3, 500)] {
        let policy = AdaptivePolicy::new(1, start, 1_000).unwrap();
        let mut limit = AdaptiveLimit::new(&policy);
        if start > workers {
            // It has seen the callee without a load.
            for _ in 0..SHORTEST_ROUND.max(start) {
                limit.sample(&policy, sample(0.1, 1));
            }
        }
        let mut seen = Vec::new();
        for _ in 0..200_000 {
            let used = limit.limit();
            let queued = f64::from(used.max(workers)) / f64::from(workers);
            limit.sample(&policy, sample(0.1 * queued, used));
            seen.push(used);
        }
        let settled = &seen[100_000..];
        let (low, high) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
        let bears = f64::from(workers);
        assert!(
            f64::from(*low) >= (bears * 0.7).floor(),
            "{low} of {workers}"
        );
        assert!(f64::from(*high) <= bears * 1.7 + 1.0, "{high} of {workers}");
    }
}

#[test]
fn a_callee_that_became_slower_for_good_is_measured_anew() {
    let policy = AdaptivePolicy::new(1, 10, 50).unwrap();
    let mut limit = AdaptiveLimit::new(&policy);
    for _ in 0..1_000 {
        limit.sample(&policy, sample(0.1, limit.limit()));
    }
    assert_eq!(limit.limit(), 50);
    for _ in 0..2_000 {
        limit.sample(&policy, sample(0.9, limit.limit()));
    }
    assert_eq!(limit.limit(), 50, "it was the callee, not the load");
}

#[test]
fn a_limit_that_is_not_used_stays() {
    let policy = AdaptivePolicy::default();
    let mut limit = AdaptiveLimit::new(&policy);
    for i in 1..1_000 {
        limit.sample(&policy, sample(f64::from(i % 7 + 1), 3));
    }
    assert_eq!(limit.limit(), policy.start());
}

#[test]
fn a_fixed_limit_never_moves() {
    let policy = AdaptivePolicy::fixed(7).unwrap();
    let mut limit = AdaptiveLimit::new(&policy);
    for secs in [0.1, 9.0, 0.001] {
        limit.sample(&policy, sample(secs, 7));
        limit.sample(
            &policy,
            Sample {
                overloaded: true,
                ..sample(secs, 7)
            },
        );
    }
    assert_eq!(limit.limit(), 7);
}

/// The same written for clearness alone: it keeps every round there ever was.
struct Naive {
    limit: f64,
    round: Vec<(f64, bool)>,
    means: Vec<f64>,
    skip: u32,
}

impl Naive {
    fn sample(&mut self, policy: &AdaptivePolicy, sample: Sample) {
        if sample.overloaded {
            self.set(policy, self.limit * 0.9);
        } else if self.skip > 0 {
            self.skip -= 1;
        } else {
            let is_used = sample.in_flight >= self.limit as u32 / 2;
            self.round.push((sample.latency.as_secs_f64(), is_used));
            if self.round.len() >= 10.max(self.limit as usize) {
                self.judge(policy);
            }
        }
    }

    fn judge(&mut self, policy: &AdaptivePolicy) {
        let calls = self.round.len();
        let mean = self.round.iter().map(|(secs, _)| secs).sum::<f64>() / calls as f64;
        let used = self.round.iter().filter(|(_, used)| *used).count();
        self.round.clear();
        self.means.push(mean);
        // This window of sixteen rounds and the one before it.
        let first = ((self.means.len() - 1) / 16).saturating_sub(1) * 16;
        let best = self.means[first..]
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        if used * 2 < calls {
            return;
        }
        if mean > 1.5 * best {
            self.skip = self.limit as u32;
            self.set(policy, self.limit * 0.9 / 1.5);
        } else {
            self.set(policy, (self.limit + 1.0).max(self.limit * 1.05));
        }
    }

    fn set(&mut self, policy: &AdaptivePolicy, limit: f64) {
        self.limit = limit
            .max(f64::from(policy.min()))
            .min(f64::from(policy.max()));
        self.round.clear();
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_naive_model_and_keeps_its_bounds(
        bounds in (1_u32..20, 0_u32..20, 0_u32..50),
        samples in prop::collection::vec((1_u64..500_000, 0_u32..60, prop::bool::weighted(0.01)), 0..2_000),
    ) {
        let policy = AdaptivePolicy::new(bounds.0, bounds.0 + bounds.1, bounds.0 + bounds.1 + bounds.2).unwrap();
        let mut limit = AdaptiveLimit::new(&policy);
        let mut naive = Naive { limit: f64::from(policy.start()), round: vec![], means: vec![], skip: 0 };
        for (micros, in_flight, overloaded) in samples {
            let sample = Sample { latency: Duration::from_micros(micros), in_flight, overloaded };
            limit.sample(&policy, sample);
            naive.sample(&policy, sample);
            prop_assert!((limit.limit - naive.limit).abs() < 1e-6 * naive.limit, "{} {}", limit.limit, naive.limit);
            prop_assert!((policy.min()..=policy.max()).contains(&limit.limit()));
        }
    }

    #[test]
    fn wild_samples_never_panic(latency: Duration, in_flight: u32, overloaded: bool) {
        let policy = AdaptivePolicy::default();
        let mut limit = AdaptiveLimit::new(&policy);
        for _ in 0..20 {
            limit.sample(&policy, Sample { latency, in_flight, overloaded });
            prop_assert!((policy.min()..=policy.max()).contains(&limit.limit()));
        }
    }
}
