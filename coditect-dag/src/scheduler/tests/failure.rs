//! What a task that ends without success does to the others.

use super::*;

/// `bad` fails; `next` and `last` hang on it in a row, `other` does not.
fn story(policy: FailurePolicy, next: Node) -> Run {
    let mut run = Run::start(
        policy,
        &[
            ("bad", spec(), &[]),
            ("other", spec(), &[]),
            ("next", next, &["bad"]),
            ("last", spec(), &["next", "other"]),
        ],
    );
    run.dispatch("other");
    run.fail("bad", None);
    run
}

#[test]
fn skip_skips_what_hangs_on_the_failure_and_goes_on() {
    let mut run = story(FailurePolicy::Skip, spec());
    assert_eq!(
        run.settled(),
        [
            ("bad", Failed, Cause::NotRetryable),
            ("next", Skipped, Cause::Upstream(run.id("bad"))),
            ("last", Skipped, Cause::Upstream(run.id("next"))),
        ]
    );
    assert_eq!(run.state("other"), Running);
    let (task, attempt) = (run.id("other"), run.attempt("other"));
    let _ = run.apply(Event::Succeeded { task, attempt });
    assert!(run.run_settled(Failed));
}

#[test]
fn fail_fast_cancels_everything_and_stops_what_runs() {
    let run = story(FailurePolicy::FailFast, spec());
    let cause = Cause::FailFast(run.id("bad"));
    assert_eq!(
        run.states(["bad", "other", "next", "last"]),
        [Failed, Cancelled, Cancelled, Cancelled]
    );
    assert!(run.has(Action::Stop {
        task: run.id("other"),
        attempt: Attempt::FIRST,
        reason: cause
    }));
    assert!(run.run_settled(Failed));
}

#[test]
fn continue_runs_downstream_all_the_same() {
    let mut run = story(FailurePolicy::Continue, spec());
    assert_eq!(run.state("next"), Ready);
    run.succeed("next");
    let (task, attempt) = (run.id("other"), run.attempt("other"));
    let _ = run.apply(Event::Succeeded { task, attempt });
    run.succeed("last");
    assert!(run.run_settled(Succeeded), "the only sink succeeded");
}

#[test]
fn a_join_of_settled_tasks_takes_care_of_a_failure() {
    let mut run = story(FailurePolicy::Skip, spec().with_join(Join::AllSettled));
    assert_eq!(run.states(["next", "last"]), [Ready, Pending]);
    run.succeed("next");
    let (task, attempt) = (run.id("other"), run.attempt("other"));
    let _ = run.apply(Event::Succeeded { task, attempt });
    run.succeed("last");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn a_join_of_settled_tasks_waits_for_all_of_them() {
    let collect = spec().with_join(Join::AllSettled);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("a", spec(), &[]),
            ("b", spec(), &[]),
            ("all", collect, &["a", "b"]),
        ],
    );
    run.fail("a", None);
    assert_eq!(run.state("all"), Pending);
    run.fail("b", None);
    assert_eq!(run.state("all"), Ready);
}

#[test]
fn cancelling_a_task_cancels_what_hangs_on_it() {
    let mut run = Run::start(
        FailurePolicy::FailFast,
        &[
            ("a", spec(), &[]),
            ("b", spec(), &["a"]),
            ("c", spec(), &[]),
        ],
    );
    run.dispatch("a");
    let task = run.id("a");
    let _ = run.apply(Event::Cancelled { task });
    assert!(run.has(Action::Stop {
        task,
        attempt: Attempt::FIRST,
        reason: Cause::Cancelled
    }));
    assert_eq!(run.states(["a", "b", "c"]), [Cancelled, Cancelled, Ready]);
    assert!(run.apply(Event::Cancelled { task }).is_ignored());
    run.succeed("c");
    assert!(run.run_settled(Cancelled));
}

#[test]
fn a_deadline_fails_a_task_in_any_open_state() {
    let retried = spec().with_max_attempts(5);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[
            ("running", spec(), &[]),
            ("backoff", retried, &[]),
            ("ready", spec(), &[]),
            ("pending", spec(), &["ready"]),
            ("last", spec(), &["pending"]),
        ],
    );
    run.dispatch("running");
    run.fail("backoff", Some(10));
    for key in ["pending", "ready", "backoff", "running"] {
        let task = run.id(key);
        let _ = run.apply(Event::Expired { task });
        assert_eq!(run.state(key), Failed);
        assert_eq!(run.settled()[0].2, Cause::Deadline);
        let stopped = run
            .actions
            .iter()
            .any(|action| matches!(action, Action::Stop { .. }));
        assert_eq!(stopped, key == "running");
        assert!(run.apply(Event::Expired { task }).is_ignored());
    }
    assert_eq!(run.scheduler.next_wake(), None);
    assert_eq!(run.scheduler.ready_len(Class(0)), 0);
    assert_eq!(run.scheduler.outcome(), Some(Failed));
}

#[test]
fn the_run_can_be_ended_as_a_whole() {
    for (event, state, cause) in [
        (Event::RunResolved, Succeeded, Cause::RunResolved),
        (Event::RunFailed, Failed, Cause::RunFailed),
        (Event::RunCancelled, Cancelled, Cause::RunCancelled),
    ] {
        let mut run = Run::start(
            FailurePolicy::Skip,
            &[
                ("a", spec(), &[]),
                ("b", spec(), &["a"]),
                ("c", spec(), &[]),
            ],
        );
        run.succeed("a");
        run.dispatch("c");
        assert!(!run.apply(event.clone()).is_ignored());
        assert_eq!(
            run.settled(),
            [("b", Cancelled, cause), ("c", Cancelled, cause)]
        );
        assert!(run.has(Action::Stop {
            task: run.id("c"),
            attempt: Attempt::FIRST,
            reason: cause
        }));
        assert!(run.run_settled(state));
        assert!(run.apply(event).is_ignored());
    }
}

#[test]
fn a_run_can_be_cancelled_before_its_start() {
    let mut run = Run::new(Options::default(), &[("a", spec(), &[])]);
    assert!(!run.apply(Event::RunCancelled).is_ignored());
    assert!(run.run_settled(Cancelled));
    assert!(run.apply(Event::Started).is_ignored());
}

#[test]
fn tasks_cancelled_before_the_start_settle_the_run_at_the_start() {
    let join = spec().with_join(Join::AllSettled);
    let mut run = Run::new(
        Options::default(),
        &[
            ("a", spec(), &[]),
            ("b", spec(), &["a"]),
            ("c", join, &["a"]),
        ],
    );
    let task = run.id("a");
    let _ = run.apply(Event::Cancelled { task });
    assert_eq!(run.states(["a", "b", "c"]), [Cancelled, Cancelled, Pending]);
    let _ = run.apply(Event::Started);
    assert_eq!(run.state("c"), Ready);
    run.succeed("c");
    assert!(run.run_settled(Cancelled), "b is a sink and was cancelled");
}

#[test]
fn a_cause_reads_like_a_sentence_and_survives_the_wire() {
    let lost = Cause::LossesExhausted(LossReason::WorkerGone);
    assert_eq!(lost.to_string(), "lost too often: the worker is gone");
    let upstream = Cause::Upstream(TaskId::new(3));
    assert_eq!(
        upstream.to_string(),
        "task 3, which it needed, did not succeed"
    );
    for cause in [lost, upstream, Cause::Completed] {
        let text = serde_json::to_string(&cause).unwrap();
        assert_eq!(serde_json::from_str::<Cause>(&text).unwrap(), cause);
    }
}
