//! A run that this process carries forward.

use std::sync::Arc;

use coditect_bus::QueueName;
use coditect_dag::{Attempt, Class, RunId, TaskId, Timestamp};
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::machine::RunMachine;
use super::route::Routed;
use crate::context::RunScope;
use crate::quarantine::ProbeGuard;

/// A run with what is under way for it.
pub(super) struct ActiveRun {
    pub(super) machine: RunMachine,
    pub(super) scope: RunScope,
    pub(super) tenant: Arc<str>,
    pub(super) deadline: Option<Timestamp>,
    /// The run of the task that started this one.
    pub(super) parent: Option<RunId>,
    /// Attempts that were handed out and have not ended.
    pub(super) flights: FxHashMap<TaskId, Flight>,
    /// Fires when the run has ended, or its owner has: what is made for it is no longer needed.
    pub(super) ended: CancellationToken,
    /// In which queues of ready runs it stands, a bit per priority.
    pub(super) queued: FxHashMap<Class, u8>,
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
            parent: None,
            flights: FxHashMap::default(),
            ended,
            queued: FxHashMap::default(),
        }
    }

    /// Marks that the run stands in a queue; says whether it did not yet.
    pub(super) fn enqueue(&mut self, class: Class, level: usize) -> bool {
        let bits = self.queued.entry(class).or_default();
        let bit = 1 << level;
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }

    pub(super) fn dequeue(&mut self, class: Class, level: usize) {
        if let Some(bits) = self.queued.get_mut(&class) {
            *bits &= !(1 << level);
        }
    }
}
