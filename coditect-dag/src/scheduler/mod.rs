//! Decides what may run: a pure state machine for one run, events in, actions out.
//!
//! # How a run goes
//!
//! [`Event::Started`] makes the tasks without upstreams ready. Ready tasks wait in the queue of
//! their class; the caller looks ([`classes_with_ready`](Scheduler::classes_with_ready),
//! [`peek`](Scheduler::peek)) and takes ([`Event::Dispatched`]) as many as it has room for
//! elsewhere. The outcome of an attempt comes back as an event that names the attempt; the first one
//! wins and any other is [`Applied::Ignored`]. [`Event::Due`] ends backoffs.
//!
//! # Scopes
//!
//! The run's own tasks are a scope, and so are the subtasks of each expanded task. A scope has a
//! [`FailurePolicy`], which does not reach beyond it: a failure inside concerns the scope outside
//! only if the expanded task itself fails.
//!
//! When all subtasks are final the caller is told ([`Action::ScopeSettled`]), makes a result of
//! theirs or finds that there is none, and answers with [`Event::Resolved`] or
//! [`Event::ScopeFailed`]. It may answer before that, when it has enough.
//!
//! The run's own scope settles by itself when every task is final, and is judged by its **sinks**,
//! the tasks for which nothing waits: the run has failed if a sink failed or was skipped, or if the
//! scope failed fast; else it was cancelled if a sink was; else it has succeeded. A failure that a
//! task with [`Join::AllSettled`] has taken care of is thus no failure of the run.
//! [`Event::RunResolved`], [`Event::RunFailed`] and [`Event::RunCancelled`] settle it earlier.
//!
//! # Pause, priority, and the way back
//!
//! [`Event::Paused`] and [`Event::Resumed`] say whether anything may be dispatched. They stop no clock and no
//! attempt: outcomes count, backoffs end, and what becomes ready waits. [`Event::Prioritized`] moves tasks to another
//! place in their queues. [`Event::Retried`] opens a settled run again, and [`Event::Redriven`] one failed task of a run,
//! settled or not.
//!
//! # Patches
//!
//! [`Event::Patched`] changes the graph of a scope under way: tasks join it, tasks that have not begun are changed, taken out
//! or wait for others. It is refused as a whole where a part does not fit. Ids never change; what is added comes behind all
//! that is there.
//!
//! # What hangs on a task that did not succeed
//!
//! Under [`FailurePolicy::Skip`] it is skipped if the task failed or was skipped, and cancelled if
//! the task was cancelled, at once, whatever its other upstreams do. Tasks with
//! [`Join::AllSettled`], and all tasks under [`FailurePolicy::Continue`], run once every upstream is
//! final.

mod action;
mod apply;
mod backoff;
mod event;
mod expansion;
mod inspect;
mod patch;
mod pause;
mod priority;
mod profile;
mod queue;
mod ranges;
mod redrive;
mod reopen;
mod scope;
mod settle;
mod spec;
mod table;
mod transition;

#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;

pub use action::{Action, Cause};
pub use event::{Applied, Event, LossReason};
pub use expansion::Expansion;
pub use patch::Patch;
pub use ranges::TaskRanges;
pub use spec::{Class, FailurePolicy, Join, Limits, Options, TaskSpec};
pub use transition::TaskState;

use crate::{Error, TaskGraph, TaskId};
use backoff::Backoffs;
use profile::Profiles;
use queue::ReadyQueues;
use scope::Scope;
use settle::Work;
use table::{NONE, Record, Trouble, append_rows};

/// Schedules one run: takes events in, gives actions out, and does nothing else.
///
/// No I/O, no clock, no randomness: the same events in the same order always lead to an equal
/// scheduler and to the same actions, in this process or in another.
///
/// It costs about 50 bytes a task and 4 bytes a dependency. No event costs more than the tasks
/// and dependencies that it concerns.
#[derive(Clone, PartialEq, Eq)]
pub struct Scheduler<P> {
    tasks: Vec<Record>,
    /// How many upstreams of each task are not final. Apart from the records, because freeing
    /// downstreams touches little else.
    waiting: Vec<u32>,
    /// Apart from the records too, because most tasks have none.
    troubles: Vec<Trouble>,
    /// The downstreams of all tasks, row after row.
    targets: Vec<u32>,
    /// How many entries of `targets` no task points to any more.
    waste: usize,
    profiles: Profiles<P>,
    queues: ReadyQueues<P>,
    backoffs: Backoffs,
    scopes: Vec<Scope>,
    /// The last scope of each task that ever expanded.
    expansions: FxHashMap<u32, u32>,
    counts: [u32; TaskState::ALL.len()],
    limits: Limits,
    started: bool,
    /// Nothing is to be dispatched for the time being.
    paused: bool,
    /// How the run was ended as a whole.
    verdict: Option<TaskState>,
    outcome: Option<TaskState>,
    /// Consequences to carry out; empty between events, kept for its memory.
    work: Vec<Work>,
    /// Scopes to report; empty between events.
    finished: Vec<u32>,
}

impl<P: Ord + Copy> Scheduler<P> {
    /// Makes the scheduler of a run that has not started.
    ///
    /// `spec` says of each task what the scheduler must know.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if the graph alone has more
    /// tasks than the run may have.
    pub fn new<N>(
        graph: &TaskGraph<N>,
        mut spec: impl FnMut(TaskId, &N) -> TaskSpec<P>,
        options: Options,
    ) -> Result<Self, Error> {
        let (len, limits) = (graph.len(), options.limits);
        if len > limits.max_tasks as usize {
            return Err(Error::limit(format!(
                "the graph has {len} tasks, at most {} are allowed",
                limits.max_tasks
            )));
        }
        let mut scheduler = Self {
            tasks: Vec::with_capacity(len),
            waiting: Vec::with_capacity(len),
            troubles: Vec::with_capacity(len),
            targets: Vec::with_capacity(graph.edge_count()),
            waste: 0,
            profiles: Profiles::new(),
            queues: ReadyQueues::new(),
            backoffs: Backoffs::default(),
            scopes: Vec::with_capacity(1),
            expansions: FxHashMap::default(),
            counts: [0; TaskState::ALL.len()],
            limits,
            started: false,
            paused: false,
            verdict: None,
            outcome: None,
            work: Vec::new(),
            finished: Vec::new(),
        };
        // A graph has fewer tasks than `u32` has values.
        scheduler.add_scope(
            Scope::new(NONE, 0, len as u32, 0, options.policy),
            graph.iter().map(|(task, node)| spec(task, node)),
            graph.raw_edges(),
        );
        Ok(scheduler)
    }

    /// Adds the tasks of a scope behind those that are there.
    fn add_scope<E>(
        &mut self,
        scope: Scope,
        specs: impl Iterator<Item = TaskSpec<P>>,
        edges: E,
    ) -> u32
    where
        E: DoubleEndedIterator<Item = (u32, u32)> + Clone,
    {
        let number = self.scopes.len() as u32;
        let (first, len) = (self.tasks.len(), scope.tasks.len() as usize);
        self.scopes.push(scope);
        for spec in specs {
            let profile = self.profile(spec);
            self.tasks.push(Record::new(profile, number));
        }
        self.counts[TaskState::Pending as usize] += len as u32;
        self.waiting.resize(first + len, 0);
        self.troubles.resize(first + len, Trouble::default());
        append_rows(
            &mut self.tasks,
            &mut self.waiting,
            &mut self.targets,
            first as u32,
            edges,
        );
        number
    }

    /// Returns the number of a spec.
    #[inline]
    fn profile(&mut self, spec: TaskSpec<P>) -> u32 {
        let queues = &mut self.queues;
        self.profiles
            .number(spec, |spec| queues.bucket(spec.class, spec.priority))
    }

    #[inline]
    fn state_of(&self, task: u32) -> TaskState {
        self.tasks[task as usize].state.get()
    }

    fn scope_of(&self, task: u32) -> &Scope {
        &self.scopes[self.tasks[task as usize].scope as usize]
    }

    /// Changes the state of a task to one that is not final; [`settle`](Self::settle) ends tasks.
    #[inline]
    fn advance(&mut self, task: u32, to: TaskState) {
        let from = self.tasks[task as usize].state.advance(to);
        self.counts[from as usize] -= 1;
        self.counts[to as usize] += 1;
    }

    #[inline]
    fn make_ready(&mut self, task: u32, actions: &mut Vec<Action>) {
        self.advance(task, TaskState::Ready);
        let bucket = self.profiles.get(self.tasks[task as usize].profile).bucket;
        self.queues.push(&mut self.tasks, bucket, task);
        actions.push(Action::Ready {
            task: TaskId::new(task),
        });
    }

    #[inline]
    fn leave_queue(&mut self, task: u32) {
        let bucket = self.profiles.get(self.tasks[task as usize].profile).bucket;
        self.queues.remove(&mut self.tasks, bucket, task);
    }
}
