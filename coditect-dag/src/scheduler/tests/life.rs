//! The life of one attempt, and of a run in which nothing goes wrong.

use super::*;

#[test]
fn tasks_run_in_the_order_of_the_graph() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("a", spec(), &[]),
            ("b", spec(), &["a"]),
            ("c", spec(), &["a"]),
            ("d", spec(), &["b", "c"]),
        ],
    );
    assert_eq!(
        run.states(["a", "b", "c", "d"]),
        [Ready, Pending, Pending, Pending]
    );
    run.succeed("a");
    assert_eq!(
        run.states(["a", "b", "c", "d"]),
        [Succeeded, Ready, Ready, Pending]
    );
    run.succeed("c");
    assert_eq!(run.state("d"), Pending);
    run.succeed("b");
    assert!(run.has(Action::Ready { task: run.id("d") }));
    run.succeed("d");
    assert!(run.run_settled(Succeeded));
    assert_eq!(run.scheduler.count(Succeeded), 4);
}

#[test]
fn an_empty_run_succeeds_at_its_start() {
    let mut run = Run::new(Options::default(), &[]);
    assert!(!run.scheduler.is_settled());
    assert!(matches!(run.apply(Event::Started), Applied::Changed));
    assert!(run.run_settled(Succeeded));
    assert!(run.apply(Event::Started).is_ignored());
}

#[test]
fn a_failure_backs_off_until_attempts_are_spent() {
    let retried = spec().with_max_attempts(2);
    let mut run = Run::start(FailurePolicy::Skip, &[("a", retried, &[])]);
    let at = Timestamp::from_millis;
    let task = run.id("a");
    run.fail("a", Some(50));
    assert!(run.has(Action::WakeAt { task, at: at(50) }));
    assert_eq!(run.state("a"), Backoff);
    assert_eq!(run.scheduler.next_wake(), Some(at(50)));
    assert_eq!(run.scheduler.wake_at(task), Some(at(50)));
    assert!(run.apply(Event::Due { now: at(49) }).is_ignored());
    assert!(matches!(
        run.apply(Event::Due { now: at(50) }),
        Applied::Changed
    ));
    assert_eq!(run.state("a"), Ready);
    assert_eq!(run.scheduler.next_wake(), None);
    run.fail("a", Some(100));
    assert_eq!(run.settled(), [("a", Failed, Cause::AttemptsExhausted)]);
    assert_eq!(run.attempt("a"), Attempt::new(2));
    assert!(run.run_settled(Failed));
}

#[test]
fn an_error_that_cannot_be_cured_is_final_at_once() {
    let retried = spec().with_max_attempts(9);
    let mut run = Run::start(FailurePolicy::Skip, &[("a", retried, &[])]);
    run.fail("a", None);
    assert_eq!(run.settled(), [("a", Failed, Cause::NotRetryable)]);
}

#[test]
fn losses_spend_their_own_allowance() {
    let once = spec().with_max_attempts(1).with_max_losses(2);
    let mut run = Run::start(FailurePolicy::Skip, &[("a", once, &[])]);
    let (task, reason) = (run.id("a"), LossReason::WorkerGone);
    for losses in 1..=2 {
        run.dispatch("a");
        let attempt = run.attempt("a");
        assert!(
            !run.apply(Event::Lost {
                task,
                attempt,
                reason
            })
            .is_ignored()
        );
        assert_eq!(run.state("a"), Ready);
        assert_eq!(run.scheduler.losses(task), losses);
        assert_eq!(run.scheduler.failures(task), 0);
    }
    run.dispatch("a");
    let attempt = run.attempt("a");
    assert_eq!(attempt, Attempt::new(3));
    let _ = run.apply(Event::Lost {
        task,
        attempt,
        reason,
    });
    assert_eq!(
        run.settled(),
        [("a", Failed, Cause::LossesExhausted(reason))]
    );
}

#[test]
fn a_snooze_spends_nothing() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    let (task, until) = (run.id("a"), Timestamp::from_millis(5));
    for _ in 0..10 {
        run.dispatch("a");
        let attempt = run.attempt("a");
        assert!(
            !run.apply(Event::Snoozed {
                task,
                attempt,
                until
            })
            .is_ignored()
        );
        let _ = run.apply(Event::Due { now: until });
    }
    assert_eq!(run.scheduler.failures(task), 0);
    run.succeed("a");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn the_first_outcome_of_the_current_attempt_wins() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &["a"])],
    );
    let task = run.id("a");
    run.dispatch("a");
    let old = run.attempt("a");
    let reason = LossReason::WorkerGone;
    let _ = run.apply(Event::Lost {
        task,
        attempt: old,
        reason,
    });
    assert!(
        run.apply(Event::Succeeded { task, attempt: old })
            .is_ignored()
    );
    run.dispatch("a");
    let before = run.scheduler.clone();
    for attempt in [old, Attempt::NONE, Attempt::new(99)] {
        assert!(run.apply(Event::Succeeded { task, attempt }).is_ignored());
        assert!(run.actions.is_empty());
    }
    assert!(before == run.scheduler, "a stale outcome changed something");
    let attempt = run.attempt("a");
    assert!(!run.apply(Event::Succeeded { task, attempt }).is_ignored());
    assert!(
        run.apply(Event::Failed {
            task,
            attempt,
            retry_at: None
        })
        .is_ignored()
    );
    assert_eq!(run.states(["a", "b"]), [Succeeded, Ready]);
}

#[test]
fn queues_go_by_class_then_priority_then_age() {
    let urgent = TaskSpec::new(Class(0), 0);
    let normal = TaskSpec::new(Class(0), 1);
    let other = TaskSpec::new(Class(7), 2);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("n1", normal, &[]),
            ("o", other, &[]),
            ("u1", urgent, &[]),
            ("n2", normal, &[]),
            ("u2", urgent, &[]),
        ],
    );
    assert_eq!(run.scheduler.classes_with_ready().len(), 2);
    assert_eq!(run.scheduler.ready_len(Class(0)), 4);
    assert_eq!(run.scheduler.peek(Class(7)), Some((run.id("o"), 2)));
    assert_eq!(run.scheduler.peek(Class(1)), None);
    for key in ["u1", "u2", "n1", "n2"] {
        let (next, _) = run.scheduler.peek(Class(0)).unwrap();
        assert_eq!(run.graph.key(next), Some(key));
        run.dispatch(key);
    }
    assert_eq!(run.scheduler.classes_with_ready().next(), Some(Class(7)));
    assert_eq!(run.scheduler.ready_len(Class(0)), 0);
}

#[test]
fn a_task_behind_the_front_may_be_dispatched_too() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &[]), ("c", spec(), &[])],
    );
    run.dispatch("b");
    assert_eq!(run.scheduler.peek(Class(0)), Some((run.id("a"), 0)));
    run.dispatch("a");
    assert_eq!(run.scheduler.peek(Class(0)), Some((run.id("c"), 0)));
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &["a"])],
    );
    let before = run.scheduler.clone();
    let unknown = TaskId::new(99);
    for event in [
        Event::Dispatched { task: run.id("b") },
        Event::Dispatched { task: unknown },
        Event::Succeeded {
            task: unknown,
            attempt: Attempt::FIRST,
        },
        Event::Cancelled {
            task: TaskId::new(u32::MAX),
        },
        Event::Redriven { task: unknown },
        Event::Resolved { task: unknown },
    ] {
        let error = run.scheduler.apply(&event, &mut run.actions).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidEvent);
    }
    assert!(before == run.scheduler);
    assert_eq!(run.scheduler.state(unknown), None);
    assert_eq!(run.scheduler.attempt(unknown), Attempt::NONE);
    assert_eq!(run.scheduler.parent(unknown), None);
    assert_eq!(run.scheduler.subtasks(unknown).len(), 0);
}

#[test]
fn a_chain_of_a_million_does_not_overflow_the_stack() {
    let mut builder = TaskGraph::builder();
    for task in 0..1_000_000_u32 {
        let id = builder.task(task.to_string(), ());
        if task > 0 {
            builder.depends_on(id, TaskId::new(task - 1));
        }
    }
    let graph = builder.build().unwrap();
    let mut scheduler = Scheduler::new(&graph, |_, ()| spec(), Options::default()).unwrap();
    let mut actions = Vec::new();
    let (task, attempt) = (TaskId::new(0), Attempt::FIRST);
    for event in [
        Event::Started,
        Event::Dispatched { task },
        Event::Failed {
            task,
            attempt,
            retry_at: None,
        },
    ] {
        let _ = scheduler.apply(&event, &mut actions).unwrap();
    }
    assert_eq!(scheduler.count(Skipped), 999_999);
    assert_eq!(scheduler.outcome(), Some(Failed));
}
