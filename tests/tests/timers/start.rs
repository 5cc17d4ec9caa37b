//! Runs that wait for their start.

use std::time::{Duration, SystemTime};

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind, RunFilter, RunState};

use crate::stage::{Notes, Shared, failure};
use crate::{HOUR, NOTE, Wall, note, within};

const MINUTE: Duration = Duration::from_secs(60);

async fn started_after(run: &RunHandle<u64>, from: SystemTime) -> Duration {
    let started = run.summary().await.expect("known").started_at;
    let started = SystemTime::from(started.expect("it has begun"));
    started.duration_since(from).expect("later")
}

#[tokio::test(start_paused = true)]
async fn a_run_starts_when_it_is_to_and_is_listed_as_scheduled_until_then() -> Result<(), Error> {
    let (wall, notes) = (Wall::new(), Notes::new());
    let runtime = wall.set(Runtime::builder(), 1).agent(note(&notes));
    let runtime = runtime.start().await?;
    let submit = |x| {
        let submit = runtime.submit(&NOTE, x).idempotency_key("one");
        submit.start_at(wall.origin + HOUR)
    };
    let run = submit(1).await?;
    assert_eq!(submit(2).await?.id(), run.id(), "its key holds at once");
    assert_eq!(runtime.run(&NOTE, 7).await?, 7, "others do not wait for it");
    let filter = RunFilter {
        state: Some(RunState::Scheduled),
        ..RunFilter::default()
    };
    let listed = runtime.runs(filter.clone()).await?;
    assert_eq!(listed.len(), 1);
    let start_at = listed[0].start_at.map(SystemTime::from);
    assert_eq!(
        (listed[0].run, start_at),
        (run.id(), Some(wall.origin + HOUR))
    );

    tokio::time::sleep(HOUR - MINUTE).await;
    assert_eq!(
        (run.state().await?, notes.all()),
        (RunState::Scheduled, vec![7])
    );
    assert_eq!(within(run.result()).await?, 1);
    let late = started_after(&run, wall.origin + HOUR).await;
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!(runtime.runs(filter).await?, []);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_start_that_has_passed_is_none() -> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(note(&Notes::new()))
        .start()
        .await?;
    for submit in [
        runtime.submit(&NOTE, 1).start_at(SystemTime::UNIX_EPOCH),
        runtime.submit(&NOTE, 1).start_after(Duration::ZERO),
    ] {
        let run = submit.await?;
        assert_eq!(run.summary().await?.start_at, None);
        assert_eq!(run.result().await?, 1);
    }
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_from_the_start_and_moves_with_it() -> Result<(), Error> {
    let wall = Wall::new();
    let runtime = wall.set(Runtime::builder(), 1).start().await?;
    let submit = || runtime.submit(&NOTE, 1).deadline(MINUTE);
    let ends = async |run: &RunHandle<u64>| {
        let failure = failure(within(run.result()).await);
        assert_eq!(failure.kind, FailureKind::Unserved);
        let ended = run.summary().await.expect("known").settled_at;
        let ended = SystemTime::from(ended.expect("it has ended"));
        ended.duration_since(wall.origin).expect("later").as_secs()
    };
    let before = submit().start_after(HOUR).await?;
    assert_eq!(ends(&before).await, 3_600 + 60);
    let later = submit().start_after(MINUTE).await?;
    later.reschedule(wall.now() + HOUR).await?;
    assert_eq!(ends(&later).await, 2 * (3_600 + 60));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_is_put_off_and_brought_forward_until_it_has_begun() -> Result<(), Error> {
    let (wall, notes) = (Wall::new(), Notes::new());
    let runtime = wall.set(Runtime::builder(), 1).agent(note(&notes));
    let runtime = runtime.start().await?;
    let run = runtime.submit(&NOTE, 1).start_after(HOUR).await?;
    let mut events = run.events().await?;
    for hours in [5, 2, 2] {
        run.reschedule(wall.origin + hours * HOUR).await?;
    }
    for hours in [5, 2] {
        let event = within(events.next()).await?.expect("it goes on");
        let at = wall.origin + hours * HOUR;
        assert!(
            matches!(event.kind, RunEventKind::Rescheduled(to) if SystemTime::from(to) == at),
            "{event:?}"
        );
    }
    within(run.result()).await?;
    assert_eq!(started_after(&run, wall.origin).await.as_secs(), 2 * 3_600);
    let late = run
        .reschedule(wall.now() + HOUR)
        .await
        .expect_err("it has ended");
    assert_eq!(late.kind(), ErrorKind::Invalid);

    let now = runtime.submit(&NOTE, 2).start_after(HOUR).await?;
    now.reschedule(SystemTime::UNIX_EPOCH).await?;
    let asked = wall.now();
    within(now.result()).await?;
    assert!(started_after(&now, asked - MINUTE).await < 2 * MINUTE);
    let at_once = runtime.submit(&NOTE, 3).await?;
    let never = at_once
        .reschedule(wall.now() + HOUR)
        .await
        .expect_err("it did not wait");
    assert_eq!(never.kind(), ErrorKind::Invalid);
    within(at_once.result()).await?;
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_is_cancelled_and_waits_again_when_it_is_retried() -> Result<(), Error> {
    let (wall, notes) = (Wall::new(), Notes::new());
    let runtime = wall.set(Runtime::builder(), 1).agent(note(&notes));
    let runtime = runtime.start().await?;
    let cancelled = async |x| {
        let submit = runtime.submit(&NOTE, x).deadline(MINUTE);
        let run = submit.start_after(HOUR).await.expect("accepted");
        run.cancel("not yet").await.expect("asked");
        let state = within(run.settled()).await.expect("it ends").state;
        assert_eq!(state, RunState::Cancelled);
        run
    };
    let soon = cancelled(1).await;
    soon.retry().await?;
    assert_eq!(within(soon.result()).await?, 1);
    assert_eq!(started_after(&soon, wall.origin).await.as_secs(), 3_600);

    let late = cancelled(2).await;
    tokio::time::sleep(5 * HOUR).await;
    late.retry().await?;
    assert_eq!(within(late.result()).await?, 2, "with all of its time");
    assert_eq!(notes.all(), [1, 2]);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_paused_over_its_start_begins_when_it_is_resumed() -> Result<(), Error> {
    let notes = Notes::new();
    let runtime = Runtime::builder().agent(note(&notes)).start().await?;
    let run = runtime.submit(&NOTE, 1).start_after(HOUR).await?;
    run.pause("a freeze").await?;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(
        (run.state().await?, notes.all()),
        (RunState::Paused, vec![])
    );
    run.resume().await?;
    assert_eq!(within(run.result()).await?, 1);

    let run = runtime.submit(&NOTE, 2).start_after(HOUR).await?;
    run.pause("a freeze").await?;
    run.resume().await?;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(run.state().await?, RunState::Scheduled);
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_starts_it_on_time_or_at_once_where_that_has_passed() -> Result<(), Error> {
    let (wall, shared, notes) = (Wall::new(), Shared::new(), Notes::new());
    let start = async |seed| {
        let builder = wall.set(shared.runtime(), seed).agent(note(&notes));
        builder.start().await.expect("it starts")
    };
    let first = start(1).await;
    let soon = first.submit(&NOTE, 1).start_after(HOUR).await?.id();
    let later = first.submit(&NOTE, 2).start_after(HOUR).await?;
    later.reschedule(wall.now() + 4 * HOUR).await?;
    let later = later.id();
    first.shutdown().await?;
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(notes.all(), [0_u64; 0]);

    let second = start(2).await;
    let (soon, later) = (second.attach::<u64>(soon), second.attach::<u64>(later));
    assert_eq!(within(soon.result()).await?, 1);
    assert_eq!(later.state().await?, RunState::Scheduled);
    assert_eq!(within(later.result()).await?, 2);
    assert_eq!(
        started_after(&later, wall.origin).await.as_secs(),
        4 * 3_600
    );
    second.shutdown().await
}
