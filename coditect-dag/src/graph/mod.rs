//! The graph of a run: tasks under keys, and what each waits for.

mod builder;
mod draw;
mod keys;
mod order;
mod wire;

#[cfg(test)]
mod tests;

use petgraph::Direction;
use petgraph::graph::DiGraph;

use builder::index;
pub(crate) use builder::remove_duplicates;
pub use builder::{TaskGraphBuilder, TaskName};
use keys::Keys;
pub(crate) use order::topological_order;

use crate::{Error, TaskId};

/// A directed graph without cycles, whose tasks carry a payload `N`.
///
/// A task has an id, which is its position, and a key, which is its name within the graph. Being
/// there means being sound: [`builder`](TaskGraph::builder) and deserialization check everything,
/// so that whoever holds a graph need not.
#[derive(Debug, Clone)]
pub struct TaskGraph<N> {
    keys: Keys,
    graph: DiGraph<N, (), u32>,
}

impl<N> TaskGraph<N> {
    /// Starts an empty graph.
    #[must_use]
    pub fn builder() -> TaskGraphBuilder<N> {
        TaskGraphBuilder::new()
    }

    /// Returns the number of tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Tells whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of dependencies.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.graph.edge_count()
    }

    /// Returns the payload of a task.
    #[must_use]
    pub fn node(&self, task: TaskId) -> Option<&N> {
        self.graph.node_weight(index(task.get()))
    }

    /// Returns the payload of a task, to change it.
    #[must_use]
    pub fn node_mut(&mut self, task: TaskId) -> Option<&mut N> {
        self.graph.node_weight_mut(index(task.get()))
    }

    /// Returns the key of a task.
    #[must_use]
    pub fn key(&self, task: TaskId) -> Option<&str> {
        self.keys.get(task.index())
    }

    /// Finds the task with this key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<TaskId> {
        self.keys.find(key).map(TaskId::new)
    }

    /// Iterates over all tasks in the order of their ids.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = TaskId> + DoubleEndedIterator + use<N> {
        // A graph has fewer tasks than `u32` has values.
        (0..self.len() as u32).map(TaskId::new)
    }

    /// Iterates over ids and payloads in the order of the ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (TaskId, &N)> {
        self.graph
            .raw_nodes()
            .iter()
            .enumerate()
            .map(|(position, node)| (TaskId::new(position as u32), &node.weight))
    }

    /// Iterates over the tasks for which `task` waits, in the order of declaration.
    pub fn upstream(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        self.neighbours(task, Direction::Incoming)
    }

    /// Iterates over the tasks that wait for `task`, in the order of declaration.
    pub fn downstream(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        self.neighbours(task, Direction::Outgoing)
    }

    /// Iterates over the tasks that wait for nothing.
    pub fn roots(&self) -> impl Iterator<Item = TaskId> {
        self.ends(Direction::Incoming)
    }

    /// Iterates over the tasks for which nothing waits.
    pub fn sinks(&self) -> impl Iterator<Item = TaskId> {
        self.ends(Direction::Outgoing)
    }

    /// Iterates over all dependencies as pairs of upstream and downstream.
    ///
    /// The order is fixed for a graph, and keeps that of declaration among the edges of one task.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = (TaskId, TaskId)> + Clone {
        self.raw_edges()
            .map(|(upstream, task)| (TaskId::new(upstream), TaskId::new(task)))
    }

    /// Returns all tasks so that each comes after its upstreams.
    #[must_use]
    pub fn topological_order(&self) -> Vec<TaskId> {
        // A graph has no cycle once it is built.
        let order = topological_order(self.len(), self.raw_edges()).unwrap_or_default();
        order.into_iter().map(TaskId::new).collect()
    }

    /// Makes a graph of the same shape and keys with other payloads.
    #[must_use]
    pub fn map<M>(self, mut change: impl FnMut(TaskId, N) -> M) -> TaskGraph<M> {
        TaskGraph {
            keys: self.keys,
            graph: self.graph.map_owned(
                |node, weight| change(TaskId::new(node.index() as u32), weight),
                |_, ()| (),
            ),
        }
    }

    /// Makes a graph of the same shape and keys with other payloads, unless one of them fails.
    ///
    /// # Errors
    ///
    /// The first error of `change`.
    pub fn try_map<M, E>(
        self,
        mut change: impl FnMut(TaskId, N) -> Result<M, E>,
    ) -> Result<TaskGraph<M>, E> {
        let mut failed = None;
        let changed = self.map(|task, node| {
            if failed.is_some() {
                return None;
            }
            change(task, node)
                .map_err(|error| failed = Some(error))
                .ok()
        });
        match failed {
            Some(error) => Err(error),
            // No change failed, so that every payload is there.
            None => Ok(changed.map(|_, node| node.expect("every payload was changed"))),
        }
    }

    /// Adds a graph after the tasks that are there and returns the id of its first task.
    ///
    /// The task at position `i` of `sub` gets the id `first + i`, the same as in the
    /// [`Scheduler`](crate::Scheduler) after the expansion of `parent`. Its key becomes
    /// `<key of parent>/<own key>`, or `<key of parent>#2/<own key>` and so on where that is taken,
    /// for example because an earlier attempt of the parent expanded too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidGraph`](crate::ErrorKind::InvalidGraph) if there is no task `parent`,
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if ids do not suffice for the
    /// whole; nothing was added then.
    pub fn append(&mut self, parent: TaskId, sub: TaskGraph<N>) -> Result<TaskId, Error> {
        let Some(scope) = self.key(parent).map(str::to_owned) else {
            return Err(Error::invalid_graph(format!("there is no task {parent}")));
        };
        let edges = self.edge_count() + sub.edge_count();
        if self.len() + sub.len() >= u32::MAX as usize || edges >= u32::MAX as usize {
            return Err(Error::limit("the graph would have too many tasks or edges"));
        }
        let first = self.len() as u32;
        let prefix = self.free_prefix(&scope, &sub);
        for key in (0..sub.len()).filter_map(|position| sub.keys.get(position)) {
            let unique = self.keys.insert(&format!("{prefix}{key}"));
            debug_assert!(unique.is_ok(), "the prefix was free");
        }
        let (nodes, edges) = sub.graph.into_nodes_edges();
        for node in nodes {
            self.graph.add_node(node.weight);
        }
        for edge in edges {
            let [upstream, task] = [edge.source(), edge.target()];
            let shifted =
                |node: petgraph::graph::NodeIndex<u32>| index(first + node.index() as u32);
            self.graph.add_edge(shifted(upstream), shifted(task), ());
        }
        Ok(TaskId::new(first))
    }

    /// Finds a prefix under which no key of `sub` is taken.
    fn free_prefix(&self, scope: &str, sub: &Self) -> String {
        let mut prefix = format!("{scope}/");
        let mut number = 2_u64;
        while sub
            .ids()
            .filter_map(|task| sub.key(task))
            .any(|key| self.find(&format!("{prefix}{key}")).is_some())
        {
            prefix = format!("{scope}#{number}/");
            number += 1;
        }
        prefix
    }

    /// Returns how many bytes the graph has allocated, without what its payloads own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let (nodes, edges) = self.graph.capacity();
        self.keys.heap_bytes()
            + nodes * size_of::<petgraph::graph::Node<N>>()
            + edges * size_of::<petgraph::graph::Edge<()>>()
    }

    fn neighbours(&self, task: TaskId, direction: Direction) -> impl Iterator<Item = TaskId> {
        self.graph
            .neighbors_directed(index(task.get()), direction)
            .map(|node| TaskId::new(node.index() as u32))
    }

    fn ends(&self, direction: Direction) -> impl Iterator<Item = TaskId> {
        self.graph
            .externals(direction)
            .map(|node| TaskId::new(node.index() as u32))
    }

    /// The edges in the order of declaration, from first to last within one part of the graph.
    pub(crate) fn raw_edges(
        &self,
    ) -> impl ExactSizeIterator<Item = (u32, u32)> + DoubleEndedIterator + Clone {
        self.graph
            .raw_edges()
            .iter()
            .rev()
            .map(|edge| (edge.source().index() as u32, edge.target().index() as u32))
    }
}
