//! Occurrences that come while an earlier run goes on.

use std::time::SystemTime;

use coditect_core::prelude::*;
use coditect_core::{Error, Occasion, Overlap, RunState};

use crate::recurring::{MINUTE, SECOND, info, minutely, nominals, ports, runs, start};
use crate::stage::Gate;
use crate::{NOTE, Wall};

/// An agent that waits at a gate.
fn held(gate: &Gate) -> impl Agent + use<> {
    let gate = gate.clone();
    agent("note", move |x: u64| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_waits_for_the_run_before_it_and_no_longer() -> Result<(), Error> {
    let (wall, gate) = (Wall::new(), Gate::new());
    let runtime = start(&wall, &ports(&wall), held(&gate)).await;
    let submit = runtime.submit(&NOTE, 7).on_schedule("one", minutely());
    let schedule = submit.overlap(Overlap::Buffer(1)).await?;
    tokio::time::sleep(3 * MINUTE + SECOND).await;
    gate.arrived(1).await;
    let known = info(&schedule).await;
    assert_eq!((known.fired, known.overlapped), (1, 1));
    assert_eq!(known.waiting, [wall.origin + 2 * MINUTE]);
    let before = wall.now();
    gate.open(1);
    gate.arrived(1).await;
    let waited = wall.now().duration_since(before).expect("later");
    assert!(
        waited < SECOND,
        "the next one comes when it has ended, and not {waited:?} later"
    );
    gate.open(9);
    tokio::time::sleep(MINUTE).await;
    let expected = [1, 2, 4].map(|minute| format!("2026-01-01T00:0{minute}:00Z"));
    assert_eq!(nominals(&runtime, "one").await, expected);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_is_left_out_or_replaces_or_comes_beside_a_run_that_goes_on()
-> Result<(), Error> {
    for (overlap, expected) in [
        (Overlap::Skip, vec![(1, RunState::Running)]),
        (
            Overlap::CancelPrevious,
            vec![
                (1, RunState::Cancelled),
                (2, RunState::Cancelled),
                (3, RunState::Running),
            ],
        ),
        (
            Overlap::Allow,
            vec![
                (1, RunState::Running),
                (2, RunState::Running),
                (3, RunState::Running),
            ],
        ),
    ] {
        let (wall, gate) = (Wall::new(), Gate::new());
        let runtime = start(&wall, &ports(&wall), held(&gate)).await;
        let submit = runtime.submit(&NOTE, 7).on_schedule("one", minutely());
        submit.overlap(overlap).await?;
        tokio::time::sleep(3 * MINUTE + SECOND).await;
        let runs = runs(&runtime, "one").await;
        let states = runs.iter().map(|run| {
            let minute = run.labels[Occasion::NOMINAL][14..16]
                .parse()
                .expect("a minute");
            (minute, run.state)
        });
        assert_eq!(states.collect::<Vec<_>>(), expected, "{overlap:?}");
        gate.open(9);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn runs_have_a_deadline_that_counts_from_their_submission() -> Result<(), Error> {
    let (wall, gate) = (Wall::new(), Gate::new());
    let runtime = start(&wall, &ports(&wall), held(&gate)).await;
    let submit = runtime.submit(&NOTE, 7).deadline(20 * SECOND);
    submit.on_schedule("one", minutely()).await?;
    tokio::time::sleep(2 * MINUTE + 30 * SECOND).await;
    let runs = runs(&runtime, "one").await;
    assert_eq!(runs.len(), 2);
    for run in &runs {
        let ended = SystemTime::from(run.settled_at.expect("its deadline has passed"));
        let after = ended
            .duration_since(run.submitted_at.into())
            .expect("later");
        // A handler is told to stop a little before.
        assert!((15 * SECOND..21 * SECOND).contains(&after), "{after:?}");
    }
    gate.open(9);
    runtime.shutdown().await
}
