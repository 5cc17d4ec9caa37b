//! Puts a graph together and proves it sound.

use petgraph::graph::{DiGraph, NodeIndex};

use super::TaskGraph;
use super::keys::Keys;
use super::order::topological_order;
use crate::{Error, TaskId};

/// How many tasks of a cycle its error names at most.
const CYCLE_NAMED: usize = 32;

/// Collects tasks and dependencies; [`build`](TaskGraphBuilder::build) checks them all at once.
///
/// # Examples
///
/// ```
/// use coditect_dag::TaskGraph;
///
/// let mut builder = TaskGraph::builder();
/// let fetch = builder.task("fetch", "https://example.org");
/// let parse = builder.task("parse", "html");
/// builder.depends_on(parse, fetch);
/// builder.depends_on("report", "parse"); // by key, and before the task is there
/// builder.task("report", "markdown");
/// let graph = builder.build()?;
/// assert_eq!(graph.len(), 3);
/// # Ok::<(), coditect_dag::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TaskGraphBuilder<N> {
    keys: Keys,
    nodes: Vec<N>,
    edges: Vec<(u32, u32)>,
    /// Dependencies on keys that were not there yet, with how many edges came before them.
    by_key: Vec<(usize, OwnedName, OwnedName)>,
    /// The first mistake; the builder goes on so that building stays fluent.
    error: Option<String>,
}

/// Names a task of a graph under construction, by id or by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskName<'a> {
    /// By the id that [`TaskGraphBuilder::task`] returned.
    Id(TaskId),
    /// By its key, whether the task was added already or will be.
    Key(&'a str),
}

#[derive(Debug, Clone)]
enum OwnedName {
    Id(u32),
    Key(Box<str>),
}

impl From<TaskId> for TaskName<'_> {
    fn from(id: TaskId) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a str> for TaskName<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a String> for TaskName<'a> {
    fn from(key: &'a String) -> Self {
        Self::Key(key)
    }
}

impl<N> TaskGraphBuilder<N> {
    pub(super) fn new() -> Self {
        Self {
            keys: Keys::default(),
            nodes: Vec::new(),
            edges: Vec::new(),
            by_key: Vec::new(),
            error: None,
        }
    }

    /// Adds a task under a key of its own and returns its id; ids count from 0.
    ///
    /// A key that is there already is an error of [`build`](Self::build).
    pub fn task(&mut self, key: impl AsRef<str>, node: N) -> TaskId {
        let key = key.as_ref();
        let id = TaskId::new(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        if id.get() == u32::MAX {
            self.mistake(|| format!("a graph has at most {} tasks", u32::MAX));
            return id;
        }
        if self.keys.insert(key).is_err() {
            self.mistake(|| format!("duplicate task key `{key}`"));
            return id;
        }
        self.nodes.push(node);
        id
    }

    /// Makes `task` wait for `upstream`; saying it twice is the same as saying it once.
    ///
    /// A name that is still unknown at [`build`](Self::build) is an error there.
    pub fn depends_on<'a>(
        &mut self,
        task: impl Into<TaskName<'a>>,
        upstream: impl Into<TaskName<'a>>,
    ) -> &mut Self {
        match (self.resolve(task.into()), self.resolve(upstream.into())) {
            (OwnedName::Id(task), OwnedName::Id(upstream)) => self.edges.push((upstream, task)),
            (task, upstream) => self.by_key.push((self.edges.len(), task, upstream)),
        }
        self
    }

    /// Returns how many tasks were added so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Tells whether no task was added so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Checks the whole and makes the graph.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidGraph`](crate::ErrorKind::InvalidGraph) for a duplicate key, a
    /// dependency of or on a task that is not there, and a cycle, whose path the text names.
    pub fn build(mut self) -> Result<TaskGraph<N>, Error> {
        if let Some(mistake) = self.error {
            return Err(Error::invalid_graph(mistake));
        }
        self.join_edges_by_key()?;
        let count = self.nodes.len();
        if let Some(unknown) = self
            .edges
            .iter()
            .flat_map(|&(upstream, task)| [upstream, task])
            .find(|&id| id as usize >= count)
        {
            return Err(Error::invalid_graph(format!(
                "dependency names task {unknown}, but there are only {count}"
            )));
        }
        remove_duplicates(&mut self.edges, count);
        if u32::try_from(self.edges.len()).is_err() {
            return Err(Error::invalid_graph("too many dependencies"));
        }
        topological_order(count, self.edges.iter().copied())
            .map_err(|cycle| Error::invalid_graph(describe(&cycle, &self.keys)))?;

        let mut graph = DiGraph::with_capacity(count, self.edges.len());
        for node in self.nodes {
            graph.add_node(node);
        }
        // petgraph walks a node's edges from the last added to the first.
        for &(upstream, task) in self.edges.iter().rev() {
            graph.add_edge(index(upstream), index(task), ());
        }
        Ok(TaskGraph {
            keys: self.keys,
            graph,
        })
    }

    fn resolve(&self, name: TaskName<'_>) -> OwnedName {
        match name {
            TaskName::Id(id) => OwnedName::Id(id.get()),
            TaskName::Key(key) => self
                .keys
                .find(key)
                .map_or_else(|| OwnedName::Key(key.into()), OwnedName::Id),
        }
    }

    /// Puts the dependencies that named later tasks where they were declared among the others.
    fn join_edges_by_key(&mut self) -> Result<(), Error> {
        if self.by_key.is_empty() {
            return Ok(());
        }
        let known = |name: OwnedName| match name {
            OwnedName::Id(id) => Ok(id),
            OwnedName::Key(key) => self.keys.find(&key).ok_or_else(|| {
                Error::invalid_graph(format!("dependency names unknown task key `{key}`"))
            }),
        };
        let mut edges = Vec::with_capacity(self.edges.len() + self.by_key.len());
        let mut done = 0;
        for (before, task, upstream) in std::mem::take(&mut self.by_key) {
            edges.extend_from_slice(&self.edges[done..before]);
            done = before;
            edges.push((known(upstream)?, known(task)?));
        }
        edges.extend_from_slice(&self.edges[done..]);
        self.edges = edges;
        Ok(())
    }

    fn mistake(&mut self, text: impl FnOnce() -> String) {
        if self.error.is_none() {
            self.error = Some(text());
        }
    }
}

pub(super) fn index(id: u32) -> NodeIndex<u32> {
    NodeIndex::from(id)
}

/// Keeps the first of equal edges, in the order of declaration and in linear time.
pub(crate) fn remove_duplicates(edges: &mut Vec<(u32, u32)>, count: usize) {
    // Bucket the positions by task; within one task's bucket a mark per upstream is enough.
    let mut first = vec![0_usize; count + 1];
    for &(_, task) in edges.iter() {
        first[task as usize + 1] += 1;
    }
    for i in 0..count {
        first[i + 1] += first[i];
    }
    let mut positions = vec![0_usize; edges.len()];
    let mut next = first.clone();
    for (position, &(_, task)) in edges.iter().enumerate() {
        positions[next[task as usize]] = position;
        next[task as usize] += 1;
    }
    let mut seen_by = vec![u32::MAX; count];
    let mut repeated = Vec::new();
    for &position in &positions {
        let (upstream, task) = edges[position];
        if std::mem::replace(&mut seen_by[upstream as usize], task) == task {
            repeated.push(position);
        }
    }
    if repeated.is_empty() {
        return;
    }
    let mut repeats = vec![false; edges.len()];
    for position in repeated {
        repeats[position] = true;
    }
    let mut repeats = repeats.into_iter();
    edges.retain(|_| !repeats.next().unwrap_or_default());
}

/// Writes a cycle as `a → b → c → a`; the middle of a very long one is left out.
fn describe(cycle: &[u32], keys: &Keys) -> String {
    let mut text = String::from("the graph has a cycle: ");
    for (step, &task) in cycle.iter().chain(cycle.first()).enumerate() {
        if step >= CYCLE_NAMED && step + 1 < cycle.len() {
            if step == CYCLE_NAMED {
                text.push_str(" → …");
            }
            continue;
        }
        if step > 0 {
            text.push_str(" → ");
        }
        text.push_str(keys.get(task as usize).unwrap_or_default());
    }
    text
}
