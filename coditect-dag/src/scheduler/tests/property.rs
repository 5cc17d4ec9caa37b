//! Promises that hold for any graph and any order of events.

mod patch;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::*;

const LIMITS: Limits = Limits {
    max_depth: 2,
    max_width: 4,
    max_tasks: 40,
};

/// One task of a random graph: which earlier tasks it waits for, and how it is specified.
type Shape = (u16, Node);
/// One step of a random story: what happens, to which task, and how.
type Step = (u8, u16, u8);

fn node() -> impl Strategy<Value = Node> {
    (0..3_u8, 0..2_u32, 0..3_u32, 0..2_u32, any::<bool>()).prop_map(
        |(priority, class, max_attempts, max_losses, all_settled)| TaskSpec {
            priority,
            class: Class(class),
            max_attempts,
            max_losses,
            join: if all_settled {
                Join::AllSettled
            } else {
                Join::AllSucceeded
            },
        },
    )
}

fn policy(number: u8) -> FailurePolicy {
    [
        FailurePolicy::Skip,
        FailurePolicy::FailFast,
        FailurePolicy::Continue,
    ][number as usize % 3]
}

fn shaped(shapes: &[Shape]) -> TaskGraph<Node> {
    let mut builder = TaskGraph::builder();
    for (position, (upstreams, spec)) in shapes.iter().enumerate() {
        let id = builder.task(position.to_string(), *spec);
        for upstream in (0..position.min(16)).filter(|bit| upstreams & (1 << bit) != 0) {
            builder.depends_on(id, TaskId::new(upstream as u32));
        }
    }
    builder.build().unwrap()
}

/// Turns a random step into an event that is at least not absurd.
fn event(scheduler: &Scheduler<u8>, shapes: &[Shape], (what, which, how): Step) -> Event<u8> {
    let any = TaskId::new(u32::from(which) % scheduler.len().max(1) as u32);
    let pick = |state: TaskState| {
        let count = scheduler.count(state).max(1);
        (0..scheduler.len() as u32)
            .map(TaskId::new)
            .filter(|&task| scheduler.state(task) == Some(state))
            .nth(which as usize % count)
            .unwrap_or(any)
    };
    let task = pick(Running);
    let attempt = scheduler.attempt(task);
    let at = Timestamp::from_millis(u64::from(how) % 16);
    match what % 50 {
        0..=9 => Event::Dispatched { task: pick(Ready) },
        10..=14 => Event::Succeeded { task, attempt },
        15..=17 => {
            let retry_at = (how % 3 > 0).then_some(at);
            Event::Failed {
                task,
                attempt,
                retry_at,
            }
        }
        18 => Event::Lost {
            task,
            attempt,
            reason: LossReason::WorkerGone,
        },
        19 => Event::Snoozed {
            task,
            attempt,
            until: at,
        },
        20..=23 => {
            let sub = shaped(&shapes[..shapes.len().min(how as usize % 6)]);
            Event::Expanded {
                task,
                attempt,
                expansion: expansion(&sub, policy(how / 6)),
            }
        }
        24..=26 => Event::Due { now: at },
        27..=28 => Event::Resolved { task },
        29 => Event::ScopeFailed { task },
        // Outcomes of attempts that are over or never were.
        30 => Event::Succeeded {
            task: any,
            attempt: Attempt::new(u32::from(how) % 4),
        },
        31 => Event::Lost {
            task: any,
            attempt: Attempt::new(u32::from(how) % 4),
            reason: LossReason::Rejected,
        },
        32 => Event::Expired { task: any },
        33 => Event::Cancelled { task: any },
        34..=36 => Event::Redriven { task: pick(Failed) },
        37 => Event::Started,
        40 => Event::Paused,
        41 => Event::Resumed,
        42 => Event::Prioritized {
            tasks: vec![any, task],
            priority: how % 4,
        },
        43 => Event::Retried,
        44..=49 => Event::Patched {
            patch: Box::new(patch::random(scheduler, shapes, (what, which, how))),
        },
        38 => Event::Succeeded {
            task: pick(Backoff),
            attempt: scheduler.attempt(pick(Backoff)),
        },
        _ => match how {
            0..=20 => Event::RunCancelled,
            21..=40 => Event::RunResolved,
            41..=60 => Event::RunFailed,
            _ => Event::Dispatched { task: any },
        },
    }
}

/// A story as it is told to scheduler and model at once, with what is known from the actions.
struct Story {
    scheduler: Scheduler<u8>,
    model: Model,
    log: Vec<Event<u8>>,
    /// From the actions: which tasks are final.
    settled: Vec<bool>,
    run_settled: bool,
}

impl Story {
    fn new(graph: &TaskGraph<Node>, options: Options) -> Self {
        Self {
            scheduler: Scheduler::new(graph, |_, spec| *spec, options).unwrap(),
            model: Model::new(graph, options),
            log: Vec::new(),
            settled: vec![false; graph.len()],
            run_settled: false,
        }
    }

    fn tell(&mut self, event: Event<u8>) {
        if let Event::Dispatched { task } = event {
            self.check_upstreams(task);
        }
        let before = self.scheduler.clone();
        let mut actions = Vec::new();
        let applied = self.scheduler.apply(&event, &mut actions);
        if matches!(applied, Ok(Applied::Ignored) | Err(_)) {
            assert!(before == self.scheduler, "{event:?} changed something");
            assert!(actions.is_empty());
        }
        match &event {
            Event::Patched { patch } if applied.is_err() => {
                assert!(!self.model.patch(patch), "refused: {applied:?} {patch:?}");
            }
            _ if applied.is_ok() => self.model.apply(&event),
            _ => {}
        }
        if let (Event::Retried | Event::Redriven { .. }, Ok(Applied::Changed)) = (&event, &applied)
        {
            self.run_settled = false;
        }
        self.log.push(event);
        self.settled.resize(self.scheduler.len(), false);
        for action in actions {
            self.check_action(action);
        }
        self.check_state();
    }

    /// No task runs before its upstreams are final, and as its join wants them.
    fn check_upstreams(&self, task: TaskId) {
        let task = task.index();
        if self
            .model
            .tasks
            .get(task)
            .is_none_or(|it| it.state != Ready || it.attempt > 0)
        {
            return;
        }
        for state in self.model.upstream_states(task) {
            assert!(state.is_final());
            assert!(state == Succeeded || self.model.tolerates(task));
        }
    }

    /// Each task settles once, unless it is opened again; the run settles once, at the end.
    fn check_action(&mut self, action: Action) {
        assert!(!self.run_settled, "{action:?} after the end");
        let is = |task: TaskId| self.scheduler.state(task).unwrap();
        match action {
            Action::Settled { task, state, .. } => {
                assert!(state.is_final() && is(task) == state);
                assert!(!std::mem::replace(&mut self.settled[task.index()], true));
            }
            Action::Reopened { task } => {
                assert!(
                    std::mem::replace(&mut self.settled[task.index()], false)
                        || is(task) == Pending
                );
            }
            Action::WakeAt { task, at } => assert_eq!(self.scheduler.wake_at(task), Some(at)),
            Action::ScopeSettled { task, .. } => {
                assert!(self.scheduler.is_expanded(task));
                assert!(
                    self.scheduler
                        .subtasks(task)
                        .all(|subtask| is(subtask).is_final())
                );
            }
            Action::RunSettled { state } => {
                assert_eq!(self.scheduler.outcome(), Some(state));
                self.run_settled = true;
            }
            Action::Ready { .. } | Action::Stop { .. } => {}
        }
    }

    fn check_state(&self) {
        assert_eq!(self.scheduler.len(), self.model.tasks.len());
        let mut counts = [0; TaskState::ALL.len()];
        for (position, task) in self.model.tasks.iter().enumerate() {
            let id = TaskId::new(position as u32);
            let state = self.scheduler.state(id).unwrap();
            assert_eq!(state, task.state, "task {id} after {:?}", self.log);
            assert_eq!(
                state.is_final(),
                self.settled[position],
                "task {id} after {:?}",
                self.log
            );
            assert_eq!(self.scheduler.attempt(id), Attempt::new(task.attempt));
            assert_eq!(self.scheduler.priority(id), Some(task.spec.priority));
            assert_eq!(self.scheduler.is_expanded(id), task.expanded.is_some());
            assert_eq!(self.scheduler.wake_at(id).is_some(), state == Backoff);
            counts[state as usize] += 1;
        }
        assert_eq!(
            TaskState::ALL.map(|state| self.scheduler.count(state)),
            counts
        );
        assert_eq!(
            self.scheduler.outcome(),
            self.model.outcome,
            "after {:?}",
            self.log
        );
        let classes = self.scheduler.classes_with_ready();
        let queued: usize = classes.map(|class| self.scheduler.ready_len(class)).sum();
        assert_eq!(self.scheduler.is_paused(), self.model.paused);
        let ready = self.scheduler.count(Ready);
        assert_eq!(queued, if self.model.paused { 0 } else { ready });
        for class in self.scheduler.classes_with_ready() {
            let (task, priority) = self.scheduler.peek(class).unwrap();
            let better = |it: &&super::model::ModelTask| {
                it.state == Ready && it.spec.class == class && it.spec.priority < priority
            };
            assert!(
                !self.model.tasks.iter().any(|it| better(&it)),
                "{task} before its turn"
            );
        }
    }

    /// Lets everything end well from here, as a patient caller would.
    fn finish(&mut self) {
        self.tell(Event::Started);
        self.tell(Event::Resumed);
        for _ in 0..1000 {
            if self.scheduler.is_settled() {
                return;
            }
            self.tell(Event::Due {
                now: Timestamp::MAX,
            });
            while let Some(class) = self.scheduler.classes_with_ready().next() {
                let (task, _) = self.scheduler.peek(class).unwrap();
                self.tell(Event::Dispatched { task });
                let attempt = self.scheduler.attempt(task);
                self.tell(Event::Succeeded { task, attempt });
            }
            let running = (0..self.scheduler.len() as u32)
                .map(TaskId::new)
                .filter(|&task| self.scheduler.state(task) == Some(Running));
            // From the back, so that inner scopes are resolved before outer ones.
            for task in running.rev().collect::<Vec<_>>() {
                let attempt = self.scheduler.attempt(task);
                if self.scheduler.is_expanded(task) {
                    let open = |subtask| !self.scheduler.state(subtask).unwrap().is_final();
                    if !self.scheduler.subtasks(task).any(open) {
                        self.tell(Event::Resolved { task });
                    }
                } else {
                    self.tell(Event::Succeeded { task, attempt });
                }
            }
        }
        panic!("the run does not end: {:?}", self.scheduler);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_agrees_with_the_model_and_ends(
        shapes in vec((any::<u16>(), node()), 0..12),
        run_policy in 0..3_u8,
        starts in prop::bool::weighted(0.9),
        steps in vec(any::<Step>(), 0..80),
    ) {
        let graph = shaped(&shapes);
        let options = Options::default().with_limits(LIMITS).with_policy(policy(run_policy));
        let mut story = Story::new(&graph, options);
        if starts {
            story.tell(Event::Started);
        }
        for step in steps {
            let next = event(&story.scheduler, &shapes, step);
            story.tell(next);
        }
        story.finish();
        prop_assert!(story.run_settled);
        prop_assert!(story.settled.iter().all(|settled| *settled));

        // Whatever went wrong, a second chance in which nothing does is enough for all that is still wanted.
        let succeeded = story.scheduler.count(Succeeded);
        story.tell(Event::Retried);
        story.finish();
        prop_assert_eq!(story.scheduler.outcome(), Some(Succeeded));
        prop_assert!(story.scheduler.count(Succeeded) >= succeeded);
        for (position, task) in story.model.tasks.iter().enumerate() {
            let wanted = !task.removed && !story.model.is_history(position);
            prop_assert!(task.state == Succeeded || !wanted);
        }

        // The journal is enough to have the same scheduler again.
        let text = serde_json::to_string(&story.log).unwrap();
        let log: Vec<Event<u8>> = serde_json::from_str(&text).unwrap();
        let mut again = Scheduler::new(&graph, |_, spec| *spec, options).unwrap();
        for event in &log {
            let _ = again.apply(event, &mut Vec::new());
        }
        prop_assert!(again == story.scheduler);
    }
}
