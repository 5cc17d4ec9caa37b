//! Patches: what each kind of change does, and what is refused.

use super::*;

fn patch(scope: Option<TaskId>, change: impl FnOnce(&mut Patch<u8>)) -> Event<u8> {
    let mut patch = Patch::new(scope);
    change(&mut patch);
    let patch = Box::new(patch);
    Event::Patched { patch }
}

fn id(number: u32) -> TaskId {
    TaskId::new(number)
}

impl Run {
    fn patch(&mut self, change: impl FnOnce(&mut Patch<u8>)) {
        let applied = self.apply(patch(None, change));
        assert!(matches!(applied, Applied::Changed));
    }

    /// Says why a patch is refused, and that nothing changed.
    fn refused(&mut self, change: impl FnOnce(&mut Patch<u8>)) -> String {
        let before = self.scheduler.clone();
        let mut actions = Vec::new();
        let refused = self.scheduler.apply(&patch(None, change), &mut actions);
        assert!(before == self.scheduler && actions.is_empty());
        refused.unwrap_err().to_string()
    }

    fn is(&self, task: u32) -> TaskState {
        self.scheduler.state(id(task)).unwrap()
    }

    fn end(&mut self, task: u32) {
        let task = id(task);
        let _ = self.apply(Event::Dispatched { task });
        let attempt = self.scheduler.attempt(task);
        let applied = self.apply(Event::Succeeded { task, attempt });
        assert!(matches!(applied, Applied::Changed));
    }
}

#[test]
fn tasks_join_behind_ended_and_running_ones() {
    let tasks = [("a", spec(), &[][..]), ("b", spec(), &["a"])];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    run.succeed("a");
    run.dispatch("b");
    run.patch(|patch| {
        patch.added = vec![spec(), spec(), spec()];
        patch.connected = vec![
            (id(0), id(2)),
            (id(1), id(3)),
            (id(2), id(4)),
            (id(3), id(4)),
        ];
    });
    assert_eq!(
        [2, 3, 4].map(|task| run.is(task)),
        [Ready, Pending, Pending]
    );
    assert!(run.has(Action::Ready { task: id(2) }));
    let attempt = run.attempt("b");
    let _ = run.apply(Event::Succeeded {
        task: id(1),
        attempt,
    });
    for task in [3, 2, 4] {
        assert!(!run.scheduler.is_settled());
        run.end(task);
    }
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_ready_task_that_is_to_wait_for_more_waits_again() {
    let tasks = [("a", spec(), &[][..]), ("b", spec(), &[])];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    run.patch(|patch| patch.connected = vec![(id(0), id(1))]);
    assert_eq!(run.states(["a", "b"]), [Ready, Pending]);
    assert_eq!(run.actions, [Action::Reopened { task: id(1) }]);
    assert_eq!(run.scheduler.ready_len(Class(0)), 1);
    run.patch(|patch| patch.disconnected = vec![(id(0), id(1))]);
    assert_eq!(run.actions, [Action::Ready { task: id(1) }]);
}

#[test]
fn what_is_removed_counts_for_nothing_and_stays_out() {
    let tasks = [
        ("a", spec(), &[][..]),
        ("b", spec(), &["a"]),
        ("c", spec(), &["b"]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    run.patch(|patch| {
        patch.removed = vec![id(1)];
        patch.disconnected = vec![(id(0), id(1)), (id(1), id(2))];
        patch.connected = vec![(id(0), id(2))];
    });
    assert_eq!(run.settled(), [("b", Cancelled, Cause::Removed)]);
    assert!(run.scheduler.is_removed(id(1)));
    run.succeed("a");
    run.fail("c", None);
    assert!(run.run_settled(Failed));
    let _ = run.apply(Event::Retried);
    assert_eq!(run.states(["a", "b", "c"]), [Succeeded, Cancelled, Ready]);
    run.succeed("c");
    assert!(
        run.run_settled(Succeeded),
        "a removed sink does not cancel the run"
    );
}

#[test]
fn a_failure_that_a_new_task_takes_care_of_is_none_of_the_run() {
    let tasks = [("a", spec(), &[][..]), ("b", spec(), &[])];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    run.fail("a", None);
    let why = run.refused(|patch| {
        patch.added = vec![spec()];
        patch.connected = vec![(id(0), id(2))];
    });
    assert_eq!(
        why,
        "task 2 would wait for task 0, which is failed, and never run"
    );
    run.patch(|patch| {
        patch.added = vec![spec().with_join(Join::AllSettled)];
        patch.connected = vec![(id(0), id(2))];
    });
    run.end(2);
    run.succeed("b");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_changed_task_has_another_place_in_its_queue() {
    let tasks = [("a", spec(), &[][..]), ("b", spec(), &[])];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    let urgent = TaskSpec::new(Class(0), 0);
    run.patch(|patch| {
        patch.changed = vec![(
            id(0),
            TaskSpec {
                priority: 2,
                ..urgent
            },
        )]
    });
    assert_eq!(run.scheduler.peek(Class(0)), Some((id(1), 0)));
    run.patch(|patch| {
        patch.changed = vec![(
            id(0),
            TaskSpec {
                class: Class(7),
                ..urgent
            },
        )]
    });
    assert_eq!(run.scheduler.peek(Class(7)), Some((id(0), 0)));
}

#[test]
fn subtasks_may_stand_apart() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &[])],
    );
    run.expand("a", FailurePolicy::FailFast, &[("x", spec(), &[])]);
    run.expand("b", FailurePolicy::Skip, &[("y", spec(), &[])]);
    let more = patch(Some(id(0)), |patch| {
        patch.added = vec![spec()];
        patch.connected = vec![(id(2), id(4))];
    });
    let _ = run.apply(more);
    assert!(run.scheduler.subtasks(id(0)).eq([id(2), id(4)]));
    assert_eq!(run.scheduler.parent(id(4)), Some(id(0)));
    assert_eq!(run.scheduler.depth(id(4)), 1);
    run.end(2);
    assert!(!run.has(Action::ScopeSettled {
        task: id(0),
        failed: false
    }));
    let _ = run.apply(Event::Dispatched { task: id(4) });
    let attempt = run.scheduler.attempt(id(4));
    let failed = Event::Failed {
        task: id(4),
        attempt,
        retry_at: None,
    };
    let _ = run.apply(failed);
    assert!(run.has(Action::ScopeSettled {
        task: id(0),
        failed: true
    }));
    assert_eq!(run.is(3), Ready, "the other graph is none of its concern");
}

#[test]
fn a_patch_that_does_not_fit_is_refused_as_a_whole() {
    let tasks = [
        ("a", spec(), &[][..]),
        ("b", spec(), &["a"]),
        ("c", spec(), &["b"]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, &tasks);
    run.dispatch("a");
    let added = |patch: &mut Patch<u8>| patch.added = vec![spec()];
    type Change = fn(&mut Patch<u8>);
    let cases: [(&str, Change); 9] = [
        ("task 0 has begun, or ended: it is running", |it| {
            it.removed = vec![id(0)]
        }),
        ("there is no task 9", |it| it.removed = vec![id(9)]),
        ("task 1 is removed", |it| it.removed = vec![id(1), id(1)]),
        (
            "task 1 still waits for task 0, and one of them is removed",
            |it| it.removed = vec![id(1)],
        ),
        ("tasks would wait in a cycle: 1 → 2", |it| {
            it.connected = vec![(id(2), id(1))]
        }),
        ("task 1 waits for task 0 already", |it| {
            it.connected = vec![(id(0), id(1))]
        }),
        ("task 2 does not wait for task 0", |it| {
            it.disconnected = vec![(id(0), id(2))]
        }),
        ("task 1 cannot wait for 8, which is not there", |it| {
            it.connected = vec![(id(8), id(1))]
        }),
        ("task 0 has begun, or ended: it is running", |it| {
            it.connected = vec![(id(3), id(0))]
        }),
    ];
    for (why, change) in cases {
        let refused = run.refused(|patch| {
            added(patch);
            change(patch);
        });
        assert_eq!(refused, why);
    }
    let _ = run.apply(Event::RunCancelled);
    assert_eq!(run.refused(added), "the run has ended");
}

#[test]
fn limits_hold_for_patches() {
    let limits = Limits {
        max_width: 2,
        max_tasks: 3,
        ..Limits::default()
    };
    let mut run = Run::new(
        Options::default().with_limits(limits),
        &[("a", spec(), &[])],
    );
    let why = run.refused(|patch| patch.added = vec![spec(); 3]);
    assert_eq!(why, "the patch adds 3 tasks, at most 2 are allowed");
    run.patch(|patch| patch.added = vec![spec()]);
    let why = run.refused(|patch| patch.added = vec![spec(); 2]);
    assert_eq!(
        why,
        "the patch would bring the run to 4 tasks, at most 3 are allowed"
    );
}

#[test]
fn what_lies_waste_in_the_table_is_bounded() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    for task in 1..=600 {
        run.patch(|patch| {
            patch.added = vec![spec()];
            patch.connected = vec![(id(0), id(task))];
        });
    }
    assert!(run.scheduler.targets.len() <= 600 + 600 + patch_waste());
    run.succeed("a");
    assert_eq!(run.scheduler.count(Ready), 600);
}

fn patch_waste() -> usize {
    super::super::patch::WASTE
}
