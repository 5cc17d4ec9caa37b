//! Records as the scheduler's events, and what records carry beside them.

use std::sync::Arc;

use coditect_bus::Priority;
use coditect_dag::journal::{Record, RecordKind, Settlement};
use coditect_dag::{Class, Event, Expansion, Join, LossReason, TaskId, TaskSpec};

use super::super::scope::Scope;
use super::explain::decode_failure;
use super::{Holder, Intern, RunMachine, classes_of};
use crate::aggregate::AggregatorCatalogue;
use crate::failure::{Failure, FailureKind};
use crate::plan::{PatchSpec, PreparedPlan};

/// How often an attempt may be lost with its worker where the plan says nothing.
const DEFAULT_MAX_LOSSES: u32 = 10;

impl RunMachine {
    /// The scheduler's event for a record; none where it has no say.
    pub(super) fn event(
        &mut self,
        record: &Record,
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Option<Event<u8>>, Failure> {
        Ok(Some(match &record.kind {
            RecordKind::Started => Event::Started,
            RecordKind::Rescheduled { start_at } => {
                self.reschedule(*start_at);
                return Ok(None);
            }
            RecordKind::Dispatched { task, .. } => Event::Dispatched { task: *task },
            RecordKind::Succeeded { task, attempt, .. } => Event::Succeeded {
                task: *task,
                attempt: *attempt,
            },
            RecordKind::Failed {
                task,
                attempt,
                retry_at,
                ..
            } => Event::Failed {
                task: *task,
                attempt: *attempt,
                retry_at: *retry_at,
            },
            RecordKind::Lost { task, attempt, .. } => Event::Lost {
                task: *task,
                attempt: *attempt,
                reason: LossReason::WorkerGone,
            },
            RecordKind::Snoozed {
                task,
                attempt,
                until,
            } => Event::Snoozed {
                task: *task,
                attempt: *attempt,
                until: *until,
            },
            RecordKind::Expanded {
                task,
                attempt,
                plan,
            } => {
                if self.is_current(*task, *attempt) {
                    let expansion = self.expand(*task, plan, intern, catalogue)?;
                    Event::Expanded {
                        task: *task,
                        attempt: *attempt,
                        expansion: Box::new(expansion),
                    }
                } else {
                    return Ok(None);
                }
            }
            RecordKind::Resolved { task, .. } => Event::Resolved { task: *task },
            RecordKind::ScopeFailed { task, .. } => Event::ScopeFailed { task: *task },
            RecordKind::Expired { task } => Event::Expired { task: *task },
            RecordKind::Cancelled { task } => Event::Cancelled { task: *task },
            RecordKind::RunCancelled { .. } => Event::RunCancelled,
            RecordKind::Redriven { task, .. } => self.put_back(*task),
            RecordKind::Aimed { task, to } => {
                self.aim(*task, to, intern);
                return Ok(None);
            }
            RecordKind::Retried => Event::Retried,
            RecordKind::Paused { .. } => Event::Paused,
            RecordKind::Resumed => Event::Resumed,
            RecordKind::Prioritized { task, priority } => Event::Prioritized {
                tasks: self.to_prioritize(*task),
                priority: *priority,
            },
            RecordKind::Waiting { task, .. } => Event::Dispatched { task: *task },
            RecordKind::Signalled { name, payload } => {
                let kept = self.signals.entry(Arc::clone(name));
                kept.or_insert_with(|| payload.clone());
                return Ok(None);
            }
            RecordKind::Patched { patch } => {
                let invalid = |text: String| Failure::new(FailureKind::InvalidPlan, text);
                let spec: PatchSpec = serde_json::from_slice(patch)
                    .map_err(|error| invalid(format!("the patch cannot be read: {error}")))?;
                if self.patches.contains_key(&spec.id) {
                    return Ok(None);
                }
                let patched = self.patch(&spec, record.at, intern);
                patched.map_err(|error| invalid(error.with_causes()))?
            }
            RecordKind::PatchRefused { id, reason } => {
                let refused = Err(Arc::clone(reason));
                self.patches.entry(Arc::clone(id)).or_insert(refused);
                return Ok(None);
            }
            RecordKind::Settled(settlement) => match settlement {
                Settlement::Succeeded { .. } => Event::RunResolved,
                Settlement::Failed { .. } => Event::RunFailed,
                Settlement::Cancelled { .. } => Event::RunCancelled,
            },
            RecordKind::Unserved { task } => {
                self.unserved.insert(*task);
                return Ok(None);
            }
            RecordKind::Claimed {
                task,
                attempt,
                incarnation,
                lease_ms,
            } => {
                let holder = Holder {
                    incarnation: Arc::clone(incarnation),
                    lease_ms: *lease_ms,
                    claim: None,
                };
                self.keep_holder(*task, *attempt, holder);
                return Ok(None);
            }
            RecordKind::Granted {
                task,
                attempt,
                incarnation,
                lease_ms,
                claim,
            } => {
                let holder = Holder {
                    incarnation: Arc::clone(incarnation),
                    lease_ms: Some(*lease_ms),
                    claim: Some(*claim),
                };
                self.keep_holder(*task, *attempt, holder);
                return Ok(None);
            }
            RecordKind::Parked {
                task,
                attempt,
                reason,
            } => {
                self.park(*task, *attempt, record.at, reason);
                return Ok(None);
            }
        }))
    }

    /// Opens the scope of a task that answered with a plan.
    pub(super) fn expand(
        &mut self,
        task: TaskId,
        plan: &[u8],
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Expansion<u8>, Failure> {
        let invalid = |error: &dyn std::error::Error| {
            let mut failure = Failure::new(FailureKind::InvalidPlan, error.to_string());
            failure
                .chain
                .extend(error.source().map(ToString::to_string));
            failure
        };
        let plan = PreparedPlan::from_json(plan).map_err(|error| invalid(&error))?;
        let plan = Arc::new(plan);
        let priority = self.priority;
        let classes = classes_of(&plan, intern);
        let expansion = Expansion::new(
            plan.graph(),
            |id, ()| schedule(&plan, &classes, priority, id),
            plan.spec().policy,
        );
        self.scheduler
            .check_expansion(task, &expansion)
            .map_err(|error| invalid(&error))?;
        let offset = u32::try_from(self.scope_of.len()).unwrap_or(u32::MAX);
        let scope = u32::try_from(self.scopes.len()).unwrap_or(u32::MAX);
        let count = plan.spec().tasks.len();
        self.scopes
            .push(Scope::new(Some(task), offset, plan, classes, catalogue)?);
        self.scope_of.resize(self.scope_of.len() + count, scope);
        self.expanded.insert(task, scope);
        Ok(expansion)
    }

    pub(super) fn refuse(&mut self, event: &Event<u8>, error: &coditect_dag::Error) {
        if let Event::Expanded { task, .. } = event {
            let failure = Failure::new(FailureKind::InvalidPlan, error.to_string());
            self.failures.insert(*task, failure);
        }
    }

    /// Keeps what a record carries beside its event.
    pub(super) fn keep(&mut self, record: &Record, event: &Event<u8>) {
        match &record.kind {
            RecordKind::Succeeded { task, output, .. } | RecordKind::Resolved { task, output } => {
                self.note_decision(*task);
                self.outputs.insert(*task, output.clone());
            }
            RecordKind::Failed {
                task,
                attempt,
                failure,
                retry_at,
            } => {
                self.note_decision(*task);
                if retry_at.is_some() {
                    self.note_set_aside(*task, *attempt, failure);
                }
                self.failures.insert(*task, decode_failure(failure));
            }
            RecordKind::ScopeFailed { task, failure } => {
                self.note_decision(*task);
                self.failures.insert(*task, decode_failure(failure));
            }
            RecordKind::Lost { task, reason, .. } => {
                let failure =
                    Failure::new(FailureKind::Lost, format!("the attempt was lost: {reason}"));
                self.failures.insert(*task, failure);
            }
            RecordKind::Redriven { task, input } => {
                self.open_again(*task, record.at);
                self.note_redriven(*task);
                self.unclear.remove(task);
                self.by_person.insert(*task);
                *self.opened.entry(*task).or_default() += 1;
                if let Some(input) = input {
                    self.inputs.insert(*task, input.clone());
                }
            }
            RecordKind::Retried => {
                self.unclear.clear();
                self.retries += 1;
            }
            RecordKind::Waiting { task, .. } => {
                self.waiting.insert(*task, record.at);
            }
            RecordKind::Prioritized { task, priority } => self.set_priority(*task, *priority),
            RecordKind::RunCancelled { reason } => self.cancel_reason = Some(Arc::clone(reason)),
            RecordKind::Settled(settlement) => self.settled = Some(settlement.state()),
            RecordKind::Started => {
                self.scopes[0].opened_at = record.at;
                self.run_span = self
                    .run_deadline
                    .map(|deadline| deadline.saturating_since(record.at));
            }
            RecordKind::Expanded { task, .. } => {
                if let Some(scope) = self.expanded.get(task) {
                    self.scopes[*scope as usize].opened_at = record.at;
                }
            }
            RecordKind::Dispatched { task, .. } => {
                if !self.unserved.is_empty() {
                    self.unserved.remove(task);
                }
                if !self.claims.is_empty() {
                    self.claims.remove(task);
                }
                if self.retry_policy(*task).max_elapsed().is_some() {
                    self.dispatched.entry(*task).or_insert(record.at);
                }
            }
            RecordKind::Expired { task } => {
                let failure = self.missed_deadline(*task);
                self.failures.insert(*task, failure);
            }
            _ => debug_assert!(!matches!(event, Event::Succeeded { .. })),
        }
        if let Event::Succeeded { task, .. }
        | Event::Failed { task, .. }
        | Event::Lost { task, .. }
        | Event::Snoozed { task, .. }
        | Event::Expanded { task, .. } = event
        {
            self.unpark(*task);
            if !self.claims.is_empty() {
                self.claims.remove(task);
            }
        }
    }
}

/// Describes a planned task to the scheduler.
pub(super) fn schedule(
    plan: &PreparedPlan,
    classes: &[Class],
    priority: Priority,
    id: TaskId,
) -> TaskSpec<u8> {
    let task = plan.task(id.index());
    let settings = plan.settings(task);
    let join = if settings.run_after_failure {
        Join::AllSettled
    } else {
        Join::AllSucceeded
    };
    TaskSpec::new(
        classes[task.call as usize],
        settings.priority.unwrap_or(priority) as u8,
    )
    // Whether another attempt follows is decided before its record is written, and may be by a redrive.
    .with_max_attempts(u32::MAX)
    .with_max_losses(settings.max_losses.unwrap_or(DEFAULT_MAX_LOSSES))
    .with_join(join)
}
