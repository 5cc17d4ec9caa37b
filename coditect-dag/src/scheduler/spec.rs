//! What the scheduler must know of a task and of a run; everything else stays with the caller.

use serde::{Deserialize, Serialize};

/// Groups tasks that wait in one queue, by a number that means something to the caller only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Class(pub u32);

/// Says when a task may run, as far as its upstreams are concerned.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Every upstream has succeeded.
    #[default]
    AllSucceeded,
    /// Every upstream is final, no matter how it ended: for tasks that collect or clean up.
    AllSettled,
}

/// Describes one task to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskSpec<P> {
    /// Where the task stands among the ready ones of its class: the **smaller** key goes first
    /// (P0 before P1), equal keys in the order in which they became ready. The scheduler keeps a
    /// bucket per distinct key, so there should be few of them.
    pub priority: P,
    /// The queue in which the task waits when it is ready.
    pub class: Class,
    /// After how many failures of the handler the task has failed finally; 0 counts as 1.
    pub max_attempts: u32,
    /// How many lost attempts (crashes, dead letters) are forgiven; one more fails the task.
    pub max_losses: u32,
    /// When the task may run.
    pub join: Join,
}

impl<P> TaskSpec<P> {
    /// Describes a task that is tried once, survives three losses and needs all its upstreams.
    #[must_use]
    pub const fn new(class: Class, priority: P) -> Self {
        Self {
            priority,
            class,
            max_attempts: 1,
            max_losses: 3,
            join: Join::AllSucceeded,
        }
    }

    /// Sets after how many failures of the handler the task has failed finally.
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets how many lost attempts are forgiven.
    #[must_use]
    pub fn with_max_losses(mut self, max_losses: u32) -> Self {
        self.max_losses = max_losses;
        self
    }

    /// Sets when the task may run.
    #[must_use]
    pub fn with_join(mut self, join: Join) -> Self {
        self.join = join;
        self
    }
}

/// Says what a final failure does to the other tasks of its scope.
///
/// A scope is the run's own graph, or the graph into which one task expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// The first final failure cancels everything in the scope that is not final.
    FailFast,
    /// What hangs on the failed task is skipped, everything else goes on.
    #[default]
    Skip,
    /// What hangs on the failed task runs all the same, as if every join were
    /// [`Join::AllSettled`].
    Continue,
}

/// Bounds what expansion can add to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// How deep expansions may nest: the run's own tasks have depth 0.
    pub max_depth: u32,
    /// How many tasks one expansion may add.
    pub max_width: u32,
    /// How many tasks the run may have in total.
    pub max_tasks: u32,
}

impl Default for Limits {
    /// 8 levels, 100,000 tasks an expansion, 10,000,000 tasks a run.
    fn default() -> Self {
        Self {
            max_depth: 8,
            max_width: 100_000,
            max_tasks: 10_000_000,
        }
    }
}

/// Sets up the scheduler of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Options {
    /// What expansion may add.
    pub limits: Limits,
    /// What a final failure of one of the run's own tasks does to the others.
    pub policy: FailurePolicy,
}

impl Options {
    /// Sets what expansion may add.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what a final failure of one of the run's own tasks does to the others.
    #[must_use]
    pub fn with_policy(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }
}
