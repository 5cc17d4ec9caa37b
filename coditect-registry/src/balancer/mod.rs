//! Choosing agents for tasks and learning from what becomes of them, by one policy per capability.

mod choice;
mod policy;
mod strategy;

pub use choice::Choice;
pub use policy::Policy;
pub use strategy::Strategy;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::{CapabilityName, Requirement, TenantId, View};

/// Chooses an agent for each task from a [`View`], by a [`Policy`] for each capability, and learns from the outcomes.
///
/// What is learnt (latency, share of successes, ejections) is kept with the view, for each instance and capability, and
/// goes with the instance: it is shared by all balancers and clones of the view, and a restarted agent begins with a clean
/// record. Nothing here does I/O, reads a clock or draws a random number, and no pick looks at all agents.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_registry::{
///     AgentRecord, Balancer, Capability, Incarnation, MemoryRegistry, Outcome, Policy, Registry, Strategy, View,
/// };
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Arc::new(MemoryRegistry::new());
/// let record = AgentRecord::new("writer".parse()?, Incarnation::fresh())
///     .with_capabilities([Capability::new("summarize", "1.0.0".parse()?)?]);
/// registry.register(record, Duration::from_secs(10)).await?;
///
/// let balancer = Balancer::new(View::follow(registry).await?)
///     .with_policy("summarize".parse()?, Policy::new(Strategy::PeakEwma));
///
/// let picked_at = Instant::now();
/// let choice = balancer.pick(&"summarize@^1".parse()?, picked_at, 42).ok_or("nobody can summarize")?;
/// tokio::select! {
///     // … the task is sent to choice.instance(), and its answer awaited …
///     () = async {} => choice.done(Outcome::Succeeded, picked_at.elapsed()),
///     // The agent has died, or does not answer its checker: another one is to do it.
///     () = choice.lost() => choice.done(Outcome::Failed, picked_at.elapsed()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Balancer {
    view: View,
    usual: Arc<Policy>,
    policies: HashMap<CapabilityName, Arc<Policy>>,
}

impl Balancer {
    /// Chooses from a view, by the usual policy: [`Policy::default`].
    pub fn new(view: View) -> Self {
        Self {
            view,
            usual: Arc::default(),
            policies: HashMap::new(),
        }
    }

    /// Sets the policy for capabilities that have none of their own.
    #[must_use]
    pub fn with_usual(mut self, policy: Policy) -> Self {
        self.usual = Arc::new(policy);
        self
    }

    /// Sets the policy for one capability, in all its versions.
    #[must_use]
    pub fn with_policy(mut self, capability: CapabilityName, policy: Policy) -> Self {
        self.policies.insert(capability, Arc::new(policy));
        self
    }

    /// Returns the view that is chosen from.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the policy for a capability.
    pub fn policy(&self, capability: &CapabilityName) -> &Policy {
        self.policies.get(capability).unwrap_or(&self.usual)
    }

    /// Chooses an agent that serves all and counts the task as in flight there. `None` if nobody meets the requirement, or
    /// if the view has [expired](View::is_expired).
    ///
    /// `random` is uniform over all `u64`; the same state, time and number give the same choice.
    pub fn pick(&self, requirement: &Requirement, now: Instant, random: u64) -> Option<Choice> {
        self.pick_for(None, requirement, now, random)
    }

    /// Chooses on behalf of a tenant, if one is given: among its own agents, and if none of them will do, among those that
    /// serve all. Otherwise as [`pick`](Self::pick).
    pub fn pick_for(
        &self,
        tenant: Option<&TenantId>,
        requirement: &Requirement,
        now: Instant,
        random: u64,
    ) -> Option<Choice> {
        let policy = self.policies.get(&requirement.name).unwrap_or(&self.usual);
        let picked = self
            .view
            .pick_at(tenant, requirement, policy.selector(), now, random)?;
        let (view, policy) = (self.view.clone(), Arc::clone(policy));
        let capability = requirement.name.clone();
        Some(Choice::new(picked, view, policy, capability, now, random))
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("view", &self.view)
            .field("usual", &self.usual)
            .field("policies", &self.policies)
            .finish()
    }
}

#[cfg(test)]
mod tests;
