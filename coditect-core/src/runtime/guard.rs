//! Guards before the ports: how they are set, and how operators look at them.

use coditect_resilience::Breaker;

use super::{Runtime, RuntimeBuilder};
use crate::guard::GuardPolicy;

impl RuntimeBuilder {
    /// Sets how calls of the message bus are guarded, or with `None` that they are not.
    ///
    /// By default they are, by [`GuardPolicy::bus`], where the bus is one of another process (RabbitMQ).
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::guard::GuardPolicy;
    /// use coditect_core::prelude::*;
    /// use coditect_core::resilience::BulkheadPolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// let few = BulkheadPolicy::new(64)?.with_queue(1_024);
    /// let builder = Runtime::builder().guard_bus(GuardPolicy::bus().with_bulkhead(few));
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn guard_bus(mut self, policy: impl Into<Option<GuardPolicy>>) -> Self {
        self.resilience.guards.bus = Some(policy.into());
        self
    }

    /// Sets how calls of the registry are guarded, or with `None` that they are not.
    ///
    /// By default they are, by [`GuardPolicy::registry`], unless it is one of this runtime alone.
    pub fn guard_registry(mut self, policy: impl Into<Option<GuardPolicy>>) -> Self {
        self.resilience.guards.registry = Some(policy.into());
        self
    }

    /// Sets how calls of the state store are guarded, or with `None` that they are not.
    ///
    /// By default they are, by [`GuardPolicy::state`], where processes share the store (Redis). The journal of runs is guarded with
    /// the store on which this runtime makes it; one that the caller has made stands on what the caller made it on.
    pub fn guard_state(mut self, policy: impl Into<Option<GuardPolicy>>) -> Self {
        self.resilience.guards.state = Some(policy.into());
        self
    }
}

impl Runtime {
    /// Lists the breakers before the ports of this process that are guarded, to look at them or to take them in hand: `bus`,
    /// `registry`, `state`, and after them the queues to which publishes fail, by their names.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::guard::GuardPolicy;
    /// # use coditect_core::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// let runtime = Runtime::builder().guard_state(GuardPolicy::state()).start().await?;
    /// for breaker in runtime.port_breakers() {
    ///     println!("{}: {:?}", breaker.name(), breaker.state());
    /// }
    /// # assert_eq!(runtime.port_breakers().len(), 1);
    /// # runtime.shutdown().await
    /// # }
    /// ```
    #[must_use]
    pub fn port_breakers(&self) -> Vec<Breaker> {
        self.inner.guarded.breakers()
    }
}
