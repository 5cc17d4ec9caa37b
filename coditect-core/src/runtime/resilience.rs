//! How a runtime fails well: what limits retries, and the breakers of its agents for operators.

use std::sync::Arc;

use coditect_registry::CapabilityName;
use coditect_resilience::{Breaker, BudgetPolicy, QuarantinePolicy, SheddingPolicy};

use super::{Runtime, RuntimeBuilder};
use crate::coordinator::Budgets;
use crate::error::{Error, ErrorKind};
use crate::guard::Guards;
use crate::limit::Limit;
use crate::redrive::{RedrivePolicy, Redrives};
use crate::run::Admission;
use crate::worker::{RateGate, RateLimits};

/// What was said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Resilience {
    /// Capabilities as they were named, and what pays for their retries.
    budgets: Vec<(String, Option<BudgetPolicy>)>,
    /// Capabilities as they were named, and how often they are called.
    rates: Vec<(String, RateLimits)>,
    /// Capabilities as they were named, and when their failed tasks are put back.
    redrives: Vec<(String, Option<RedrivePolicy>)>,
    /// The same for those that were not named.
    redrive: Option<RedrivePolicy>,
    /// Capabilities as they were named, and when their agents are held.
    pub(super) quarantines: Vec<(String, Option<QuarantinePolicy>)>,
    /// The same for those that were not named.
    pub(super) quarantine: Option<QuarantinePolicy>,
    /// How many tasks are worked on at once by all processes together.
    pub(super) limits: Vec<Limit>,
    /// What stands before the ports.
    pub(super) guards: Guards,
    /// How many runs may wait before new ones are refused, by priority.
    admission: Option<(u32, SheddingPolicy)>,
}

impl Resilience {
    pub(super) fn rates(&self) -> Result<Vec<Arc<RateGate>>, Error> {
        let named = self.rates.iter().map(|(name, limits)| {
            let capability = CapabilityName::new(name).map_err(|error| {
                let text = format!("`{name}` is no capability whose rate can be limited");
                Error::invalid(text).with_source(error)
            })?;
            Ok(RateGate::new(capability, *limits))
        });
        named.collect()
    }

    pub(super) fn redrives(&self) -> Result<Redrives, Error> {
        let named = self.redrives.iter().map(|(name, policy)| {
            let capability = CapabilityName::new(name).map_err(|error| {
                let text = format!("`{name}` is no capability whose tasks can be put back");
                Error::invalid(text).with_source(error)
            })?;
            Ok((capability, policy.clone()))
        });
        let named = named.collect::<Result<_, Error>>()?;
        Ok(Redrives::new(named, self.redrive.clone()))
    }

    pub(super) fn admission(&self) -> Option<Arc<Admission>> {
        let (limit, shedding) = self.admission?;
        Some(Arc::new(Admission::new(limit, shedding)))
    }

    pub(super) fn budgets(&self) -> Result<Budgets, Error> {
        let named = self.budgets.iter().map(|(name, policy)| {
            let capability = CapabilityName::new(name).map_err(|error| {
                let text = format!("`{name}` is no capability whose retries can be limited");
                Error::invalid(text).with_source(error)
            })?;
            let starves =
                |policy: &BudgetPolicy| policy.reserve_per_second() == 0 || policy.capacity() == 0;
            if policy.as_ref().is_some_and(starves) {
                return Err(Error::invalid(format!(
                    "the retry budget of `{name}` needs a reserve and a capacity of 1 at least: \
                     once nothing succeeds, nothing else would pay for the retry that does"
                )));
            }
            Ok((capability, *policy))
        });
        Ok(Budgets::new(named.collect::<Result<_, _>>()?))
    }
}

impl RuntimeBuilder {
    /// Limits how often agents of this process are called for a capability, in all its versions: for a provider behind them
    /// that allows so many requests, and so many tokens, in a minute.
    ///
    /// What is over it waits without a slot, with its owner or in the queue. Where processes share the state (Redis), they
    /// share the limits; each takes [its part](RateLimits::with_processes) while the store does not answer. What a call has
    /// cost is reported by [`TaskContext::charge`](crate::TaskContext::charge).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_core::prelude::*;
    /// use coditect_core::resilience::RatePolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// let builder = Runtime::builder().rate_limit("summarize", RatePolicy::new(500, Duration::from_secs(60))?);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rate_limit(
        mut self,
        capability: impl Into<String>,
        limits: impl Into<RateLimits>,
    ) -> Self {
        let rates = &mut self.resilience.rates;
        rates.push((capability.into(), limits.into()));
        self
    }

    /// Sets what pays for the retries of a capability, in all its versions, or with `None` that they are not limited.
    ///
    /// It counts for the runs that this process coordinates. By default a success pays for one retry, time for ten a second,
    /// and a hundred are saved up: so nothing is held up while every second call succeeds, and when nothing does, retries
    /// add no load to speak of. A retry beyond the budget waits, without a slot and without spending an attempt; deadlines
    /// count on. What an agent asked for with [`retry_after`](crate::AgentError::retry_after) passes first.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::resilience::BudgetPolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// // One retry for ten successes, and two a second in any case.
    /// let budget = BudgetPolicy::new(0.1, 20)?.with_reserve_per_second(2);
    /// let builder = Runtime::builder().retry_budget("summarize", budget);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_budget(
        mut self,
        capability: impl Into<String>,
        policy: impl Into<Option<BudgetPolicy>>,
    ) -> Self {
        let budgets = &mut self.resilience.budgets;
        budgets.push((capability.into(), policy.into()));
        self
    }
}

impl RuntimeBuilder {
    /// Refuses new runs while so many wait for agents, those of low priority first.
    ///
    /// Such a submission fails with [`ErrorKind::Overloaded`], and says [after which span](Error::retry_after) to try again. It is
    /// refused before anything of it is kept; what was accepted is never given up. With the default policy, runs of P2 are refused
    /// from half of the number on, P1 from 80 %, and P0 from all of it. Without a limit every run is accepted, and waits.
    ///
    /// A run waits when it has a task ready for which there is neither a slot nor room on the bus. What counts is what waits in the
    /// partitions that this process owns, and what it has itself accepted in the last second, so that each process of many sees
    /// its part: give each its part of the limit. A process that only works sees nothing, and refuses nothing. Runs that tasks
    /// start, and those of schedules, are never refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::resilience::SheddingPolicy;
    ///
    /// let builder = Runtime::builder().shed_above(10_000, SheddingPolicy::default());
    /// # let _ = builder;
    /// ```
    pub fn shed_above(mut self, waiting: u32, policy: SheddingPolicy) -> Self {
        self.resilience.admission = Some((waiting, policy));
        self
    }

    /// Sets when tasks of a capability, in all its versions, are put back by themselves after they have failed for good; with
    /// `None` that they are not, whatever [the others](Self::redrive_all) are.
    ///
    /// Nothing is by default. It counts for the runs that this process coordinates. A task that waits to be put back is set
    /// aside and visible among the [dead letters](Runtime::dead_letters); its run waits with it, and deadlines count on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_core::RedrivePolicy;
    /// use coditect_core::prelude::*;
    ///
    /// # fn main() -> Result<(), coditect_core::Error> {
    /// let later = RedrivePolicy::new([Duration::from_secs(60), Duration::from_secs(3_600)])?;
    /// let builder = Runtime::builder().redrive("summarize", later);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn redrive(
        mut self,
        capability: impl Into<String>,
        policy: impl Into<Option<RedrivePolicy>>,
    ) -> Self {
        let redrives = &mut self.resilience.redrives;
        redrives.push((capability.into(), policy.into()));
        self
    }

    /// Sets when tasks of every capability that has no policy of its own are put back by themselves.
    pub fn redrive_all(mut self, policy: RedrivePolicy) -> Self {
        self.resilience.redrive = Some(policy);
        self
    }
}

impl Runtime {
    /// Lists the breakers of this process's agents, one for each capability of each but for those that have none.
    ///
    /// They are named `agent/capability@version`.
    #[must_use]
    pub fn breakers(&self) -> Vec<Breaker> {
        self.inner.worker.breakers(None)
    }

    /// Finds the breaker of a capability of an agent of this process, to look at it or to take it in hand.
    ///
    /// What is forced stays so, in this process, until it is reset.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if this process has no such agent or capability, or no breaker for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// use coditect_core::resilience::BreakerState;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// # let echo = agent("summarize", async |text: String| Ok::<_, AgentError>(text));
    /// let runtime = Runtime::builder().agent(echo).start().await?;
    /// let breaker = runtime.breaker("summarize", "summarize")?;
    /// breaker.force_open(); // Tasks wait, or go to other processes.
    /// assert_eq!(breaker.state(), BreakerState::ForcedOpen);
    /// breaker.reset();
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn breaker(&self, agent: &str, capability: &str) -> Result<Breaker, Error> {
        let mut breakers = self.inner.worker.breakers(Some((agent, capability)));
        breakers.pop().ok_or_else(|| {
            let text = format!(
                "this process has no breaker of an agent `{agent}` for a capability `{capability}`"
            );
            Error::new(ErrorKind::NotFound, text)
        })
    }
}
