//! Tasks that stay in the process: from the coordinator to a free slot without the bus.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::QueueName;
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_telemetry::TraceContext;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use super::absence::Counted;
use super::attempt::{Bounds, Ended, attempt};
use super::request::{Question, respond};
use super::running::AttemptName;
use super::{Slot, Worker};
use crate::agent::Performer;
use crate::context::{ContextParts, RunScope, Siblings, TaskContext};
use crate::failure::{Failure, FailureKind};
use crate::wire::{AttemptId, Outcome};

/// A task that a coordinator gives to a slot of its own process.
pub(crate) struct LocalJob {
    pub(crate) scope: RunScope,
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    /// How often a person has opened the task again.
    pub(crate) times_opened: u32,
    /// The queue of the owner that launches it, for when it no longer is one.
    pub(crate) owner: QueueName,
    pub(crate) key: Arc<str>,
    pub(crate) input: Bytes,
    pub(crate) siblings: Siblings,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) token: CancellationToken,
    pub(crate) slot: Slot,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    /// Who is to do it.
    pub(crate) by: Option<Arc<Performer>>,
    /// It is irreversible, and the journal says that this process may begin it.
    pub(crate) is_granted: bool,
}

impl Worker {
    /// Runs a job; its outcome goes to the coordinator's channel, or to the partition's queue if that
    /// coordinator no longer owns the partition.
    ///
    /// What it was told to stop for is no outcome then, unless it was handed over with the partition: whoever owns the
    /// partition hands it out again.
    pub(crate) fn launch(self: &Arc<Self>, mut job: LocalJob) {
        let worker = Arc::clone(self);
        self.attempts.spawn(async move {
            let hosted = Arc::clone(job.slot.hosted());
            let bounds = Bounds {
                timeout: job.timeout.or(hosted.card.timeout()),
                deadline: job
                    .deadline
                    .map(|at| worker.services.ports.clock.instant(at)),
                ..worker.bounds()
            };
            // It is heard of from the beginning, should another own the partition before it has ended.
            let claim = job.is_granted.then(|| {
                worker.claims.hold(AttemptName {
                    owner: job.owner.clone(),
                    attempt: AttemptId {
                        run: job.run,
                        task: job.task,
                        attempt: job.attempt,
                    },
                })
            });
            let span = attempt_span(&hosted.id, job.run, &job.key, job.attempt);
            if let (false, Some(trace)) = (span.is_disabled(), &job.scope.fields().trace) {
                trace.attach(&span);
            }
            let (leave, meter) = job.slot.begin();
            let counted = Counted {
                worker: Arc::clone(&worker),
                owner: job.owner.clone(),
                attempt: AttemptId {
                    run: job.run,
                    task: job.task,
                    attempt: job.attempt,
                },
                by: job.by.clone(),
                tenant: Arc::clone(&job.scope.fields().tenant),
                number: None,
            };
            let context = TaskContext::new(ContextParts {
                scope: job.scope,
                task: job.task,
                attempt: job.attempt,
                times_opened: job.times_opened,
                key: job.key,
                deadline: job.deadline,
                token: job.token,
                services: Arc::clone(&worker.services),
                siblings: Some(job.siblings),
                slot: job.slot,
                counted: Some(counted),
                meter,
            });
            let attempted = attempt(&hosted, &context, job.input, bounds, leave)
                .instrument(span)
                .await;
            drop(context.release_slot());
            let given_up = attempted.was_given_up();
            let ended = match given_up && hosted.standing.is_superseded() {
                true => Ended::failed(Failure::new(
                    FailureKind::Lost,
                    "its agent was replaced by a newer start",
                )),
                false => attempted.ended,
            };
            let outcome = Outcome {
                run: job.run,
                task: job.task,
                attempt: job.attempt,
                by: job.by,
                ended,
            };
            if let Err(returned) = job.outcomes.send(outcome).await {
                let wanted = !given_up || job.is_granted;
                let tell = worker.tell_next_owner(job.owner, returned.0, wanted, given_up);
                // It is rare, and larger than all the rest, which is moved with every task.
                Box::pin(tell).await;
            }
            drop(claim);
        });
    }
}

impl Worker {
    /// Answers a request in this process, as long as somebody waits for the answer.
    pub(crate) fn answer(self: &Arc<Self>, slot: Slot, input: Bytes, patience: Duration) -> Asked {
        let (sender, receiver) = oneshot::channel();
        let worker = Arc::clone(self);
        let trace = TraceContext::current();
        let token = self.halt.child_token();
        let unless_answered = token.clone().drop_guard();
        self.attempts.spawn(async move {
            let hosted = Arc::clone(slot.hosted());
            let clock = &worker.services.ports.clock;
            let question = Question {
                input,
                trace,
                deadline: Some(clock.now().saturating_add(patience)),
                token,
                slot,
            };
            let ended = respond(&worker, &hosted, question).await;
            // Whoever asked may have gone.
            let _ = sender.send(ended);
        });
        Asked {
            answer: receiver,
            unless_answered,
        }
    }
}

/// A question that an agent of this process works on; its handler is told to stop when it is dropped.
#[derive(Debug)]
pub(crate) struct Asked {
    answer: oneshot::Receiver<Ended>,
    unless_answered: DropGuard,
}

impl Asked {
    /// Waits for the answer; none if the handler went down with its process.
    pub(crate) async fn answer(self) -> Option<Ended> {
        let answer = self.answer.await.ok();
        // What the handler has left running may go on.
        self.unless_answered.disarm();
        answer
    }
}

/// The span of an attempt, for logs and traces.
pub(super) fn attempt_span(
    agent: &impl std::fmt::Display,
    run: RunId,
    key: &str,
    attempt: Attempt,
) -> tracing::Span {
    tracing::info_span!("attempt", %agent, %run, task = key, attempt = attempt.get())
}
