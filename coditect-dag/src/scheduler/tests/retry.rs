//! A settled run, opened again.

use super::*;

fn retry(run: &mut Run) {
    assert!(matches!(run.apply(Event::Retried), Applied::Changed));
}

#[test]
fn a_retried_run_keeps_what_succeeded_and_does_the_rest() {
    let tasks: &[(&str, Node, &[&str])] = &[
        ("good", spec(), &[]),
        ("bad", spec(), &[]),
        ("after", spec(), &["bad", "good"]),
        ("last", spec(), &["after"]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    run.succeed("good");
    run.fail("bad", None);
    assert!(run.run_settled(Failed));

    retry(&mut run);
    assert_eq!(
        run.states(["good", "bad", "after", "last"]),
        [Succeeded, Ready, Pending, Pending]
    );
    for key in ["bad", "after", "last"] {
        assert!(run.has(Action::Reopened { task: run.id(key) }), "{key}");
    }
    assert!(!run.scheduler.is_settled());
    for key in ["bad", "after", "last"] {
        run.succeed(key);
    }
    assert_eq!(run.attempt("bad"), Attempt::new(2));
    assert_eq!(run.attempt("good"), Attempt::FIRST);
    assert!(run.run_settled(Succeeded));
}

#[test]
fn what_was_cancelled_with_the_run_is_done_after_a_retry() {
    for policy in [FailurePolicy::FailFast, FailurePolicy::Skip] {
        let tasks: &[(&str, Node, &[&str])] = &[
            ("a", spec(), &[]),
            ("b", spec(), &[]),
            ("c", spec(), &["b"]),
        ];
        let mut run = Run::start(policy, tasks);
        run.dispatch("b");
        match policy {
            FailurePolicy::FailFast => run.fail("a", None),
            _ => drop(run.apply(Event::RunCancelled)),
        }
        assert!(run.scheduler.is_settled());
        let late = (run.id("b"), run.attempt("b"));
        retry(&mut run);
        let (task, attempt) = late;
        assert!(run.apply(Event::Succeeded { task, attempt }).is_ignored());
        for key in ["a", "b", "c"] {
            run.succeed(key);
        }
        assert!(run.run_settled(Succeeded));
    }
}

#[test]
fn a_task_that_had_expanded_goes_on_with_its_subtasks() {
    let tasks: &[(&str, Node, &[&str])] = &[("plan", spec(), &[]), ("use", spec(), &["plan"])];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    let subtasks: &[(&str, Node, &[&str])] = &[
        ("x", spec(), &[]),
        ("y", spec(), &[]),
        ("z", spec(), &["y"]),
    ];
    run.expand("plan", FailurePolicy::FailFast, subtasks);
    run.succeed("plan/x");
    run.fail("plan/y", None);
    let plan = run.id("plan");
    let _ = run.apply(Event::ScopeFailed { task: plan });
    assert!(run.run_settled(Failed));

    retry(&mut run);
    assert_eq!(
        run.states(["plan", "plan/x", "plan/y", "plan/z", "use"]),
        [Running, Succeeded, Ready, Pending, Pending]
    );
    assert!(run.scheduler.is_expanded(plan));
    assert_eq!(run.attempt("plan"), Attempt::FIRST, "it is not asked again");
    run.succeed("plan/y");
    run.succeed("plan/z");
    assert!(run.has(Action::ScopeSettled {
        task: plan,
        failed: false
    }));
    let _ = run.apply(Event::Resolved { task: plan });
    run.succeed("use");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_scope_whose_subtasks_had_all_succeeded_is_judged_again() {
    let mut run = Run::start(FailurePolicy::Skip, &[("plan", spec(), &[])]);
    run.expand("plan", FailurePolicy::Skip, &[("x", spec(), &[])]);
    run.succeed("plan/x");
    let plan = run.id("plan");
    let _ = run.apply(Event::ScopeFailed { task: plan });
    assert!(run.run_settled(Failed));
    retry(&mut run);
    assert!(run.has(Action::ScopeSettled {
        task: plan,
        failed: false
    }));
    let _ = run.apply(Event::Resolved { task: plan });
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_task_whose_last_attempt_did_not_expand_is_dispatched_again() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &[])],
    );
    run.expand("a", FailurePolicy::Skip, &[("x", spec(), &[])]);
    run.fail("a/x", None);
    let task = run.id("a");
    let _ = run.apply(Event::ScopeFailed { task });
    let _ = run.apply(Event::Redriven { task });
    run.fail("a", None);
    run.succeed("b");
    assert!(run.run_settled(Failed));
    retry(&mut run);
    assert_eq!(
        run.states(["a", "a/x"]),
        [Ready, Failed],
        "the old scope is history"
    );
    run.succeed("a");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_run_that_goes_on_is_not_retried() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &[])],
    );
    run.fail("a", None);
    assert!(run.apply(Event::Retried).is_ignored());
}

#[test]
fn a_retried_run_is_not_paused_and_settles_again_where_nothing_is_left_to_do() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    let _ = run.apply(Event::Paused);
    let _ = run.apply(Event::RunCancelled);
    retry(&mut run);
    run.succeed("a");
    assert!(run.run_settled(Succeeded));
    retry(&mut run);
    assert!(run.run_settled(Succeeded));
}

#[test]
fn one_redriven_task_opens_its_run_and_leaves_other_failures_be() {
    let tasks: &[(&str, Node, &[&str])] = &[
        ("a", spec(), &[]),
        ("a2", spec(), &["a"]),
        ("b", spec(), &[]),
        ("b2", spec(), &["b"]),
        ("both", spec(), &["a2", "b2"]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    run.fail("a", None);
    run.fail("b", None);
    assert!(run.run_settled(Failed));
    let task = run.id("a");
    assert!(!run.apply(Event::Redriven { task }).is_ignored());
    assert_eq!(
        run.states(["a", "a2", "b", "b2", "both"]),
        [Ready, Pending, Failed, Skipped, Skipped]
    );
    run.succeed("a");
    run.succeed("a2");
    assert!(run.run_settled(Failed), "the other failure is still there");
    let task = run.id("b");
    let _ = run.apply(Event::Redriven { task });
    for key in ["b", "b2", "both"] {
        run.succeed(key);
    }
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_redriven_subtask_opens_what_is_around_it() {
    let mut run = Run::start(
        FailurePolicy::FailFast,
        &[("plan", spec(), &[]), ("b", spec(), &[])],
    );
    run.expand(
        "plan",
        FailurePolicy::FailFast,
        &[("x", spec(), &[]), ("y", spec(), &[])],
    );
    run.fail("plan/x", None);
    let plan = run.id("plan");
    let _ = run.apply(Event::ScopeFailed { task: plan });
    assert!(run.run_settled(Failed));
    let task = run.id("plan/x");
    assert!(!run.apply(Event::Redriven { task }).is_ignored());
    assert_eq!(
        run.states(["plan", "plan/x", "plan/y", "b"]),
        [Running, Ready, Ready, Ready]
    );
}

#[test]
fn a_redriven_task_that_had_answered_with_a_plan_makes_another() {
    let mut run = Run::start(FailurePolicy::Skip, &[("plan", spec(), &[])]);
    run.expand(
        "plan",
        FailurePolicy::Skip,
        &[("x", spec(), &[]), ("y", spec(), &[])],
    );
    run.fail("plan/x", None);
    run.succeed("plan/y");
    let task = run.id("plan");
    let _ = run.apply(Event::ScopeFailed { task });
    assert!(run.run_settled(Failed));
    assert!(!run.apply(Event::Redriven { task }).is_ignored());
    assert_eq!(
        run.states(["plan", "plan/x", "plan/y"]),
        [Ready, Failed, Succeeded]
    );
    run.expand("plan", FailurePolicy::Skip, &[("x", spec(), &[])]);
    run.succeed("plan#2/x");
    let _ = run.apply(Event::Resolved { task });
    assert!(run.run_settled(Succeeded));
}

#[test]
fn there_is_no_way_back_to_a_task_that_nobody_asks_for() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("plan", spec(), &[]), ("b", spec(), &[])],
    );
    run.expand("plan", FailurePolicy::Continue, &[("x", spec(), &[])]);
    run.fail("plan/x", None);
    let plan = run.id("plan");
    let _ = run.apply(Event::Resolved { task: plan });
    run.fail("b", None);
    assert!(run.run_settled(Failed));
    for key in ["plan/x", "plan"] {
        let task = run.id(key);
        assert!(run.apply(Event::Redriven { task }).is_ignored(), "{key}");
    }
    assert!(run.scheduler.is_settled());
}
