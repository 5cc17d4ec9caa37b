//! A run that this process carries forward.

use std::num::NonZeroU32;
use std::sync::Arc;

use coditect_bus::QueueName;
use coditect_dag::{Attempt, Class, RunId, TaskId, Timestamp};
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::machine::RunMachine;
use super::route::Routed;
use super::turns::{LEVELS, Ticket};
use crate::context::RunScope;
use crate::quarantine::ProbeGuard;

/// A run with what is under way for it.
pub(super) struct ActiveRun {
    pub(super) machine: RunMachine,
    pub(super) scope: RunScope,
    pub(super) tenant: Arc<str>,
    pub(super) deadline: Option<Timestamp>,
    /// How many attempts may be under way at once.
    pub(super) max_concurrency: Option<NonZeroU32>,
    /// The run of the task that started this one.
    pub(super) parent: Option<RunId>,
    /// The parent has been there: where it is unknown now, it has ended. That of an imported run may never have been.
    pub(super) had_parent: bool,
    /// Attempts that were handed out and have not ended.
    pub(super) flights: FxHashMap<TaskId, Flight>,
    /// Fires when the run has ended, or its owner has: what is made for it is no longer needed.
    pub(super) ended: CancellationToken,
    /// Where it stands in the queues of ready runs, by priority; 0 where it does not.
    pub(super) queued: FxHashMap<Class, [Ticket; LEVELS]>,
}

/// An attempt that was handed out.
pub(super) struct Flight {
    pub(super) attempt: Attempt,
    pub(super) class: Class,
    pub(super) place: Place,
    /// When it was handed out, by this owner.
    pub(super) since: Timestamp,
    /// Whether its record says where it is, if it is on the bus.
    pub(super) is_recorded: bool,
    /// Leave to try it, although the work of its agent is held.
    pub(super) probe: Option<ProbeGuard>,
}

/// Where an attempt runs.
pub(super) enum Place {
    /// In this process, stopped by its token.
    Local(CancellationToken),
    /// Wherever a worker takes it from this queue.
    Bus(QueueName),
    /// At the instance that was chosen for it.
    Instance(Box<Routed>),
    /// With a worker that lives by heartbeats.
    Claimed(Claim),
}

impl ActiveRun {
    pub(super) fn new(
        machine: RunMachine,
        scope: RunScope,
        tenant: Arc<str>,
        deadline: Option<Timestamp>,
        ended: CancellationToken,
    ) -> Self {
        Self {
            machine,
            scope,
            tenant,
            deadline,
            max_concurrency: None,
            parent: None,
            had_parent: false,
            flights: FxHashMap::default(),
            ended,
            queued: FxHashMap::default(),
        }
    }

    /// Says whether as many attempts are under way as may be.
    pub(super) fn is_at_limit(&self) -> bool {
        let at_limit = |limit: NonZeroU32| self.flights.len() >= limit.get() as usize;
        self.max_concurrency.is_some_and(at_limit)
    }

    /// Where it stands in the queue of a priority.
    pub(super) fn ticket(&mut self, class: Class, level: usize) -> &mut Ticket {
        &mut self.queued.entry(class).or_default()[level]
    }
}
