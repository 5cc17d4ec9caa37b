//! The subtasks with which an attempt answers, as the scheduler sees them.

use serde::{Deserialize, Serialize};

use super::spec::{FailurePolicy, TaskSpec};
use crate::graph::{remove_duplicates, topological_order};
use crate::{Error, TaskGraph, TaskId};

/// A graph of subtasks without their payloads: what the scheduler needs, and what the journal keeps.
///
/// Like a [`TaskGraph`] it is sound once it is there; deserialization checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked<P>")]
#[serde(bound(deserialize = "P: Deserialize<'de>"))]
pub struct Expansion<P> {
    tasks: Vec<TaskSpec<P>>,
    edges: Vec<(u32, u32)>,
    policy: FailurePolicy,
}

#[derive(Deserialize)]
struct Unchecked<P> {
    tasks: Vec<TaskSpec<P>>,
    edges: Vec<(u32, u32)>,
    policy: FailurePolicy,
}

impl<P> Expansion<P> {
    /// Describes a graph of subtasks: `spec` says of each what the scheduler must know.
    #[must_use]
    pub fn new<N>(
        graph: &TaskGraph<N>,
        spec: impl FnMut(TaskId, &N) -> TaskSpec<P>,
        policy: FailurePolicy,
    ) -> Self {
        let mut spec = spec;
        Self {
            tasks: graph.iter().map(|(task, node)| spec(task, node)).collect(),
            edges: graph.raw_edges().collect(),
            policy,
        }
    }

    /// Returns the number of subtasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Tells whether there is no subtask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns what a final failure of a subtask does to the others.
    #[must_use]
    pub fn policy(&self) -> FailurePolicy {
        self.policy
    }

    pub(super) fn tasks(&self) -> &[TaskSpec<P>] {
        &self.tasks
    }

    pub(super) fn edges(&self) -> &[(u32, u32)] {
        &self.edges
    }
}

impl<P> TryFrom<Unchecked<P>> for Expansion<P> {
    type Error = Error;

    fn try_from(unchecked: Unchecked<P>) -> Result<Self, Error> {
        let Unchecked {
            tasks,
            mut edges,
            policy,
        } = unchecked;
        let count = tasks.len();
        let outside = |&(upstream, task): &(u32, u32)| upstream.max(task) as usize >= count;
        if let Some((upstream, task)) = edges.iter().copied().find(|edge| outside(edge)) {
            return Err(Error::invalid_graph(format!(
                "edge {upstream} → {task} leaves an expansion of {count} tasks"
            )));
        }
        remove_duplicates(&mut edges, count);
        if topological_order(count, edges.iter().copied()).is_err() {
            return Err(Error::invalid_graph("the expansion has a cycle"));
        }
        Ok(Self {
            tasks,
            edges,
            policy,
        })
    }
}
