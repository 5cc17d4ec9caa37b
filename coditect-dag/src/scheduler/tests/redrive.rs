//! Second chances.

use super::*;

fn failed_in_the_middle() -> Run {
    let collect = spec().with_join(Join::AllSettled);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("keep", spec(), &[]),
            ("a", spec(), &[]),
            ("b", spec(), &["a"]),
            ("c", spec(), &["b"]),
            ("all", collect, &["a"]),
        ],
    );
    run.fail("a", None);
    assert_eq!(
        run.states(["a", "b", "c", "all"]),
        [Failed, Skipped, Skipped, Ready]
    );
    run
}

#[test]
fn a_redriven_task_takes_along_what_was_skipped_because_of_it() {
    let mut run = failed_in_the_middle();
    let task = run.id("a");
    let _ = run.apply(Event::Redriven { task });
    assert_eq!(
        run.states(["a", "b", "c", "all"]),
        [Ready, Pending, Pending, Pending]
    );
    for key in ["a", "b", "c", "all"] {
        assert!(run.has(Action::Reopened { task: run.id(key) }), "{key}");
    }
    assert_eq!(run.scheduler.failures(task), 0);
    run.succeed("a");
    assert_eq!(run.attempt("a"), Attempt::new(2));
    for key in ["b", "c", "all", "keep"] {
        run.succeed(key);
    }
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_redriven_task_may_fail_again() {
    let mut run = failed_in_the_middle();
    let task = run.id("a");
    let _ = run.apply(Event::Redriven { task });
    run.fail("a", None);
    assert_eq!(
        run.states(["a", "b", "c", "all"]),
        [Failed, Skipped, Skipped, Ready]
    );
}

#[test]
fn what_hangs_on_another_failure_too_stays_skipped() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("a", spec(), &[]),
            ("b", spec(), &[]),
            ("keep", spec(), &[]),
            ("c", spec(), &["a", "b"]),
        ],
    );
    run.fail("a", None);
    run.fail("b", None);
    let (a, b) = (run.id("a"), run.id("b"));
    let _ = run.apply(Event::Redriven { task: a });
    assert_eq!(run.state("c"), Skipped);
    let _ = run.apply(Event::Redriven { task: b });
    assert_eq!(run.state("c"), Pending);
    run.succeed("a");
    run.succeed("b");
    run.succeed("c");
    assert_eq!(run.state("c"), Succeeded);
}

#[test]
fn a_task_that_ran_already_is_not_called_back() {
    let mut run = failed_in_the_middle();
    run.dispatch("all");
    let task = run.id("a");
    let _ = run.apply(Event::Redriven { task });
    assert_eq!(run.state("all"), Running);
    let (task, attempt) = (run.id("all"), run.attempt("all"));
    assert!(!run.apply(Event::Succeeded { task, attempt }).is_ignored());
}

#[test]
fn a_redriven_task_starts_with_fresh_counts() {
    let twice = spec().with_max_attempts(2).with_max_losses(0);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", twice, &[]), ("keep", spec(), &[])],
    );
    let task = run.id("a");
    run.fail("a", None);
    let _ = run.apply(Event::Redriven { task });
    run.fail("a", Some(1));
    assert_eq!(run.state("a"), Backoff);
}

#[test]
fn a_task_that_expired_before_its_turn_waits_again() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &["a"])],
    );
    let task = run.id("b");
    let _ = run.apply(Event::Expired { task });
    assert!(!run.apply(Event::Redriven { task }).is_ignored());
    assert_eq!(run.state("b"), Pending);
    run.succeed("a");
    run.succeed("b");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn there_is_no_way_back_where_nobody_waits() {
    // Not failed; failed fast; an upstream has failed too.
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("b", spec(), &["a"])],
    );
    let a = run.id("a");
    assert!(run.apply(Event::Redriven { task: a }).is_ignored());

    let tasks: &[(&str, Node, &[&str])] = &[("a", spec(), &[]), ("keep", spec(), &[])];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    run.expand("a", FailurePolicy::FailFast, &[("x", spec(), &[])]);
    run.fail("a/x", None);
    let task = run.id("a/x");
    assert!(run.apply(Event::Redriven { task }).is_ignored());

    let tasks: &[(&str, Node, &[&str])] = &[
        ("a", spec(), &[]),
        ("b", spec(), &["a"]),
        ("keep", spec(), &[]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    let (a, b) = (run.id("a"), run.id("b"));
    let _ = run.apply(Event::Expired { task: b });
    run.fail("a", None);
    assert!(run.apply(Event::Redriven { task: b }).is_ignored());
    assert!(!run.apply(Event::Redriven { task: a }).is_ignored());
    assert!(!run.apply(Event::Redriven { task: b }).is_ignored());
    assert_eq!(run.state("b"), Pending);
}

#[test]
fn a_redriven_task_may_expand_once_more() {
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", spec(), &[]), ("keep", spec(), &[])],
    );
    run.expand("a", FailurePolicy::Skip, &[("x", spec(), &[])]);
    run.fail("a/x", None);
    let task = run.id("a");
    let _ = run.apply(Event::ScopeFailed { task });
    let _ = run.apply(Event::Redriven { task });
    run.expand("a", FailurePolicy::Skip, &[("x", spec(), &[])]);
    run.succeed("a#2/x");
    assert!(run.has(Action::ScopeSettled {
        task,
        failed: false
    }));
    let _ = run.apply(Event::Resolved { task });
    let subtasks: Vec<TaskId> = run.scheduler.subtasks(task).collect();
    assert_eq!(subtasks, [run.id("a#2/x")]);
    assert_eq!(
        run.states(["a", "a/x", "a#2/x"]),
        [Succeeded, Failed, Succeeded]
    );
}
