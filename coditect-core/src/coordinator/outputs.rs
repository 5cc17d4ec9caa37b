//! What the tasks of a run have answered with.

use bytes::Bytes;
use coditect_dag::TaskId;

/// Outputs by task, as JSON.
#[derive(Debug, Default)]
pub(super) struct Outputs(Vec<Option<Bytes>>);

impl Outputs {
    pub(super) fn get(&self, task: TaskId) -> Option<&Bytes> {
        self.0.get(task.index())?.as_ref()
    }

    pub(super) fn insert(&mut self, task: TaskId, output: Bytes) {
        if self.0.len() <= task.index() {
            self.0.resize(task.index() + 1, None);
        }
        self.0[task.index()] = Some(output);
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some(output) = self.0.get_mut(task.index()) {
            *output = None;
        }
    }
}
