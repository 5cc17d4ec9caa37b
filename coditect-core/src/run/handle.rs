//! Attached to a run: its result, its events, its end.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coditect_dag::RunId;
use coditect_dag::journal::{Command, RunState, RunSummary, Seq, Settlement, Watch};
use serde::de::DeserializeOwned;

use super::event::{EventStream, not_found, unfinished};
use super::report::RunReport;
use crate::coordinator::decode_failure;
use crate::error::{Error, ErrorKind};
use crate::failure::{Failure, FailureKind};
use crate::ports::Ports;

/// Attached to a run, in this or another process.
///
/// Everything it tells is read from the journal. Dropping it detaches and cancels nothing.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// const DOUBLE: Call<u64, u64> = Call::new("double");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let runtime = Runtime::builder()
///     .agent(agent("double", async |x: u64| Ok::<_, AgentError>(2 * x)))
///     .start()
///     .await?;
/// let run = runtime.submit(&DOUBLE, 21).await?;
///
/// let mut events = run.events().await?;
/// while let Some(event) = events.next().await? {
///     if let RunEventKind::Settled(task, state, _) = event.kind {
///         assert_eq!((task.path.as_str(), state.to_string().as_str()), ("double", "succeeded"));
///     }
/// }
/// assert_eq!(run.result().await?, 42);
///
/// // Anybody who knows the id can come back later.
/// let again = runtime.attach::<u64>(run.id());
/// assert_eq!(again.result().await?, 42);
/// # runtime.shutdown().await
/// # }
/// ```
pub struct RunHandle<O> {
    pub(super) run: RunId,
    pub(super) ports: Arc<Ports>,
    /// The position of an end that is not to be the last, shared with the clones.
    beyond: Arc<AtomicU64>,
    output: PhantomData<fn() -> O>,
}

impl<O> RunHandle<O> {
    pub(crate) fn new(run: RunId, ports: Arc<Ports>) -> Self {
        Self {
            run,
            ports,
            beyond: Arc::default(),
            output: PhantomData,
        }
    }

    /// Waits for another end of the run than the one at this position from now on.
    pub(super) fn await_another_end(&self, settled: Seq) {
        self.beyond.fetch_max(settled.get(), Ordering::AcqRel);
    }

    /// The run's id, by which [`Runtime::attach`](crate::Runtime::attach) finds it again.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.run
    }

    /// How far the run has come.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the run has been forgotten, [`ErrorKind::Unavailable`].
    pub async fn summary(&self) -> Result<RunSummary, Error> {
        let summary = self.ports.journal.run(self.run).await?;
        summary.ok_or_else(|| not_found(self.run))
    }

    /// The state the run is in.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn state(&self) -> Result<RunState, Error> {
        Ok(self.summary().await?.state)
    }

    /// Waits until the run has ended, however it ends.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary); [`ErrorKind::Closed`] when the runtime has shut down before the
    /// run had ended, and nobody else can go on with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn settled(&self) -> Result<RunSummary, Error> {
        let mut watched: Option<(RunState, Watch)> = None;
        loop {
            let ended = self.ports.has_ended();
            let summary = self.summary().await?;
            let beyond = self.beyond.load(Ordering::Acquire);
            let state = summary.state;
            if state.is_settled() && summary.last.get() > beyond {
                return Ok(summary);
            }
            if ended {
                return Err(unfinished(self.run));
            }
            let Some((_, watch)) = watched.as_mut().filter(|(known, _)| *known == state) else {
                // Read again once it is watched: it may have changed in between.
                watched = Some((state, self.watch_beyond(state).await?));
                continue;
            };
            tokio::select! {
                biased;
                () = watch.changed() => {}
                () = self.ports.ended() => {}
            }
        }
    }

    /// Watches for the run to leave a state; where that is an end that does not count, for everything, since the run may be
    /// opened and end so again at one stroke.
    async fn watch_beyond(&self, state: RunState) -> Result<Watch, Error> {
        let journal = &self.ports.journal;
        Ok(if state.is_settled() {
            journal.watch(self.run).await?
        } else {
            journal.watch_while(self.run, state).await?
        })
    }

    /// Follows what happens in the run, from its beginning.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn events(&self) -> Result<EventStream, Error> {
        let beyond = Seq::new(self.beyond.load(Ordering::Acquire));
        EventStream::open_beyond(self.run, Arc::clone(&self.ports), beyond).await
    }

    /// What the run has done so far: tasks, attempts, times.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn report(&self) -> Result<RunReport, Error> {
        RunReport::read(self.run, &self.ports).await
    }

    /// Asks that the run be cancelled: running agents are told to stop, what has not begun never will.
    ///
    /// [`retry`](Self::retry) opens it again.
    ///
    /// Returns once the wish is written down; [`settled`](Self::settled) tells when it has been done. A
    /// run that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have asked.
    pub async fn cancel(&self, reason: impl Into<Arc<str>>) -> Result<(), Error> {
        let command = Command::Cancel {
            reason: reason.into(),
            at: self.ports.clock.now(),
        };
        Ok(self.ports.journal.send(self.run, command).await?)
    }
}

impl<O: DeserializeOwned> RunHandle<O> {
    /// Waits for the run's result.
    ///
    /// # Errors
    ///
    /// Why there is none: [`ErrorKind::Failed`], [`ErrorKind::Cancelled`],
    /// [`ErrorKind::DeadlineExceeded`] with the run's [`Failure`]; [`ErrorKind::Invalid`] when the
    /// result is no `O`; and as [`settled`](Self::settled).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing; the result can be awaited again, any number of times.
    pub async fn result(&self) -> Result<O, Error> {
        match self.settled().await?.settlement {
            Some(Settlement::Succeeded { result }) => {
                serde_json::from_slice(&result).map_err(|error| {
                    Error::invalid("the run's result is of another type").with_source(error)
                })
            }
            Some(Settlement::Failed { failure }) => Err(Error::of_run(decode_failure(&failure))),
            Some(Settlement::Cancelled { reason }) => Err(Error::of_run(Failure::new(
                FailureKind::Cancelled,
                &*reason,
            ))),
            None => Err(Error::new(
                ErrorKind::Unavailable,
                "the journal has no settlement",
            )),
        }
    }
}

impl<O> Clone for RunHandle<O> {
    fn clone(&self) -> Self {
        Self {
            beyond: Arc::clone(&self.beyond),
            ..Self::new(self.run, Arc::clone(&self.ports))
        }
    }
}

impl<O> fmt::Debug for RunHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunHandle").field(&self.run).finish()
    }
}
