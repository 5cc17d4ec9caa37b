//! The agent that was chosen for a task, until the outcome is known.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Policy;
use crate::{AgentRecord, Candidate, CapabilityName, Instance, Outcome, Picked, View};

/// Is the agent that a [`Balancer`](crate::Balancer) has chosen for a task; counts the task as in flight there until it is
/// dropped, and takes its outcome.
///
/// Dropped without [`done`](Self::done), as when whoever holds it panics or is cancelled, it says nothing of the agent.
#[must_use = "the task no longer counts once this is dropped"]
#[derive(Debug)]
pub struct Choice {
    picked: Picked,
    view: View,
    policy: Arc<Policy>,
    capability: CapabilityName,
    picked_at: Instant,
    random: u64,
}

impl Choice {
    pub(super) fn new(
        picked: Picked,
        view: View,
        policy: Arc<Policy>,
        capability: CapabilityName,
        picked_at: Instant,
        random: u64,
    ) -> Self {
        Self {
            picked,
            view,
            policy,
            capability,
            picked_at,
            random,
        }
    }

    /// Returns the instance that was chosen.
    pub fn instance(&self) -> &Instance {
        self.picked.instance()
    }

    /// Returns the record of the chosen instance as last heard.
    pub fn record(&self) -> Arc<AgentRecord> {
        self.picked.record()
    }

    /// Returns the candidate, whose load goes on changing.
    pub fn candidate(&self) -> &Candidate {
        self.picked.candidate()
    }

    /// Completes when the instance has left the registry or has been evicted, so that the task is to be done elsewhere;
    /// at once if that is so already. It does not borrow the choice.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.candidate().lost()
    }

    /// Takes the outcome and the time from the pick until then; the task is no longer in flight.
    ///
    /// If the agent stands out by its failures, it is ejected.
    pub fn done(self, outcome: Outcome, latency: Duration) {
        let candidate = self.picked.candidate();
        // A latency beyond what an instant can hold is as good as none.
        let now = self.picked_at.checked_add(latency);
        let now = now.unwrap_or(self.picked_at);
        let policy = &*self.policy;
        let ejection = policy.ejection();
        let track = candidate.track();
        let stands_out = track.observe(outcome, latency, now, policy.decay(), ejection);
        if let (true, Some(ejection)) = (stands_out, ejection) {
            // The number has been used for the choice; other bits of it decide here.
            let random = self.random.rotate_left(17);
            self.view
                .eject(candidate, &self.capability, ejection, now, random);
        }
    }
}
