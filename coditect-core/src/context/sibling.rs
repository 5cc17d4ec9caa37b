//! The other tasks of a task's plan, found by key.

use std::sync::Arc;

use coditect_dag::{RunId, TaskId, TaskRanges};

use crate::error::Error;
use crate::plan::PreparedPlan;
use crate::ports::Ports;
use crate::run::EventStream;

/// The plan that a task belongs to, and where its tasks are in the run.
#[derive(Clone, Debug)]
pub(crate) struct Siblings {
    pub(crate) plan: Arc<PreparedPlan>,
    pub(crate) tasks: TaskRanges,
}

impl Siblings {
    pub(crate) fn find(&self, key: &str) -> Option<TaskId> {
        self.tasks.task(self.plan.graph().find(key)?.get())
    }
}

/// Finds a task of the same plan from the run's journal.
pub(super) async fn sibling(
    run: RunId,
    task: TaskId,
    key: &str,
    ports: &Arc<Ports>,
) -> Result<Option<TaskId>, Error> {
    let mut events = EventStream::open(run, Arc::clone(ports)).await?;
    while events.next_kept().await?.is_some() {}
    let machine = events.machine();
    if task.index() >= machine.scheduler().len() {
        return Ok(None);
    }
    Ok(machine.siblings(task).find(key))
}
