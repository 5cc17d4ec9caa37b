//! Bounds on expansion, and expansions that come from outside.

use super::*;
use crate::ErrorKind;

fn limited(limits: Limits) -> Run {
    let options = Options::default().with_limits(limits);
    let mut run = Run::new(options, &[("a", spec(), &[]), ("b", spec(), &["a"])]);
    let _ = run.apply(Event::Started);
    run
}

/// Lets `key` expand into two tasks and returns the refusal.
fn refusal(run: &mut Run, key: &str) -> String {
    let two = graph(&[("x", spec(), &[]), ("y", spec(), &[])]);
    run.dispatch(key);
    let (task, attempt) = (run.id(key), run.attempt(key));
    let expansion = expansion(&two, FailurePolicy::Skip);
    let foretold = run.scheduler.check_expansion(task, &expansion).unwrap_err();
    match run.apply(Event::Expanded {
        task,
        attempt,
        expansion,
    }) {
        Applied::Refused(error) => {
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert_eq!(error.to_string(), foretold.to_string());
            error.to_string()
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_expansion_that_is_too_wide_fails_its_task() {
    let mut run = limited(Limits {
        max_width: 1,
        ..Limits::default()
    });
    assert_eq!(
        refusal(&mut run, "a"),
        "expansion of task 0 has 2 tasks, at most 1 are allowed"
    );
    assert_eq!(run.settled()[0], ("a", Failed, Cause::ExpansionRefused));
    assert_eq!(run.scheduler.len(), 2);
    assert!(run.run_settled(Failed));
}

#[test]
fn an_expansion_that_is_too_deep_fails_its_task() {
    let mut run = limited(Limits {
        max_depth: 1,
        ..Limits::default()
    });
    run.expand("a", FailurePolicy::Skip, &[("x", spec(), &[])]);
    assert_eq!(
        refusal(&mut run, "a/x"),
        "expansion of task 2 would be 2 levels deep, at most 1 are allowed"
    );
    assert!(run.has(Action::ScopeSettled {
        task: run.id("a"),
        failed: true
    }));
}

#[test]
fn an_expansion_that_makes_the_run_too_large_fails_its_task() {
    let mut run = limited(Limits {
        max_tasks: 3,
        ..Limits::default()
    });
    assert_eq!(
        refusal(&mut run, "a"),
        "expansion of task 0 would bring the run to 4 tasks, at most 3 are allowed"
    );
}

#[test]
fn a_graph_that_is_too_large_from_the_start_makes_no_scheduler() {
    let limits = Limits {
        max_tasks: 1,
        ..Limits::default()
    };
    let graph = graph(&[("a", spec(), &[]), ("b", spec(), &[])]);
    let options = Options::default().with_limits(limits);
    let error = Scheduler::new(&graph, |_, spec| *spec, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(
        error.to_string(),
        "the graph has 2 tasks, at most 1 are allowed"
    );
}

#[test]
fn an_expansion_survives_the_journal() {
    let sub = graph(&[("x", spec(), &[]), ("y", spec(), &["x"])]);
    let event = Event::Expanded {
        task: TaskId::new(0),
        attempt: Attempt::FIRST,
        expansion: expansion(&sub, FailurePolicy::FailFast),
    };
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event<u8>>(&text).unwrap(), event);
}

#[test]
fn an_unsound_expansion_cannot_be_read() {
    let task = r#"{"priority":0,"class":0,"max_attempts":1,"max_losses":0,"join":"all_succeeded"}"#;
    let read = |edges: &str| {
        let text = format!(r#"{{"tasks":[{task},{task}],"edges":{edges},"policy":"skip"}}"#);
        serde_json::from_str::<Expansion<u8>>(&text).map_err(|error| error.to_string())
    };
    assert_eq!(read("[[0,1],[0,1]]").unwrap().edges(), [(0, 1)]);
    assert_eq!(
        read("[[0,1],[1,0]]").unwrap_err(),
        "the expansion has a cycle"
    );
    assert_eq!(read("[[1,1]]").unwrap_err(), "the expansion has a cycle");
    assert_eq!(
        read("[[0,2]]").unwrap_err(),
        "edge 0 → 2 leaves an expansion of 2 tasks"
    );
    assert_eq!(
        read("[[4294967295,0]]").unwrap_err(),
        "edge 4294967295 → 0 leaves an expansion of 2 tasks"
    );
}
