//! Tests of the graph as a whole.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

fn ids(tasks: impl Iterator<Item = TaskId>) -> Vec<u32> {
    tasks.map(TaskId::get).collect()
}

/// Builds a graph whose payloads are its keys.
fn graph(tasks: &[(&'static str, &[&str])]) -> Result<TaskGraph<&'static str>, Error> {
    let mut builder = TaskGraph::builder();
    for (key, upstreams) in tasks {
        builder.task(key, *key);
        for upstream in *upstreams {
            builder.depends_on(*key, *upstream);
        }
    }
    builder.build()
}

fn diamond() -> TaskGraph<&'static str> {
    graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c", "b"])]).unwrap()
}

fn refusal(tasks: &[(&'static str, &[&str])]) -> String {
    let error = graph(tasks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidGraph);
    error.to_string()
}

#[test]
fn neighbours_come_in_the_order_of_declaration() {
    let graph = diamond();
    assert_eq!(ids(graph.upstream(TaskId::new(3))), [2, 1]);
    assert_eq!(ids(graph.downstream(TaskId::new(0))), [1, 2]);
    assert_eq!(ids(graph.roots()), [0]);
    assert_eq!(ids(graph.sinks()), [3]);
    assert_eq!(ids(graph.upstream(TaskId::new(99))), [0_u32; 0]);
    let order = graph.topological_order().into_iter();
    assert_eq!(ids(order), [0, 1, 2, 3]);
}

#[test]
fn keys_and_ids_find_each_other() {
    let mut graph = diamond();
    for task in graph.ids() {
        let key = graph.key(task).unwrap();
        assert_eq!(graph.find(key), Some(task));
        assert_eq!(graph.node(task), Some(&key));
    }
    assert_eq!(graph.find("x"), None);
    assert_eq!(graph.key(TaskId::new(4)), None);
    assert_eq!(graph.node(TaskId::new(u32::MAX)), None);
    *graph.node_mut(TaskId::new(1)).unwrap() = "changed";
    assert_eq!(graph.node(TaskId::new(1)), Some(&"changed"));
    assert!(graph.heap_bytes() > 0);
}

#[test]
fn dependencies_may_name_tasks_that_come_later() {
    let graph = graph(&[("late", &["x", "early"]), ("early", &[]), ("x", &["early"])]).unwrap();
    assert_eq!(ids(graph.upstream(TaskId::new(0))), [2, 1]);
    assert_eq!(ids(graph.roots()), [1]);
}

#[test]
fn a_dependency_said_twice_counts_once() {
    let graph = graph(&[("a", &[]), ("b", &["a", "a"]), ("c", &["b", "a", "b"])]).unwrap();
    assert_eq!(graph.edge_count(), 3);
    assert_eq!(ids(graph.upstream(TaskId::new(2))), [1, 0]);
}

#[test]
fn a_cycle_is_named_by_its_path() {
    assert_eq!(
        refusal(&[
            ("root", &[]),
            ("a", &["root", "c"]),
            ("b", &["a"]),
            ("c", &["b"])
        ]),
        "the graph has a cycle: a → b → c → a"
    );
    assert_eq!(refusal(&[("a", &["a"])]), "the graph has a cycle: a → a");
}

#[test]
fn a_very_long_cycle_is_named_in_part() {
    let mut builder = TaskGraph::builder();
    for task in 0..1000_u32 {
        let id = builder.task(task.to_string(), ());
        builder.depends_on(id, TaskId::new((task + 999) % 1000));
    }
    let text = builder.build().unwrap_err().to_string();
    assert!(
        text.starts_with("the graph has a cycle: 0 → 1 → 2 → "),
        "{text}"
    );
    assert!(text.ends_with(" → 31 → … → 999 → 0"), "{text}");
}

#[test]
fn mistakes_are_named() {
    assert_eq!(refusal(&[("a", &[]), ("a", &[])]), "duplicate task key `a`");
    assert_eq!(
        refusal(&[("a", &["nobody"])]),
        "dependency names unknown task key `nobody`"
    );
    let mut builder = TaskGraph::builder();
    let a = builder.task("a", ());
    builder.depends_on(a, TaskId::new(7));
    assert_eq!(
        builder.build().unwrap_err().to_string(),
        "dependency names task 7, but there are only 1"
    );
    let mut builder = TaskGraph::<()>::builder();
    builder.depends_on("ghost", "nobody");
    assert!(builder.is_empty());
    assert!(
        builder
            .build()
            .unwrap_err()
            .to_string()
            .contains("`nobody`")
    );
}

#[test]
fn mapping_keeps_the_shape() {
    let lengths = diamond().map(|task, key| key.len() + task.index());
    assert_eq!(lengths.node(TaskId::new(3)), Some(&4));
    assert_eq!(ids(lengths.upstream(TaskId::new(3))), [2, 1]);
    assert_eq!(lengths.key(TaskId::new(3)), Some("d"));
    let odd = |task: TaskId, key| if task.get() == 2 { Err(key) } else { Ok(()) };
    assert_eq!(diamond().try_map(odd).unwrap_err(), "c");
    let fine = diamond().try_map(|_, key| Ok::<_, ()>(key.len())).unwrap();
    assert_eq!(fine.len(), 4);
}

#[test]
fn appended_tasks_follow_and_live_under_their_parent() {
    let mut whole = diamond();
    let parent = TaskId::new(1);
    assert_eq!(whole.append(parent, diamond()).unwrap(), TaskId::new(4));
    assert_eq!(whole.append(parent, diamond()).unwrap(), TaskId::new(8));
    assert_eq!(whole.key(TaskId::new(7)), Some("b/d"));
    assert_eq!(whole.key(TaskId::new(11)), Some("b#2/d"));
    assert_eq!(ids(whole.upstream(TaskId::new(7))), [6, 5]);
    assert_eq!(ids(whole.downstream(TaskId::new(8))), [9, 10]);
    assert_eq!(ids(whole.upstream(TaskId::new(3))), [2, 1]);
    assert_eq!(whole.topological_order().len(), 12);
    let error = whole.append(TaskId::new(99), diamond()).unwrap_err();
    assert_eq!(error.to_string(), "there is no task 99");
}

#[test]
fn a_graph_is_plain_data() {
    let text = serde_json::to_string(&diamond()).unwrap();
    assert_eq!(
        text,
        r#"{"tasks":[{"key":"a","node":"a"},{"key":"b","node":"b","depends_on":["a"]},{"key":"c","node":"c","depends_on":["a"]},{"key":"d","node":"d","depends_on":["c","b"]}]}"#
    );
    let back: TaskGraph<String> = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[test]
fn unsound_data_is_refused() {
    let read = |text: &str| {
        serde_json::from_str::<TaskGraph<()>>(text)
            .unwrap_err()
            .to_string()
    };
    let task = |key: &str, upstream: &str| {
        format!(r#"{{"key":"{key}","node":null,"depends_on":["{upstream}"]}}"#)
    };
    let graph = |tasks: &[String]| format!(r#"{{"tasks":[{}]}}"#, tasks.join(","));
    assert!(read(&graph(&[task("a", "b"), task("b", "a")])).contains("a → b → a"));
    assert!(read(&graph(&[task("a", "c")])).contains("unknown task key `c`"));
    assert!(
        read(r#"{"tasks":[{"key":"a","node":null},{"key":"a","node":null}]}"#)
            .contains("duplicate")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_edges_make_an_ordered_graph_or_name_a_true_cycle(
        count in 1..20_u32,
        edges in vec((0..20_u32, 0..20_u32), 0..40),
    ) {
        let mut builder = TaskGraph::builder();
        for task in 0..count {
            builder.task(task.to_string(), ());
        }
        let edges: Vec<(u32, u32)> =
            edges.into_iter().map(|(upstream, task)| (upstream % count, task % count)).collect();
        for &(upstream, task) in &edges {
            builder.depends_on(TaskId::new(task), TaskId::new(upstream));
        }
        match builder.build() {
            Ok(graph) => {
                let order = graph.topological_order();
                let mut place = vec![0; count as usize];
                for (position, task) in order.iter().enumerate() {
                    place[task.index()] = position;
                }
                prop_assert_eq!(order.len(), count as usize);
                for (upstream, task) in edges {
                    prop_assert!(place[upstream as usize] < place[task as usize]);
                    prop_assert!(graph.upstream(TaskId::new(task)).any(|it| it.get() == upstream));
                    prop_assert!(graph.downstream(TaskId::new(upstream)).any(|it| it.get() == task));
                }
            }
            Err(error) => {
                let text = error.to_string();
                let path = text.strip_prefix("the graph has a cycle: ").unwrap();
                let path: Vec<u32> = path.split(" → ").map(|key| key.parse().unwrap()).collect();
                prop_assert!(path.len() > 1 && path.first() == path.last());
                for pair in path.windows(2) {
                    prop_assert!(edges.contains(&(pair[0], pair[1])));
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,64}") {
        let _ = serde_json::from_str::<TaskGraph<serde_json::Value>>(&text);
    }
}
