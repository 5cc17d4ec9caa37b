//! Holding a run up, and changing what goes first.

use super::*;

const CLASS: Class = Class(0);

#[test]
fn a_paused_run_hands_nothing_out_and_lets_go_on_what_runs() {
    let tasks: &[(&str, Node, &[&str])] = &[
        ("a", spec(), &[]),
        ("b", spec(), &["a"]),
        ("c", spec(), &[]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    run.dispatch("a");
    assert!(matches!(run.apply(Event::Paused), Applied::Changed));
    assert!(run.scheduler.is_paused());
    assert_eq!(run.scheduler.peek(CLASS), None);
    assert_eq!(run.scheduler.classes_with_ready().len(), 0);
    let refused = run
        .scheduler
        .apply(&Event::Dispatched { task: run.id("c") }, &mut Vec::new());
    assert!(refused.is_err(), "{refused:?}");

    // The outcome of a running attempt counts, and what it frees waits with the rest.
    let (task, attempt) = (run.id("a"), run.attempt("a"));
    let _ = run.apply(Event::Succeeded { task, attempt });
    assert_eq!(run.states(["a", "b", "c"]), [Succeeded, Ready, Ready]);
    assert_eq!(run.scheduler.peek(CLASS), None);

    assert!(matches!(run.apply(Event::Resumed), Applied::Changed));
    assert_eq!(run.scheduler.peek(CLASS), Some((run.id("c"), 0)));
    run.succeed("c");
    run.succeed("b");
    assert!(run.run_settled(Succeeded));
}

#[test]
fn to_pause_twice_is_to_pause_once() {
    let mut run = Run::start(FailurePolicy::Skip, &[("a", spec(), &[])]);
    assert!(run.apply(Event::Resumed).is_ignored());
    let _ = run.apply(Event::Paused);
    assert!(run.apply(Event::Paused).is_ignored());
    let _ = run.apply(Event::Resumed);
    run.succeed("a");
    assert!(run.apply(Event::Paused).is_ignored(), "the run has ended");
}

#[test]
fn backoffs_end_and_cancels_work_while_a_run_is_paused() {
    let twice = spec().with_max_attempts(2);
    let mut run = Run::start(
        FailurePolicy::Skip,
        &[("a", twice, &[]), ("b", spec(), &[])],
    );
    run.fail("a", Some(5));
    let _ = run.apply(Event::Paused);
    let _ = run.apply(Event::Due {
        now: Timestamp::from_millis(5),
    });
    assert_eq!(run.state("a"), Ready);
    assert_eq!(run.scheduler.peek(CLASS), None);
    let _ = run.apply(Event::RunCancelled);
    assert!(run.run_settled(Cancelled));
}

#[test]
fn another_priority_is_another_place_in_the_queue() {
    let tasks: &[(&str, Node, &[&str])] = &[
        ("a", spec(), &[]),
        ("b", spec(), &[]),
        ("c", spec(), &[]),
        ("later", spec(), &["c"]),
    ];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    let (a, later) = (run.id("a"), run.id("later"));
    let lower = Event::Prioritized {
        tasks: vec![a, later],
        priority: 7,
    };
    assert!(!run.apply(lower.clone()).is_ignored());
    assert!(run.apply(lower).is_ignored(), "it is so already");
    assert_eq!(run.scheduler.priority(a), Some(7));
    assert_eq!(run.scheduler.peek(CLASS), Some((run.id("b"), 0)));
    run.succeed("b");
    run.succeed("c");
    // What did not wait in a queue yet has its new priority when it does.
    assert_eq!(run.scheduler.peek(CLASS), Some((a, 7)));
    run.succeed("a");
    assert_eq!(run.scheduler.peek(CLASS), Some((later, 7)));
}

#[test]
fn what_has_ended_keeps_its_priority_and_what_is_not_there_is_refused() {
    let tasks: &[(&str, Node, &[&str])] = &[("a", spec(), &[]), ("b", spec(), &[])];
    let mut run = Run::start(FailurePolicy::Skip, tasks);
    run.succeed("a");
    let (a, b) = (run.id("a"), run.id("b"));
    let to = |tasks: Vec<TaskId>| Event::Prioritized { tasks, priority: 3 };
    assert!(run.apply(to(vec![a])).is_ignored());
    let unknown = run
        .scheduler
        .apply(&to(vec![b, TaskId::new(99)]), &mut Vec::new());
    assert!(unknown.is_err());
    assert_eq!(run.scheduler.priority(b), Some(0), "all or nothing");
}
