//! The runtime: agents, worker and coordinator of one process, on the ports that were chosen.

#[cfg(any(feature = "embedded", feature = "redis"))]
mod archive;
mod builder;
mod dead_letters;
mod discovery;
mod guard;
mod limit;
mod quarantine;
mod request;
mod resilience;
mod shutdown;
mod source;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_bus::MessageBus;
use coditect_dag::RunId;
use coditect_dag::journal::{Partition, Roster, RunFilter, RunJournal, RunSummary};
use coditect_registry::{Registry, View};
use coditect_state::StateStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

pub use self::builder::RuntimeBuilder;
pub use self::dead_letters::{
    DeadLetters, Redrive, Redriven, SetAside, SetAsideCursor, SetAsideFilter, SetAsideKind,
    SetAsidePage,
};
pub use self::request::Request;
pub use self::shutdown::shutdown_signal;
pub use self::source::{BusSource, RegistrySource, StateSource};

use self::request::{Asker, Hedges};
use crate::coordinator::{Coordinator, Routes};
use crate::error::Error;
use crate::guard::GuardSet;
use crate::plan::{Call, Plan};
use crate::quarantine::Quarantines;
use crate::run::{RunHandle, Submit, Submitter};
use crate::schedule::{self, Book, Schedule, ScheduleFilter, ScheduleInfo};
use crate::worker::Worker;

/// Runs agents, and the runs in which they work together.
///
/// With nothing but agents it runs everything in this process: bus, registry, state. Handles are
/// cheap to clone and all stand for the same runtime. Dropping the last one ends everything at once;
/// [`shutdown`](Runtime::shutdown) lets what runs come to its end.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// async fn greet(name: String) -> Result<String, AgentError> {
///     Ok(format!("hello, {name}"))
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let runtime = Runtime::builder().agent(agent("greet", greet)).start().await?;
/// let greeting: String = runtime.run(&call("greet"), "world").await?;
/// assert_eq!(greeting, "hello, world");
/// runtime.shutdown().await
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    submitter: Submitter,
    worker: Arc<Worker>,
    coordinator: Option<Coordinator>,
    view: View,
    /// What is held, where this process coordinates.
    quarantines: Option<Arc<Quarantines>>,
    /// Capabilities whose requests go to chosen instances, where there are some.
    routes: Option<Arc<Routes>>,
    asker: OnceCell<Asker>,
    hedges: Hedges,
    /// How long a drain may take.
    drain: Duration,
    /// Whether the bus was made by this runtime, and is closed with it.
    owns_bus: bool,
    /// Whether agents of other processes show by their queues alone.
    follows_queues: bool,
    guarded: GuardSet,
    closed: AtomicBool,
}

impl Runtime {
    /// Starts to describe a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Submits a run of one call, which may be answered by an agent or decomposed by an orchestrator.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use coditect_core::prelude::*;
    /// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
    /// const AUDIT: Call<String, u64> = Call::new("audit");
    /// let run = runtime
    ///     .submit(&AUDIT, "src".to_owned())
    ///     .deadline(Duration::from_secs(60))
    ///     .await?;
    /// println!("run {} found {} problems", run.id(), run.result().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit<I: Serialize, O>(&self, call: &Call<I, O>, input: I) -> Submit<O> {
        Submit::new(self.submitter(), Plan::of_call(call, &input))
    }

    /// Submits a run of a plan.
    pub fn submit_plan<O>(&self, plan: Plan<O>) -> Submit<O> {
        Submit::new(self.submitter(), Ok(plan))
    }

    /// Submits a run of one call and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of [`Submit`] and [`RunHandle::result`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the run.
    pub async fn run<I, O>(&self, call: &Call<I, O>, input: I) -> Result<O, Error>
    where
        I: Serialize,
        O: DeserializeOwned + Send + 'static,
    {
        self.submit(call, input).await?.result().await
    }

    /// Asks an agent without making a run of it: nothing is kept, and a failure is not tried again.
    ///
    /// Where an agent of this process offers it, that agent answers without the bus, as soon as it has
    /// a slot. Where this runtime [routes](RuntimeBuilder::route) the capability, an agent of this process answers only
    /// if it has a slot at once, and the instance that the policy chooses otherwise; when that instance leaves or is found not to
    /// answer, another one is asked in the time that is left, so that both may have acted upon it. An orchestrator needs a run: [`submit`](Self::submit) the call instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
    /// const COUNT: Call<String, usize> = Call::new("count");
    /// let words = runtime.request(&COUNT, "to be or not to be".to_owned()).await?;
    /// # let _ = words;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request<I: Serialize, O>(&self, call: &Call<I, O>, input: I) -> Request<O> {
        Request::new(self.clone(), call, &input)
    }

    /// Attaches to a run that was submitted earlier, here or elsewhere; `O` is what it answers with.
    #[must_use]
    pub fn attach<O>(&self, run: RunId) -> RunHandle<O> {
        RunHandle::new(run, Arc::clone(self.inner.submitter.ports()))
    }

    /// Lists the runs that a filter selects: by state, tenant, label, and when they were submitted; page by page.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// It only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::{Error, RunFilter, RunState, Runtime};
    /// # async fn example(runtime: Runtime) -> Result<(), Error> {
    /// let mut failed = RunFilter {
    ///     state: Some(RunState::Failed),
    ///     label: Some(("kind".into(), "monthly".into())),
    ///     limit: Some(100),
    ///     ..RunFilter::default()
    /// };
    /// loop {
    ///     let page = runtime.runs(failed.clone()).await?;
    ///     let Some(last) = page.last() else { break };
    ///     failed.after = Some(last.run);
    ///     for run in page {
    ///         println!("{} of {} failed", run.run, run.tenant);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        Ok(self.journal().list(filter).await?)
    }

    /// Finds a schedule by its name; whether there is one is told when it is asked for something.
    #[must_use]
    pub fn schedule(&self, name: impl Into<Arc<str>>) -> Schedule {
        Schedule::new(name, Arc::clone(self.inner.submitter.ports()))
    }

    /// Lists the schedules that a filter selects, by name; page by page.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// It only reads.
    pub async fn schedules(&self, filter: ScheduleFilter) -> Result<Vec<ScheduleInfo>, Error> {
        let book = Book::new(self.inner.submitter.ports());
        schedule::list(&book, &filter).await
    }

    /// Reads which coordinators there are, and which of them owns which partition of the runs.
    ///
    /// Coordinators are known by the incarnations of their processes. Each owns an even share, as soon as partitions have been
    /// handed over to one that has come; what nobody owns has no coordinator that could go on with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// It only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::{Error, Runtime};
    /// # async fn example(runtime: Runtime) -> Result<(), Error> {
    /// let roster = runtime.roster().await?;
    /// for coordinator in roster.members() {
    ///     println!("{coordinator} owns {} partitions", roster.count(coordinator));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn roster(&self) -> Result<Roster, Error> {
        Ok(self.journal().roster().await?)
    }

    /// The partitions of the runs that this process owns now; none where it only works.
    #[must_use]
    pub fn own_partitions(&self) -> Vec<Partition> {
        let coordinator = self.inner.coordinator.as_ref();
        coordinator.map_or_else(Vec::new, |coordinator| coordinator.owned().all())
    }

    /// The message bus, for messages of your own.
    ///
    /// Agents are not reached by sending to their capability here, which has queues and a form of its own: give them
    /// tasks by [`submit`](Self::submit), or questions by [`request`](Self::request).
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn MessageBus> {
        &self.inner.submitter.ports().bus
    }

    /// The registry of agents.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.inner.submitter.ports().registry
    }

    /// The agents of all processes, as this one knows them now.
    #[must_use]
    pub fn agents(&self) -> &View {
        &self.inner.view
    }

    /// The journal of runs.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn RunJournal> {
        &self.inner.submitter.ports().journal
    }

    /// The state store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.inner.submitter.ports().store
    }

    fn submitter(&self) -> Result<Submitter, Error> {
        self.check_open()?;
        Ok(self.inner.submitter.clone())
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        Ok(())
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("incarnation", &self.inner.worker.incarnation)
            .field("coordinates", &self.inner.coordinator.is_some())
            .field("closed", &self.inner.closed)
            .finish_non_exhaustive()
    }
}
