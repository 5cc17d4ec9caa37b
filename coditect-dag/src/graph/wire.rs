//! A graph as data: `{"tasks": [{"key": "b", "node": …, "depends_on": ["a"]}]}`.

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::TaskGraph;
use crate::TaskId;

impl<N: Serialize> Serialize for TaskGraph<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut graph = serializer.serialize_struct("TaskGraph", 1)?;
        graph.serialize_field("tasks", &Tasks(self))?;
        graph.end()
    }
}

struct Tasks<'a, N>(&'a TaskGraph<N>);

impl<N: Serialize> Serialize for Tasks<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(task, node)| WireTask {
            key: self.0.key(task).unwrap_or_default(),
            node,
            depends_on: Upstreams(self.0, task),
        }))
    }
}

#[derive(serde::Serialize)]
struct WireTask<'a, N> {
    key: &'a str,
    node: &'a N,
    #[serde(skip_serializing_if = "Upstreams::is_empty")]
    depends_on: Upstreams<'a, N>,
}

struct Upstreams<'a, N>(&'a TaskGraph<N>, TaskId);

impl<N> Upstreams<'_, N> {
    fn is_empty(&self) -> bool {
        self.0.upstream(self.1).next().is_none()
    }
}

impl<N> Serialize for Upstreams<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(graph, task) = *self;
        serializer.collect_seq(
            graph
                .upstream(task)
                .map(|up| graph.key(up).unwrap_or_default()),
        )
    }
}

/// The same with owned parts, before anything is checked.
#[derive(serde::Deserialize)]
struct Unchecked<N> {
    tasks: Vec<UncheckedTask<N>>,
}

#[derive(serde::Deserialize)]
struct UncheckedTask<N> {
    key: String,
    node: N,
    #[serde(default = "Vec::new")]
    depends_on: Vec<String>,
}

impl<'de, N: Deserialize<'de>> Deserialize<'de> for TaskGraph<N> {
    /// Reads a graph and checks it as [`build`](super::TaskGraphBuilder::build) does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unchecked = Unchecked::deserialize(deserializer)?;
        let mut builder = TaskGraph::builder();
        for task in unchecked.tasks {
            let id = builder.task(&task.key, task.node);
            for upstream in &task.depends_on {
                builder.depends_on(id, upstream);
            }
        }
        builder.build().map_err(de::Error::custom)
    }
}
