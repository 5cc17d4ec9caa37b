//! How agents find work and work finds agents: routing, checks, and what agents say of themselves.

use std::time::{Duration, SystemTime};

use coditect_registry::{
    CapabilityName, CheckPolicy, Health, Policy, Reason, SlowStart, View, ViewBuilder,
};

use super::{Runtime, RuntimeBuilder};
use crate::error::{Error, ErrorKind};
use crate::worker::Reported;

/// What was said of discovery.
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    /// Capabilities as they were named, and the policy of each.
    routes: Vec<(String, Policy)>,
    slow_start: Option<SlowStart>,
    pub(super) check: Option<CheckPolicy>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            slow_start: None,
            check: Some(crate::coordinator::usual_policy()),
        }
    }
}

impl Discovery {
    /// A view of agents whose leases last so long.
    pub(super) fn view(&self, lease: Duration) -> ViewBuilder {
        // All are back one renewal after a registry has lost its data.
        let view = View::builder().with_grace(ViewBuilder::DEFAULT_GRACE.max(lease));
        match self.slow_start {
            Some(slow_start) => view.with_slow_start(slow_start),
            None => view,
        }
    }

    pub(super) fn routes(&self) -> Result<Vec<(CapabilityName, Policy)>, Error> {
        let named = |(name, policy): &(String, Policy)| {
            let capability = CapabilityName::new(name).map_err(|error| {
                let text = format!("`{name}` is no capability whose tasks can be routed");
                Error::invalid(text).with_source(error)
            })?;
            Ok((capability, policy.clone()))
        };
        self.routes.iter().map(named).collect()
    }
}

impl RuntimeBuilder {
    /// Routes the tasks of a capability, in all its versions: each goes to one instance, chosen by a
    /// [`Policy`](coditect_registry::Policy) or a [`Strategy`](coditect_registry::Strategy), instead of to whoever takes it
    /// first.
    ///
    /// Competing for tasks is the better way for agents that are alike. Route where it matters which of them is asked: where
    /// some are slower or fail more, or keep something warm. An instance gets no more than it has slots, and one to begin with
    /// next; what is over waits with the coordinator. When an instance leaves, or is found not to answer, its tasks go
    /// to others at once. [Requests](Runtime::request) of this process follow the route too; those of a
    /// [`TaskContext`](crate::TaskContext) are tasks. An agent of this process that has a free slot is given a task before, as
    /// [`dispatch`](Self::dispatch) says; and with a registry of this process alone there is nobody else to choose.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::registry::{Ejection, Policy, Strategy};
    ///
    /// let builder = Runtime::builder()
    ///     .route("summarize", Strategy::LeastConnections)
    ///     .route("translate", Policy::new(Strategy::PeakEwma).with_ejection(Some(Ejection::default())));
    /// # let _ = builder;
    /// ```
    pub fn route(mut self, capability: impl Into<String>, policy: impl Into<Policy>) -> Self {
        let routes = &mut self.discovery.routes;
        routes.push((capability.into(), policy.into()));
        self
    }

    /// Sets how instances that are new come up to their share of routed tasks; without it they get all of it at once.
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.discovery.slow_start = Some(slow_start);
        self
    }

    /// Sets how it is checked that agents answer, or with `None` that it is not.
    ///
    /// One of the coordinators that share the registry asks each instance over the bus, and another one follows when it ends
    /// or dies. By default it asks every 5 seconds; who is silent for 4 seconds twice in a row is given work only if nobody else is there, and who
    /// is so four times is evicted: what it had goes to others, until it has answered twice. A busy agent answers; one
    /// whose handlers block all threads of its process does not.
    pub fn check_agents(mut self, policy: impl Into<Option<CheckPolicy>>) -> Self {
        self.discovery.check = policy.into();
        self
    }
}

impl Runtime {
    /// Says of an agent of this process whether it wants work, and why.
    ///
    /// `Degraded` is given work only if nobody is ready; `Draining` finishes what it has and takes none, until it says
    /// otherwise. The registry, and so every coordinator, is told soon, by the task that renews; this process keeps to it at
    /// once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if this process has no agent of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// # use coditect_core::registry::Health;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// # let echo = agent("summarize", async |text: String| Ok::<_, AgentError>(text));
    /// let runtime = Runtime::builder().agent(echo).start().await?;
    /// runtime.report_health("summarize", Health::Degraded, "the cache is cold")?;
    /// runtime.report_health("summarize", Health::Ready, None)?;
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn report_health<'a>(
        &self,
        agent: &str,
        health: Health,
        reason: impl Into<Option<&'a str>>,
    ) -> Result<(), Error> {
        let reason = reason.into();
        let reported = Reported {
            health,
            reason: reason.map(|text| Reason::new(text, SystemTime::now())),
        };
        let told = self.inner.worker.report(agent, reported);
        told.ok_or_else(|| {
            let text = format!("this process has no agent named `{agent}`");
            Error::new(ErrorKind::NotFound, text)
        })
    }
}
