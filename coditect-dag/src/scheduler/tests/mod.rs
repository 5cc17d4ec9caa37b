//! Tests of the scheduler as a whole.

mod expansion;
mod failure;
mod life;
mod limits;
mod model;
mod patch;
mod pause;
mod property;
mod redrive;
mod retry;

use super::*;
use crate::{Attempt, Timestamp};
use TaskState::{Backoff, Cancelled, Failed, Pending, Ready, Running, Skipped, Succeeded};

/// A scheduler with its graph's keys, so that a test reads like a story.
struct Run {
    scheduler: Scheduler<u8>,
    graph: TaskGraph<Node>,
    actions: Vec<Action>,
}

type Node = TaskSpec<u8>;

fn spec() -> Node {
    TaskSpec::new(Class(0), 0)
}

/// Makes a graph from keys with their upstreams.
fn graph(tasks: &[(&str, Node, &[&str])]) -> TaskGraph<Node> {
    let mut builder = TaskGraph::builder();
    for (key, spec, upstreams) in tasks {
        let id = builder.task(key, *spec);
        for upstream in *upstreams {
            builder.depends_on(id, *upstream);
        }
    }
    builder.build().unwrap()
}

fn expansion(graph: &TaskGraph<Node>, policy: FailurePolicy) -> Box<Expansion<u8>> {
    Box::new(Expansion::new(graph, |_, spec| *spec, policy))
}

impl Run {
    /// Starts a run with a policy.
    fn start(policy: FailurePolicy, tasks: &[(&str, Node, &[&str])]) -> Self {
        let mut run = Self::new(Options::default().with_policy(policy), tasks);
        assert!(matches!(run.apply(Event::Started), Applied::Changed));
        run
    }

    fn new(options: Options, tasks: &[(&str, Node, &[&str])]) -> Self {
        let graph = graph(tasks);
        Self {
            scheduler: Scheduler::new(&graph, |_, spec| *spec, options).unwrap(),
            graph,
            actions: Vec::new(),
        }
    }

    fn apply(&mut self, event: Event<u8>) -> Applied {
        self.actions.clear();
        self.scheduler.apply(&event, &mut self.actions).unwrap()
    }

    fn id(&self, key: &str) -> TaskId {
        self.graph.find(key).unwrap()
    }

    fn attempt(&self, key: &str) -> Attempt {
        self.scheduler.attempt(self.id(key))
    }

    fn state(&self, key: &str) -> TaskState {
        self.scheduler.state(self.id(key)).unwrap()
    }

    fn states<const N: usize>(&self, keys: [&str; N]) -> [TaskState; N] {
        keys.map(|key| self.state(key))
    }

    fn dispatch(&mut self, key: &str) {
        let task = self.id(key);
        let applied = self.apply(Event::Dispatched { task });
        assert!(matches!(applied, Applied::Changed), "{key} was not ready");
    }

    /// Dispatches a task and lets it succeed.
    fn succeed(&mut self, key: &str) {
        self.dispatch(key);
        let (task, attempt) = (self.id(key), self.attempt(key));
        let applied = self.apply(Event::Succeeded { task, attempt });
        assert!(matches!(applied, Applied::Changed));
    }

    /// Dispatches a task and lets it fail; `retry_at` in milliseconds.
    fn fail(&mut self, key: &str, retry_at: Option<u64>) {
        self.dispatch(key);
        let (task, attempt) = (self.id(key), self.attempt(key));
        let retry_at = retry_at.map(Timestamp::from_millis);
        let applied = self.apply(Event::Failed {
            task,
            attempt,
            retry_at,
        });
        assert!(matches!(applied, Applied::Changed));
    }

    /// Dispatches a task and lets it expand.
    fn expand(&mut self, key: &str, policy: FailurePolicy, tasks: &[(&str, Node, &[&str])]) {
        self.dispatch(key);
        let sub = graph(tasks);
        let (task, attempt) = (self.id(key), self.attempt(key));
        let applied = self.apply(Event::Expanded {
            task,
            attempt,
            expansion: expansion(&sub, policy),
        });
        assert!(matches!(applied, Applied::Changed), "{applied:?}");
        self.graph.append(task, sub).unwrap();
    }

    fn settled(&self) -> Vec<(&str, TaskState, Cause)> {
        let named = |task| self.graph.key(task).unwrap();
        self.actions
            .iter()
            .filter_map(|action| match *action {
                Action::Settled { task, state, cause } => Some((named(task), state, cause)),
                _ => None,
            })
            .collect()
    }

    fn has(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    fn run_settled(&self, state: TaskState) -> bool {
        self.actions.last() == Some(&Action::RunSettled { state })
            && self.scheduler.outcome() == Some(state)
    }
}
