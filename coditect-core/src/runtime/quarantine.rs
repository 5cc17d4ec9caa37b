//! Quarantines: when they begin, which there are, and how people end them.

use coditect_registry::CapabilityName;
use coditect_resilience::QuarantinePolicy;

use super::resilience::Resilience;
use super::{Runtime, RuntimeBuilder};
use crate::error::{Error, ErrorKind};
use crate::quarantine::{QuarantinePolicies, Quarantined};

impl RuntimeBuilder {
    /// Sets when agents are given no more work of a capability that keep failing in the same way; with `None` that they always
    /// are, whatever [the others](Self::quarantine_all) do.
    ///
    /// None is by default. It counts for the runs that this process coordinates: tasks that have failed for good, by agent,
    /// version of the capability and kind of failure. Once there are too many, the tasks that only such an agent could do are
    /// held instead of being spent; others go to its other versions, and to other agents. Requests go there as well, and fail
    /// at once with [`ErrorKind::Unavailable`] where nobody else is known. It ends when a task or a request that is tried
    /// succeeds, or [by a person](Runtime::release).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_core::prelude::*;
    /// use coditect_core::resilience::QuarantinePolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// // Five of the last twenty tasks, within ten minutes.
    /// let policy = QuarantinePolicy::new(5, 20, Duration::from_secs(600))?;
    /// let builder = Runtime::builder().quarantine("summarize", policy);
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn quarantine(
        mut self,
        capability: impl Into<String>,
        policy: impl Into<Option<QuarantinePolicy>>,
    ) -> Self {
        let quarantines = &mut self.resilience.quarantines;
        quarantines.push((capability.into(), policy.into()));
        self
    }

    /// Sets the same for every capability that has no policy of its own.
    pub fn quarantine_all(mut self, policy: QuarantinePolicy) -> Self {
        self.resilience.quarantine = Some(policy);
        self
    }
}

impl Runtime {
    /// Lists the agents that are given no more work of a capability since too much of it failed in the same way, in all
    /// processes that share the state.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the state cannot be reached.
    pub async fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        let store = self.store();
        if let Some(quarantines) = &self.inner.quarantines {
            quarantines.write_down(store).await?;
        }
        Ok(Quarantined::read(&**store).await?)
    }

    /// Ends a quarantine: the agent is given work again, by this process at once and by others within 5 s.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no capability or version, [`ErrorKind::NotFound`] where there is no such quarantine,
    /// [`ErrorKind::Unavailable`] if the state cannot be reached.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(runtime: coditect_core::Runtime) -> Result<(), coditect_core::Error> {
    /// for one in runtime.quarantined().await? {
    ///     println!("{} since {}: {} ({} times)", one.agent, one.since, one.example, one.failures);
    ///     runtime.release(&one).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release(&self, quarantined: &Quarantined) -> Result<(), Error> {
        let here = self.inner.quarantines.as_ref();
        let mut known = here.is_some_and(|quarantines| quarantines.release(&quarantined.pattern()));
        known |= quarantined.clear(self.store()).await?;
        if known {
            return Ok(());
        }
        let text = format!("`{}` is not held", quarantined.pattern());
        Err(Error::new(ErrorKind::NotFound, text))
    }
}

impl Resilience {
    pub(super) fn quarantines(&self) -> Result<QuarantinePolicies, Error> {
        let named = self.quarantines.iter().map(|(name, policy)| {
            let capability = CapabilityName::new(name).map_err(|error| {
                let text = format!("`{name}` is no capability whose agents can be held");
                Error::invalid(text).with_source(error)
            })?;
            Ok((capability, *policy))
        });
        Ok(QuarantinePolicies {
            named: named.collect::<Result<_, Error>>()?,
            default: self.quarantine,
        })
    }
}
