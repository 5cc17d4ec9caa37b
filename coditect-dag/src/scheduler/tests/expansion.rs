//! Tasks that answer with a graph.

use super::*;

const TWO: &[(&str, Node, &[&str])] = &[
    ("x", TaskSpec::new(Class(0), 0), &[]),
    ("y", TaskSpec::new(Class(0), 0), &["x"]),
];

fn expanded(policy: FailurePolicy) -> Run {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &["a"])],
    );
    run.expand("a", policy, TWO);
    run
}

#[test]
fn the_task_runs_until_its_scope_has_a_result() {
    let mut run = expanded(FailurePolicy::Skip);
    let task = run.id("a");
    assert!(run.scheduler.is_expanded(task));
    assert_eq!(
        run.states(["a", "b", "a/x", "a/y"]),
        [Running, Pending, Ready, Pending]
    );
    assert_eq!(run.scheduler.parent(run.id("a/y")), Some(task));
    assert_eq!(run.scheduler.depth(run.id("a/y")), 1);
    let subtasks: Vec<TaskId> = run.scheduler.subtasks(task).collect();
    assert_eq!(subtasks, [run.id("a/x"), run.id("a/y")]);
    run.succeed("a/x");
    run.succeed("a/y");
    assert!(run.has(Action::ScopeSettled {
        task,
        failed: false
    }));
    assert_eq!(run.state("a"), Running);
    assert!(!run.apply(Event::Resolved { task }).is_ignored());
    assert_eq!(run.settled(), [("a", Succeeded, Cause::Completed)]);
    assert!(run.apply(Event::Resolved { task }).is_ignored());
    run.succeed("b");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_failed_scope_fails_its_task() {
    let mut run = expanded(FailurePolicy::Skip);
    let task = run.id("a");
    run.fail("a/x", None);
    assert_eq!(run.state("a/y"), Skipped);
    assert!(run.has(Action::ScopeSettled { task, failed: true }));
    let _ = run.apply(Event::ScopeFailed { task });
    assert_eq!(run.states(["a", "b"]), [Failed, Skipped]);
    assert!(run.run_settled(Failed));
}

#[test]
fn fail_fast_ends_the_scope_but_not_the_run() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &[])],
    );
    run.expand(
        "a",
        FailurePolicy::FailFast,
        &[("x", spec(), &[]), ("y", spec(), &[])],
    );
    run.dispatch("a/y");
    run.fail("a/x", None);
    assert_eq!(run.states(["a", "b", "a/y"]), [Running, Ready, Cancelled]);
    assert!(run.has(Action::ScopeSettled {
        task: run.id("a"),
        failed: true
    }));
}

#[test]
fn resolving_early_cancels_the_rest_at_any_depth() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    run.expand(
        "a",
        FailurePolicy::Skip,
        &[("x", spec(), &[]), ("y", spec(), &[])],
    );
    run.expand("a/x", FailurePolicy::Skip, &[("deep", spec(), &[])]);
    run.dispatch("a/x/deep");
    assert_eq!(run.scheduler.depth(run.id("a/x/deep")), 2);
    let task = run.id("a");
    let _ = run.apply(Event::Resolved { task });
    assert_eq!(
        run.settled(),
        [
            ("a", Succeeded, Cause::Completed),
            ("a/x", Cancelled, Cause::NotNeeded(task)),
            ("a/x/deep", Cancelled, Cause::NotNeeded(run.id("a/x"))),
            ("a/y", Cancelled, Cause::NotNeeded(task)),
        ]
    );
    let scopes = |action: &&Action| matches!(action, Action::ScopeSettled { .. });
    assert_eq!(
        run.actions.iter().filter(scopes).count(),
        0,
        "nobody waits for it"
    );
    let stops = |action: &&Action| matches!(action, Action::Stop { .. });
    assert_eq!(
        run.actions.iter().filter(stops).count(),
        1,
        "only an attempt can stop"
    );
    assert!(run.run_settled(Succeeded));
}

#[test]
fn ending_an_expanded_task_ends_its_subtasks() {
    for event in [
        |task| Event::Cancelled { task },
        |task| Event::Expired { task },
        |task| Event::ScopeFailed { task },
        |_| Event::RunCancelled,
    ] {
        let mut run = expanded(FailurePolicy::Continue);
        run.dispatch("a/x");
        let task = run.id("a");
        let _ = run.apply(event(task));
        assert_eq!(run.states(["a/x", "a/y"]), [Cancelled, Cancelled]);
        assert!(run.scheduler.is_settled());
        assert!(!run.scheduler.is_expanded(task));
    }
}

#[test]
fn an_outcome_after_the_expansion_comes_too_late() {
    let mut run = expanded(FailurePolicy::Skip);
    let (task, attempt) = (run.id("a"), run.attempt("a"));
    let again = expansion(&graph(TWO), FailurePolicy::Skip);
    for event in [
        Event::Succeeded { task, attempt },
        Event::Failed {
            task,
            attempt,
            retry_at: None,
        },
        Event::Lost {
            task,
            attempt,
            reason: LossReason::WorkerGone,
        },
        Event::Snoozed {
            task,
            attempt,
            until: Timestamp::EPOCH,
        },
        Event::Expanded {
            task,
            attempt,
            expansion: again,
        },
    ] {
        assert!(run.apply(event).is_ignored());
    }
    assert_eq!(run.scheduler.len(), 4);
}

#[test]
fn an_empty_expansion_is_settled_at_once() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    run.expand("a", FailurePolicy::Skip, &[]);
    let task = run.id("a");
    assert_eq!(
        run.actions,
        [Action::ScopeSettled {
            task,
            failed: false
        }]
    );
    let _ = run.apply(Event::Resolved { task });
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_task_that_has_not_expanded_has_no_scope_to_end() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    let task = run.id("a");
    assert!(run.apply(Event::Resolved { task }).is_ignored());
    run.dispatch("a");
    assert!(run.apply(Event::ScopeFailed { task }).is_ignored());
    assert_eq!(run.state("a"), Running);
}
