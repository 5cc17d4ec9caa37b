//! What can be asked of a run: pause, resume, another priority, signals, decisions, another chance.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_dag::journal::{Command, RunFilter, RunState, RunSummary};
use coditect_dag::{Attempt, TaskId, Timestamp};
use coditect_registry::{AgentId, Requirement};
use serde::Serialize;

use super::event::EventStream;
use super::handle::RunHandle;
use super::spec::Parent;
use super::waiting::Waiting;
use crate::aim::Aim;
use crate::coordinator::approval_signal;
use crate::error::{Error, ErrorKind};
use crate::plan::{Decision, Ruling, Signal};

/// How many bytes a command may carry: it lies in the inbox of a partition, with those of all other runs.
const MAX_CARRIED: usize = 64 << 10;

/// What can be asked of a run. Each of these returns once the wish is written down, whether or not a coordinator is alive,
/// and is carried out by whoever owns the run; a wish that comes twice is granted once.
///
/// # Cancel safety
///
/// A dropped future may have asked.
impl<O> RunHandle<O> {
    /// Lets nothing more be handed out until the run is [resumed](Self::resume).
    ///
    /// Running attempts go on and their outcomes count; backoffs end and wait; signals are kept. No clock is stopped: the
    /// deadlines of the run and of its tasks hold, and a paused run can be cancelled. Child runs are runs of their own
    /// and go on. A run that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::RunState;
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
    /// run.pause("an incident").await?;
    /// // ...
    /// run.resume().await?;
    /// assert_eq!(run.result().await?, 42);
    /// assert_eq!(run.state().await?, RunState::Succeeded);
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub async fn pause(&self, reason: impl Into<Arc<str>>) -> Result<(), Error> {
        let reason = reason.into();
        let at = self.ports.clock.now();
        self.send(Command::Pause { reason, at }).await
    }

    /// Lets what waits be handed out again after a [pause](Self::pause).
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn resume(&self) -> Result<(), Error> {
        let at = self.ports.clock.now();
        self.send(Command::Resume { at }).await
    }

    /// Lets a run start at another instant that waits for its [start](crate::Submit::start_at); at once if that has passed.
    ///
    /// Its deadline moves with it. A run that has begun stays as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the run has begun or ended; as [`summary`](Self::summary).
    pub async fn reschedule(&self, start_at: SystemTime) -> Result<(), Error> {
        let summary = self.summary().await?;
        if summary.start_at.is_none() || summary.started_at.is_some() || summary.state.is_settled()
        {
            let text = format!(
                "the run is {}, and does not wait for its start",
                summary.state
            );
            return Err(Error::invalid(text));
        }
        let (start_at, at) = (Timestamp::from(start_at), self.ports.clock.now());
        self.send(Command::Reschedule { start_at, at }).await
    }

    /// Gives the run another priority: tasks that have none of their own follow, also those of plans that are yet to
    /// come. What was handed out is not called back.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn set_priority(&self, priority: Priority) -> Result<(), Error> {
        self.prioritize(None, priority).await
    }

    /// Gives one task another priority, by the keys that lead to it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the run has no such task yet; as
    /// [`summary`](Self::summary).
    pub async fn set_task_priority(&self, path: &str, priority: Priority) -> Result<(), Error> {
        let (task, _) = self.find(path).await?;
        self.prioritize(Some(task), priority).await
    }

    /// Brings a signal that tasks of the run [wait](crate::PlanBuilder::wait) for, or will.
    ///
    /// The first by its name counts. A run that has ended takes none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the value is no JSON or has more than 64 KiB, which
    /// belong elsewhere with a reference to them in the signal; as [`summary`](Self::summary).
    pub async fn signal<T: Serialize>(&self, signal: &Signal<T>, value: &T) -> Result<(), Error> {
        self.send_signal(signal.name().into(), value).await
    }

    /// Decides an [`Approval`](crate::Approval), by the keys that lead to its task.
    ///
    /// The first decision counts, also if it comes before the task asks. A run that has ended takes none.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    pub async fn decide(&self, path: &str, decision: Decision) -> Result<(), Error> {
        self.send_signal(approval_signal(path), &decision).await
    }

    /// Says what becomes of a task that is parked, by the keys that lead to it: nobody knows whether it took effect, and
    /// whoever rules has looked.
    ///
    /// The first ruling about an attempt counts; it counts no more once the attempt has told its outcome after all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there is no such task, it is not parked, or the ruling has more
    /// than 64 KiB; as [`summary`](Self::summary).
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::{Error, RunHandle, Ruling};
    /// # use coditect_core::Awaited;
    /// # async fn example(run: RunHandle<String>) -> Result<(), Error> {
    /// for waiting in run.waiting().await? {
    ///     if let Awaited::Ruling(reason) = &waiting.awaited {
    ///         println!("{}: {reason}; it was given {}", waiting.task.path, waiting.subject);
    ///     }
    /// }
    /// run.rule("pay", Ruling::retry("ann").comment("The bank has never heard of it.")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rule(&self, path: &str, ruling: Ruling) -> Result<(), Error> {
        let (task, stream) = self.find(path).await?;
        let machine = stream.machine();
        if machine.parked(task).is_none() {
            let text = format!("task `{path}` is not parked, so there is nothing to rule about");
            return Err(Error::invalid(text));
        }
        self.send_signal(machine.ruling_signal(task), &ruling).await
    }

    /// Tells what the run waits for from outside, now.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        Waiting::read(self.run, &self.ports).await
    }

    /// Lists the runs that tasks of this one have started: [child runs](crate::TaskContext::child) and
    /// [requests](crate::TaskContext::request), the oldest first.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn children(&self) -> Result<Vec<RunSummary>, Error> {
        let filter = RunFilter {
            label: Some((Parent::LABEL.to_owned(), self.run.to_string())),
            ..RunFilter::default()
        };
        Ok(self.ports.journal.list(filter).await?)
    }

    /// Opens the run again that has failed or was cancelled: what had not succeeded is done again, what had is kept.
    ///
    /// Failed, skipped and cancelled tasks get fresh counts of failures, and deadlines that count anew, as does that of
    /// the run. A task that had answered with a plan is not asked again: its plan goes on in the same way.
    ///
    /// A task that asked others meets their answers again; one of its [`children`](Self::children) that failed is asked anew.
    ///
    /// From then on this handle and its clones wait for the next end of the run: [`result`](Self::result) is the new one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the run has not ended, or has succeeded; as
    /// [`summary`](Self::summary).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use coditect_core::prelude::*;
    ///
    /// static REPAIRED: AtomicBool = AtomicBool::new(false);
    /// const FETCH: Call<u64, u64> = Call::new("fetch");
    ///
    /// async fn fetch(x: u64) -> Result<u64, AgentError> {
    ///     match REPAIRED.load(Ordering::SeqCst) {
    ///         true => Ok(x),
    ///         false => Err(AgentError::permanent("no connection")),
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// let runtime = Runtime::builder().agent(agent("fetch", fetch)).start().await?;
    /// let run = runtime.submit(&FETCH, 1).await?;
    /// assert!(run.result().await.is_err());
    ///
    /// REPAIRED.store(true, Ordering::SeqCst);
    /// run.retry().await?;
    /// assert_eq!(run.result().await?, 1);
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub async fn retry(&self) -> Result<(), Error> {
        let summary = self.summary().await?;
        if !summary.state.is_settled() || summary.result().is_some() {
            let text = format!(
                "the run is {}, and only one that ended without a result is retried",
                summary.state
            );
            return Err(Error::invalid(text));
        }
        let (settled, at) = (summary.last, self.ports.clock.now());
        self.send(Command::Retry { settled, at }).await?;
        self.await_another_end(settled);
        Ok(())
    }

    /// Gives one failed task another chance, by the keys that lead to it, and opens its run again if that has failed.
    ///
    /// What was skipped because of the task waits for it again; in a run that is opened again, what was cancelled does,
    /// too. Other failed tasks stay as they are. The task is called again itself, with fresh counts of failures; one
    /// that had answered with a plan makes another. As with [`retry`](Self::retry), the next end of the run counts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there is no such task, it has not failed, or the run has
    /// succeeded or was cancelled; as [`summary`](Self::summary).
    pub async fn redrive(&self, path: &str) -> Result<(), Error> {
        self.redrive_attempt(path, None, None, (None, None)).await
    }

    /// The same as [`redrive`](Self::redrive), with another input than the plan says.
    ///
    /// # Errors
    ///
    /// Those of [`redrive`](Self::redrive), and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an input that is no
    /// JSON or has more than 64 KiB.
    pub async fn redrive_with<I: Serialize>(&self, path: &str, input: &I) -> Result<(), Error> {
        let input = encode(input)?;
        self.redrive_attempt(path, None, Some(input), (None, None))
            .await
    }

    /// Puts a task back, only if this is its last attempt where one is named, and to be done by whoever offers something
    /// else, or by one agent alone, where that is said.
    pub(crate) async fn redrive_attempt(
        &self,
        path: &str,
        only: Option<Attempt>,
        input: Option<Bytes>,
        (requirement, agent): (Option<Requirement>, Option<AgentId>),
    ) -> Result<(), Error> {
        check_size(input.as_ref().map_or(0, Bytes::len))?;
        let (task, mut stream) = self.find(path).await?;
        let at = self.ports.clock.now();
        let (attempt, settled) = {
            let machine = stream.machine();
            (machine.scheduler().attempt(task), machine.settlement())
        };
        if only.is_some_and(|only| only != attempt) {
            let text = format!("the last attempt of task `{path}` is {attempt}");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let may = settled.is_none_or(|state| state == RunState::Failed);
        if !may || !stream.may_redrive(task, at) {
            let text =
                format!("task `{path}` has not failed, or nobody could use its answer any more");
            return Err(Error::invalid(text));
        }
        let aims = requirement.is_some() || agent.is_some();
        let aim = aims.then(|| Aim {
            requirement: requirement.unwrap_or_else(|| stream.machine().requirement(task).clone()),
            agent,
        });
        let to = aim.map(|aim| aim.to_string().into());
        self.send(Command::Redrive {
            task,
            at,
            attempt: Some(attempt),
            input,
            to,
        })
        .await?;
        if settled.is_some() {
            self.await_another_end(stream.position());
        }
        Ok(())
    }

    async fn prioritize(&self, task: Option<TaskId>, priority: Priority) -> Result<(), Error> {
        let at = self.ports.clock.now();
        self.send(Command::Prioritize {
            task,
            priority: priority as u8,
            at,
        })
        .await
    }

    async fn send_signal<T: Serialize>(&self, name: Arc<str>, value: &T) -> Result<(), Error> {
        let payload = encode(value)?;
        let at = self.ports.clock.now();
        self.send(Command::Signal { name, payload, at }).await
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), Error> {
        Ok(self.ports.journal.send(self.run, command).await?)
    }

    /// Finds the latest task at a path, in the run as the journal tells it now.
    async fn find(&self, path: &str) -> Result<(TaskId, EventStream), Error> {
        let mut stream = EventStream::open(self.run, Arc::clone(&self.ports)).await?;
        while stream.next_kept().await?.is_some() {}
        let machine = stream.machine();
        let count = u32::try_from(machine.scheduler().len()).unwrap_or(u32::MAX);
        let mut tasks = (0..count).rev().map(TaskId::new);
        match tasks.find(|task| machine.path(*task) == path) {
            Some(task) => Ok((task, stream)),
            None => Err(Error::invalid(format!("the run has no task `{path}`"))),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(value).map_err(|error| {
        Error::invalid("the value cannot be written as JSON").with_source(error)
    })?;
    check_size(json.len())?;
    Ok(json.into())
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_CARRIED {
        let text = format!("the value has {bytes} bytes, {MAX_CARRIED} are allowed");
        return Err(Error::invalid(text));
    }
    Ok(())
}
