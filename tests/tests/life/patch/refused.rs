//! Patches that do not fit: each is refused as a whole, and says why.

use coditect_core::ErrorKind;

use super::*;

/// A run whose first step runs and whose last one cannot begin before.
async fn begun(runtime: &Runtime, gate: &Gate) -> Result<RunHandle<u64>, Error> {
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    Ok(run)
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_with_the_task_and_the_reason() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let run = begun(&runtime, &gate).await?;
    type Change = fn(&mut Patch);
    let cases: [(&str, Change); 14] = [
        ("task `a` has begun: it is running", |patch| {
            patch.replace("a", &HELD, 2);
        }),
        ("task `a` has begun: it is running", |patch| {
            patch.remove("a");
        }),
        ("the plan has no task `x`", |patch| {
            patch.remove("x");
        }),
        ("the plan has no task `x`", |patch| {
            let x = patch.existing("x", &ADD);
            patch.task("new", &ADD, x);
        }),
        ("the plan has a task `b` already", |patch| {
            patch.task("b", &ADD, 1);
        }),
        ("two tasks have the key `new`", |patch| {
            patch.task("new", &ADD, 1);
            patch.task("new", &ADD, 1);
        }),
        ("task `c` calls `add`, not `sum`", |patch| {
            patch.replace("c", &SUM, vec![1]);
        }),
        ("task `c` needs task `b`, which is removed", |patch| {
            patch.remove("b");
        }),
        (
            "the result of the plan needs task `c`, which is removed",
            |patch| {
                patch.remove("c");
            },
        ),
        ("task `b` is both changed and removed", |patch| {
            patch.replace("b", &ADD, 1);
            patch.remove("b");
        }),
        (
            "the plan is no valid graph: the graph has a cycle: b → c → b",
            |patch| {
                let c = patch.existing("c", &ADD);
                patch.replace("b", &ADD, c);
            },
        ),
        (
            "task `c` does not wait for `b` without taking its output",
            |patch| {
                let (b, c) = (patch.existing("b", &ADD), patch.existing("c", &ADD));
                patch.not_after(&c, &b);
            },
        ),
        ("`c` refers to a task of another plan", |patch| {
            let other = Plan::builder().task("other", &ADD, 1);
            patch.replace("c", &ADD, other);
        }),
        (
            "`no such thing` is no requirement such as `count` or `count@^1.2`",
            |patch| {
                patch.task("new", &Call::<u64, u64>::new("no such thing"), 1);
            },
        ),
    ];
    for (why, change) in cases {
        let mut patch = Patch::new();
        // This much would fit.
        patch.task("fits", &ADD, 1);
        change(&mut patch);
        let error = run.patch(&patch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            chain(&error).starts_with(why),
            "{} instead of {why}",
            chain(&error)
        );
    }
    let within_which = Patch::within("b");
    let error = run.patch(&within_which).await.unwrap_err();
    assert_eq!(chain(&error), "task `b` has no plan that is under way");
    let error = run.patch(&Patch::within("z")).await.unwrap_err();
    assert_eq!(chain(&error), "the run has no task `z`");
    assert_eq!(run.revision().await?, 0);
    gate.open(1);
    assert_eq!(
        within(run.result()).await?,
        4,
        "as if nothing had been asked"
    );
    assert_eq!(run.report().await?.tasks.len(), 3);
    let error = run.patch(&Patch::new()).await.unwrap_err();
    assert_eq!(chain(&error), "the run has ended");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_what_failed_or_was_removed() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let held = plan.task("held", &HELD, 1);
    plan.task("broken", &BREAK, 1);
    plan.task("extra", &ADD, &held);
    let run = runtime.submit_plan(plan.output(held)?).await?;
    gate.arrived(1).await;
    let mut events = run.events().await?;
    until(&mut events, settled("broken")).await?;
    let mut patch = Patch::new();
    let broken = patch.existing("broken", &BREAK);
    patch.task("new", &ADD, broken);
    let error = run.patch(&patch).await.unwrap_err();
    assert_eq!(
        chain(&error),
        "task `new` needs task `broken`, which is failed"
    );

    let mut patch = Patch::new();
    patch.remove("extra");
    run.patch(&patch).await?;
    let mut patch = Patch::new();
    let extra = patch.existing("extra", &ADD);
    patch.task("new", &ADD, extra);
    let error = run.patch(&patch).await.unwrap_err();
    let why = "task `new` needs task `extra`, which was removed before";
    assert_eq!(chain(&error), why);

    // A task that runs all the same takes care of the failure.
    let mut patch = Patch::new();
    let broken = patch.existing("broken", &BREAK);
    let care = patch.task("care", &ADD, 1);
    patch.after(&care, &broken);
    patch.configure(&care, |task| task.run_after_failure());
    assert_eq!(run.patch(&patch).await?, 2);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_what_is_added() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let limits = coditect_core::RunLimits::default().with_max_tasks(4);
    let run = runtime.submit_plan(three_steps()?).limits(limits).await?;
    gate.arrived(1).await;
    let mut patch = Patch::new();
    patch.task("fourth", &ADD, 1);
    patch.task("fifth", &ADD, 1);
    let error = run.patch(&patch).await.unwrap_err();
    let why = "the patch would bring the run to 5 tasks, at most 4 are allowed";
    assert_eq!(chain(&error), why);
    gate.open(1);
    within(run.result()).await?;
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_was_expected_must_be_there() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let run = begun(&runtime, &gate).await?;
    let mut patch = Patch::new();
    patch.expecting(0).task("new", &ADD, 1);
    assert_eq!(run.patch(&patch).await?, 1);
    let mut patch = Patch::new();
    patch.expecting(0).task("newer", &ADD, 1);
    let error = run.patch(&patch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(chain(&error), "the graph is at revision 1, not at 0");
    patch.expecting(1);
    assert_eq!(run.patch(&patch).await?, 2);
    gate.open(1);
    within(run.result()).await?;
    runtime.shutdown().await
}
