//! Limits over the whole deployment: how they are set, and how far they are used.

use super::resilience::Resilience;
use super::{Runtime, RuntimeBuilder};
use crate::error::{Error, ErrorKind};
use crate::limit::kept;
use crate::limit::{Limit, LimitOn, LimitUse};

impl RuntimeBuilder {
    /// Limits how many tasks of a capability, or of a tenant, are worked on at once, by all processes that share the state.
    ///
    /// The tasks of runs count, from the moment that they are handed out to the end of the attempt; not while their handlers
    /// wait for [children](crate::TaskContext::request), nor between attempts. The limit is kept in the state, by what
    /// coordinates: one that was given to another process before is replaced, and one that a person
    /// [has set](Runtime::set_limit) stays. It outlives the processes that gave it, until it is [lifted](Runtime::lift_limit).
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::Limit;
    /// use coditect_core::prelude::*;
    ///
    /// // A provider that takes ten calls at once, however many machines there are.
    /// let builder = Runtime::builder().limit(Limit::capability("render", 10));
    /// # let _ = builder;
    /// ```
    pub fn limit(mut self, limit: Limit) -> Self {
        let limits = &mut self.resilience.limits;
        limits.retain(|known| known.on() != limit.on());
        limits.push(limit);
        self
    }
}

impl Resilience {
    /// The limits that are written down at the start, by whoever `coordinates`.
    pub(super) fn limits(&self, coordinates: bool) -> Result<Vec<Limit>, Error> {
        self.limits.iter().try_for_each(Limit::check)?;
        let limits = self.limits.iter().filter(|_| coordinates);
        Ok(limits.cloned().collect())
    }
}

impl Runtime {
    /// Lists the limits of all processes that share the state, and how far they are used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the state cannot be reached.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(runtime: coditect_core::Runtime) -> Result<(), coditect_core::Error> {
    /// for limit in runtime.limits().await? {
    ///     println!("{}: {} of {}, {} wait", limit.on, limit.held, limit.max, limit.waiting);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn limits(&self) -> Result<Vec<LimitUse>, Error> {
        Ok(kept::uses(&**self.store()).await?)
    }

    /// Sets a limit for all processes that share the state, by this process at once and by others as soon as they hear of it,
    /// which takes 15 s at most. It stays whatever limits processes are started with.
    ///
    /// Where more is worked on than may be, nothing is stopped, and nothing begins until enough has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a limit of zero and for what is no capability; [`ErrorKind::Unavailable`] if the state cannot
    /// be reached.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have set the limit.
    pub async fn set_limit(&self, limit: Limit) -> Result<(), Error> {
        limit.check()?;
        kept::set(self.store(), &limit).await?;
        self.read_limits().await
    }

    /// Takes a limit away, as [`set_limit`](Self::set_limit) sets one. A process that is started with one sets it again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where there is no such limit; [`ErrorKind::Unavailable`] if the state cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have taken the limit away.
    pub async fn lift_limit(&self, on: &LimitOn) -> Result<(), Error> {
        let was_there = kept::lift(self.store(), on).await?;
        self.read_limits().await?;
        match was_there {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no limit of {on}"),
            )),
        }
    }

    async fn read_limits(&self) -> Result<(), Error> {
        let ports = self.inner.submitter.ports();
        Ok(ports.limits.read(&*ports.store).await?)
    }
}
