//! What is known of how long requests take, by which they are hedged, and how many may be.

use std::sync::Arc;
use std::time::Duration;

use coditect_registry::CapabilityName;
use coditect_resilience::{BudgetPolicy, HedgePolicy, LatencyTracker, RetryBudget};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Of how many capabilities it is known; of more, all begins anew.
const CAPABILITIES: usize = 1_024;

/// What is known, by capability.
#[derive(Default)]
pub(in crate::runtime) struct Hedges(Mutex<FxHashMap<CapabilityName, Arc<Known>>>);

/// What is known of one capability.
pub(super) struct Known {
    latencies: Mutex<LatencyTracker>,
    budget: RetryBudget,
}

impl Hedges {
    pub(super) fn of(&self, capability: &CapabilityName) -> Arc<Known> {
        let mut all = self.0.lock();
        if let Some(known) = all.get(capability) {
            return Arc::clone(known);
        }
        if all.len() >= CAPABILITIES {
            all.clear();
        }
        let known = Arc::new(Known::new());
        all.insert(capability.clone(), Arc::clone(&known));
        known
    }
}

impl Known {
    fn new() -> Self {
        // A second question for ten answers: when all become slow at once, no more than that is added to their load.
        let policy = BudgetPolicy::new(0.1, 10).expect("a share of successes");
        Self {
            latencies: Mutex::default(),
            budget: RetryBudget::new(policy.with_reserve_per_second(0)),
        }
    }

    /// After which time a second question is worth asking; none while too little is known.
    pub(super) fn delay(&self, policy: &HedgePolicy) -> Option<Duration> {
        policy.delay(&self.latencies.lock())
    }

    /// Says whether a second question may be asked, and counts it.
    pub(super) fn may_ask_again(&self) -> bool {
        self.budget.withdraw()
    }

    /// Takes note of an answer, whoever gave it: the time is that of the one who waited.
    pub(super) fn answered(&self, after: Duration) {
        self.latencies.lock().record(after);
        self.budget.deposit();
    }
}
