//! The scheduler as one would write it without a thought for speed: after each event everything
//! is looked at again until nothing changes.

mod patch;
mod reopen;

use super::*;

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) tasks: Vec<ModelTask>,
    scopes: Vec<ModelScope>,
    limits: Limits,
    started: bool,
    pub(super) paused: bool,
    verdict: Option<TaskState>,
    pub(super) outcome: Option<TaskState>,
}

#[derive(Clone, Debug)]
pub(super) struct ModelTask {
    pub(super) spec: Node,
    pub(super) upstreams: Vec<usize>,
    pub(super) state: TaskState,
    pub(super) attempt: u32,
    failures: u32,
    losses: u32,
    scope: usize,
    /// The scope of the task's subtasks, while it waits for them.
    pub(super) expanded: Option<usize>,
    /// The last scope into which the task expanded, and the attempt that did.
    last: Option<(usize, u32)>,
    until: Timestamp,
    /// A patch took the task out.
    pub(super) removed: bool,
}

#[derive(Clone, Debug)]
struct ModelScope {
    policy: FailurePolicy,
    depth: u32,
    parent: Option<usize>,
    failed_fast: bool,
    closed: bool,
}

impl Model {
    pub(super) fn new(graph: &TaskGraph<Node>, options: Options) -> Self {
        let mut model = Self {
            tasks: Vec::new(),
            scopes: Vec::new(),
            limits: options.limits,
            started: false,
            paused: false,
            verdict: None,
            outcome: None,
        };
        let edges: Vec<(u32, u32)> = graph.raw_edges().collect();
        let specs: Vec<Node> = graph.iter().map(|(_, spec)| *spec).collect();
        model.add_scope(&specs, &edges, options.policy, 0);
        model
    }

    fn add_scope(
        &mut self,
        specs: &[Node],
        edges: &[(u32, u32)],
        policy: FailurePolicy,
        depth: u32,
    ) -> usize {
        let (scope, first) = (self.scopes.len(), self.tasks.len());
        self.scopes.push(ModelScope {
            policy,
            depth,
            parent: None,
            failed_fast: false,
            closed: false,
        });
        for (position, spec) in specs.iter().enumerate() {
            let upstreams = edges.iter().filter(|edge| edge.1 as usize == position);
            let upstreams = upstreams.map(|edge| first + edge.0 as usize).collect();
            self.add_task(*spec, scope, upstreams);
        }
        scope
    }

    fn add_task(&mut self, spec: Node, scope: usize, upstreams: Vec<usize>) {
        self.tasks.push(ModelTask {
            spec,
            upstreams,
            state: Pending,
            attempt: 0,
            failures: 0,
            losses: 0,
            scope,
            expanded: None,
            last: None,
            until: Timestamp::EPOCH,
            removed: false,
        });
    }

    /// Tells whether a task runs even though an upstream did not succeed.
    pub(super) fn tolerates(&self, task: usize) -> bool {
        let ModelTask { spec, scope, .. } = &self.tasks[task];
        spec.join == Join::AllSettled || self.scopes[*scope].policy == FailurePolicy::Continue
    }

    pub(super) fn upstream_states(&self, task: usize) -> impl Iterator<Item = TaskState> {
        let upstreams = self.tasks[task].upstreams.iter();
        upstreams.map(|&upstream| self.tasks[upstream].state)
    }

    fn is_broken(&self, task: usize) -> bool {
        self.upstream_states(task)
            .any(|state| state.is_final() && state != Succeeded)
    }

    fn stops(&self, task: usize) -> bool {
        let scope = &self.scopes[self.tasks[task].scope];
        scope.closed || scope.failed_fast
    }

    fn awaits(&self, task: TaskId, attempt: Attempt) -> bool {
        let task = &self.tasks[task.index()];
        task.state == Running && task.attempt == attempt.get() && task.expanded.is_none()
    }

    pub(super) fn apply(&mut self, event: &Event<u8>) {
        match event {
            Event::Started => self.started |= self.outcome.is_none(),
            Event::Dispatched { task } => {
                let task = &mut self.tasks[task.index()];
                if task.state == Ready {
                    task.state = Running;
                    task.attempt += 1;
                }
            }
            Event::Succeeded { task, attempt } if self.awaits(*task, *attempt) => {
                self.tasks[task.index()].state = Succeeded;
            }
            Event::Failed {
                task,
                attempt,
                retry_at,
            } if self.awaits(*task, *attempt) => {
                let task = &mut self.tasks[task.index()];
                task.failures += 1;
                task.state = match retry_at {
                    Some(_) if task.failures < task.spec.max_attempts => Backoff,
                    _ => Failed,
                };
                task.until = retry_at.unwrap_or_default();
            }
            Event::Lost { task, attempt, .. } if self.awaits(*task, *attempt) => {
                let task = &mut self.tasks[task.index()];
                task.losses += 1;
                task.state = if task.losses > task.spec.max_losses {
                    Failed
                } else {
                    Ready
                };
            }
            Event::Snoozed {
                task,
                attempt,
                until,
            } if self.awaits(*task, *attempt) => {
                self.tasks[task.index()].state = Backoff;
                self.tasks[task.index()].until = *until;
            }
            Event::Expanded {
                task,
                attempt,
                expansion,
            } if self.awaits(*task, *attempt) => {
                self.expand(task.index(), expansion);
            }
            Event::Resolved { task } if self.tasks[task.index()].expanded.is_some() => {
                self.tasks[task.index()].state = Succeeded;
            }
            Event::ScopeFailed { task } if self.tasks[task.index()].expanded.is_some() => {
                self.tasks[task.index()].state = Failed;
            }
            Event::Expired { task } => self.end(task.index(), Failed),
            Event::Cancelled { task } => self.end(task.index(), Cancelled),
            Event::Redriven { task } if self.outcome.is_some() => self.reopen(Some(task.index())),
            Event::Redriven { task } => self.redrive(task.index()),
            Event::Retried => self.reopen(None),
            Event::Patched { patch } => assert!(self.patch(patch), "the model refuses {patch:?}"),
            Event::Paused => self.paused |= self.outcome.is_none(),
            Event::Resumed => self.paused &= self.outcome.is_some(),
            Event::Prioritized { tasks, priority } => {
                for task in tasks {
                    let task = &mut self.tasks[task.index()];
                    if !task.state.is_final() {
                        task.spec.priority = *priority;
                    }
                }
            }
            Event::Due { now } => {
                for task in self.tasks.iter_mut().filter(|task| task.until <= *now) {
                    if task.state == Backoff {
                        task.state = Ready;
                    }
                }
            }
            Event::RunResolved => self.end_run(Succeeded),
            Event::RunFailed => self.end_run(Failed),
            Event::RunCancelled => self.end_run(Cancelled),
            _ => {}
        }
        while self.settle_once() {}
        self.judge();
    }

    fn expand(&mut self, task: usize, expansion: &Expansion<u8>) {
        let depth = self.scopes[self.tasks[task].scope].depth + 1;
        if depth > self.limits.max_depth
            || expansion.len() > self.limits.max_width as usize
            || expansion.len() + self.tasks.len() > self.limits.max_tasks as usize
        {
            self.tasks[task].state = Failed;
            return;
        }
        let scope = self.add_scope(
            expansion.tasks(),
            expansion.edges(),
            expansion.policy(),
            depth,
        );
        self.tasks[task].expanded = Some(scope);
        self.tasks[task].last = Some((scope, self.tasks[task].attempt));
        self.scopes[scope].parent = Some(task);
    }

    fn end(&mut self, task: usize, state: TaskState) {
        if !self.tasks[task].state.is_final() {
            self.tasks[task].state = state;
        }
    }

    fn end_run(&mut self, state: TaskState) {
        if self.outcome.is_none() {
            self.verdict = Some(state);
            self.scopes[0].closed = true;
        }
    }

    fn redrive(&mut self, task: usize) {
        if self.tasks[task].state != Failed
            || self.stops(task)
            || self.outcome.is_some()
            || (self.is_broken(task) && !self.tolerates(task))
        {
            return;
        }
        self.tasks[task].state = Pending;
        self.tasks[task].failures = 0;
        self.tasks[task].losses = 0;
        let mut open = vec![task];
        while let Some(upstream) = open.pop() {
            for task in 0..self.tasks.len() {
                if !self.tasks[task].upstreams.contains(&upstream) {
                    continue;
                }
                match self.tasks[task].state {
                    Ready => self.tasks[task].state = Pending,
                    Skipped if !self.is_broken(task) => {
                        self.tasks[task].state = Pending;
                        open.push(task);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Draws the next consequence; returns whether there was one.
    fn settle_once(&mut self) -> bool {
        for task in 0..self.tasks.len() {
            let (state, scope) = (self.tasks[task].state, self.tasks[task].scope);
            if state.is_final() {
                if let Some(subtasks) = self.tasks[task].expanded.take() {
                    self.scopes[subtasks].closed = true;
                    return true;
                }
                let fails = state == Failed && self.scopes[scope].policy == FailurePolicy::FailFast;
                if fails && !self.stops(task) {
                    self.scopes[scope].failed_fast = true;
                    return true;
                }
            } else if self.stops(task) {
                self.tasks[task].state = Cancelled;
                return true;
            }
        }
        for task in 0..self.tasks.len() {
            if self.tasks[task].state != Pending {
                continue;
            }
            if self.is_broken(task) && !self.tolerates(task) {
                let cancelled = self.upstream_states(task).any(|state| state == Cancelled);
                self.tasks[task].state = if cancelled { Cancelled } else { Skipped };
                return true;
            }
            if self.started && self.upstream_states(task).all(TaskState::is_final) {
                self.tasks[task].state = Ready;
                return true;
            }
        }
        false
    }

    fn judge(&mut self) {
        let all_final = self.tasks.iter().all(|task| task.state.is_final());
        if self.outcome.is_some() || !all_final || !(self.started || self.verdict.is_some()) {
            return;
        }
        let is_sink = |task: usize| {
            !self
                .tasks
                .iter()
                .any(|other| other.upstreams.contains(&task))
        };
        let sinks: Vec<TaskState> = (0..self.tasks.len())
            .filter(|&task| self.tasks[task].scope == 0 && is_sink(task))
            .filter(|&task| !self.tasks[task].removed)
            .map(|task| self.tasks[task].state)
            .collect();
        let own = if self.scopes[0].failed_fast
            || sinks.iter().any(|state| matches!(state, Failed | Skipped))
        {
            Failed
        } else if sinks.contains(&Cancelled) {
            Cancelled
        } else {
            Succeeded
        };
        self.outcome = Some(self.verdict.unwrap_or(own));
    }
}
