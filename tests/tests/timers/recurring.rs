//! Schedules in one process, or several that share their memory.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{
    Error, ErrorKind, Occasion, Overlap, RunFilter, RunState, RunSummary, RuntimeBuilder, Schedule,
    ScheduleFilter, ScheduleInfo, ScheduleState, Timing,
};

use crate::stage::{Notes, Shared};
use crate::stores::{Clock, clocked};
use crate::{NOTE, Wall, note, within};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Between occurrences.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Ports with the clock of paused time.
pub(crate) fn ports(wall: &Wall) -> Shared {
    let shared = Shared::new();
    let store = clocked(Arc::clone(shared.store()), &Clock::Wall(*wall));
    shared.with_store(store)
}

pub(crate) async fn start(wall: &Wall, shared: &Shared, agent: impl Agent) -> Runtime {
    static SEEDS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let seed = SEEDS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let builder: RuntimeBuilder = wall.set(shared.runtime(), seed);
    builder.agent(agent).start().await.expect("it starts")
}

pub(crate) fn minutely() -> Timing {
    Timing::cron("* * * * *").with_zone("Europe/Berlin")
}

/// The runs of a schedule, the oldest occurrence first.
pub(crate) async fn runs(runtime: &Runtime, name: &str) -> Vec<RunSummary> {
    let filter = RunFilter {
        label: Some((Occasion::SCHEDULE.to_owned(), name.to_owned())),
        ..RunFilter::default()
    };
    let mut runs = runtime.runs(filter).await.expect("a list");
    runs.sort_by_key(|run| run.labels[Occasion::NOMINAL].clone());
    runs
}

/// Which occurrences of a schedule had a run.
pub(crate) async fn nominals(runtime: &Runtime, name: &str) -> Vec<String> {
    let runs = runs(runtime, name).await;
    let nominal = |run: RunSummary| run.labels[Occasion::NOMINAL].clone();
    runs.into_iter().map(nominal).collect()
}

pub(crate) async fn info(schedule: &Schedule) -> ScheduleInfo {
    schedule.info().await.expect("it is known")
}

/// An agent that notes for which occasion it is called, in seconds.
fn occasions(wall: &Wall, notes: &Notes<(String, u64)>) -> impl Agent + use<> {
    let (wall, notes) = (*wall, notes.clone());
    agent("note", move |context: TaskContext, x: u64| {
        let occasion = context.occasion().expect("a schedule has submitted it");
        let since = occasion.nominal().duration_since(wall.origin);
        let since = since.expect("later");
        let late = wall.now().duration_since(occasion.nominal());
        assert!(late.expect("not before") < SECOND);
        notes.push((occasion.schedule().to_owned(), since.as_secs()));
        async move { Ok::<_, AgentError>(x) }
    })
}

#[tokio::test(start_paused = true)]
async fn each_occurrence_is_a_run_that_knows_what_it_is_for() -> Result<(), Error> {
    let (wall, notes) = (Wall::new(), Notes::new());
    let runtime = start(&wall, &ports(&wall), occasions(&wall, &notes)).await;
    let submit = runtime
        .submit(&NOTE, 7)
        .label("kind", "report")
        .tenant("acme");
    let schedule = submit.on_schedule("minutely", minutely()).await?;
    let known = info(&schedule).await;
    assert_eq!(known.next, Some(wall.origin + MINUTE));
    assert_eq!((known.state, known.fired), (ScheduleState::Active, 0));

    tokio::time::sleep(3 * MINUTE + SECOND).await;
    let expected = [1, 2, 3].map(|minute| ("minutely".to_owned(), minute * 60));
    assert_eq!(notes.all(), expected);
    let runs = runs(&runtime, "minutely").await;
    assert_eq!(runs.len(), 3);
    for (run, minute) in runs.iter().zip(1..) {
        assert_eq!((&*run.tenant, &*run.labels["kind"]), ("acme", "report"));
        assert_eq!(
            run.labels[Occasion::NOMINAL],
            format!("2026-01-01T00:0{minute}:00Z")
        );
        assert_eq!(run.state, RunState::Succeeded);
    }
    let known = info(&schedule).await;
    assert_eq!(
        (known.fired, known.next),
        (3, Some(wall.origin + 4 * MINUTE))
    );
    let recent: Vec<_> = known.recent.iter().map(|it| it.run).collect();
    assert_eq!(recent, runs.iter().map(|run| run.run).collect::<Vec<_>>());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_made_again_stays_and_another_one_replaces_it_on_purpose()
-> Result<(), Error> {
    let wall = Wall::new();
    let runtime = start(&wall, &ports(&wall), note(&Notes::new())).await;
    let make = |x, timing| runtime.submit(&NOTE, x).on_schedule("one", timing);
    let schedule = make(1, minutely()).await?;
    let before = info(&schedule).await;
    tokio::time::sleep(SECOND).await;
    make(1, minutely()).await?;
    make(1, minutely()).replace().await?;
    assert_eq!(info(&schedule).await.updated_at, before.updated_at);
    for (x, timing) in [(2, minutely()), (1, Timing::every(SECOND))] {
        let error = make(x, timing).await.expect_err("it does something else");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("a schedule `one` already"),
            "{error}"
        );
    }
    make(1, Timing::every(SECOND).at_most(2)).replace().await?;
    tokio::time::sleep(5 * SECOND).await;
    let known = info(&schedule).await;
    assert_eq!(
        (known.state, known.fired, known.next),
        (ScheduleState::Ended, 2, None)
    );
    let expected = ["2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"];
    assert_eq!(nominals(&runtime, "one").await, expected);
    // Of its name, and nothing else of it.
    assert!(schedule.delete().await?);
    assert!(!schedule.delete().await?);
    make(1, Timing::every(MINUTE)).await?;
    assert_eq!(info(&schedule).await.fired, 0);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_occurrences_pass_and_a_trigger_comes_at_once() -> Result<(), Error> {
    let wall = Wall::new();
    let runtime = start(&wall, &ports(&wall), note(&Notes::new())).await;
    let schedule = runtime
        .submit(&NOTE, 7)
        .on_schedule("one", minutely())
        .await?;
    schedule.pause("nobody reads it").await?;
    schedule.pause("twice").await?;
    let paused = ScheduleState::Paused("nobody reads it".to_owned());
    assert_eq!(info(&schedule).await.state, paused);
    tokio::time::sleep(2 * MINUTE + SECOND).await;
    assert_eq!(nominals(&runtime, "one").await, [""; 0]);

    let run = schedule.trigger().await?;
    assert_eq!(within(runtime.attach::<u64>(run).result()).await?, 7);
    tokio::time::sleep(SECOND).await;
    let known = info(&schedule).await;
    assert_eq!((known.fired, known.recent.len()), (0, 1));
    assert!(known.recent[0].triggered && known.recent[0].run == run);

    schedule.resume().await?;
    schedule.resume().await?;
    tokio::time::sleep(MINUTE).await;
    let expected = ["2026-01-01T00:02:01Z", "2026-01-01T00:03:00Z"];
    assert_eq!(nominals(&runtime, "one").await, expected);
    let gone = runtime.schedule("none");
    for error in [
        gone.info().await.map(drop),
        gone.trigger().await.map(drop),
        gone.pause("x").await,
        gone.resume().await,
    ] {
        assert_eq!(
            error.expect_err("there is none").kind(),
            ErrorKind::NotFound
        );
    }
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_deleted_schedule_submits_nothing_more() -> Result<(), Error> {
    let wall = Wall::new();
    let runtime = start(&wall, &ports(&wall), note(&Notes::new())).await;
    let schedule = runtime
        .submit(&NOTE, 7)
        .on_schedule("one", minutely())
        .await?;
    tokio::time::sleep(MINUTE + SECOND).await;
    assert!(schedule.delete().await?);
    tokio::time::sleep(3 * MINUTE).await;
    assert_eq!(nominals(&runtime, "one").await, ["2026-01-01T00:01:00Z"]);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn schedules_are_listed_by_name_and_tenant_page_by_page() -> Result<(), Error> {
    let wall = Wall::new();
    let runtime = start(&wall, &ports(&wall), note(&Notes::new())).await;
    for number in 0..5 {
        let tenant = if number % 2 == 0 { "even" } else { "odd" };
        let submit = runtime.submit(&NOTE, number).tenant(tenant);
        submit
            .on_schedule(format!("s-{number}"), minutely())
            .await?;
    }
    let names = async |filter: ScheduleFilter| {
        let found = runtime.schedules(filter).await.expect("a list");
        let names: Vec<_> = found.iter().map(|it| it.name.to_string()).collect();
        names.join(" ")
    };
    let any = ScheduleFilter::default;
    assert_eq!(names(any()).await, "s-0 s-1 s-2 s-3 s-4");
    let tenant = Some("odd".into());
    assert_eq!(names(ScheduleFilter { tenant, ..any() }).await, "s-1 s-3");
    let (after, limit) = (Some("s-1".to_owned()), Some(2));
    let page = ScheduleFilter {
        after,
        limit,
        ..any()
    };
    assert_eq!(names(page).await, "s-2 s-3");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_schedule_is_refused_when_it_is_made() -> Result<(), Error> {
    let wall = Wall::new();
    let runtime = start(&wall, &ports(&wall), note(&Notes::new())).await;
    let submit = || runtime.submit(&NOTE, 7);
    let mut large = Plan::builder();
    let tasks: Vec<_> = (0..2_000)
        .map(|x| large.task(format!("a-task-of-many-{x}"), &NOTE, x))
        .collect();
    let large: Plan<Vec<u64>> = large.output(tasks)?;
    let refused = [
        (
            submit().on_schedule("", minutely()).await,
            "the name of a schedule",
        ),
        (
            submit().on_schedule("a\nb", minutely()).await,
            "`a\\nb` is none",
        ),
        (
            submit().on_schedule("x".repeat(201), minutely()).await,
            "1 to 200 bytes",
        ),
        (
            submit().on_schedule("x", Timing::cron("0 25 * * *")).await,
            "bad hour `25`",
        ),
        (
            submit()
                .on_schedule("x", minutely().with_zone("Mars/Phobos"))
                .await,
            "time zone `Mars/Phobos`",
        ),
        (
            submit()
                .idempotency_key("k")
                .on_schedule("x", minutely())
                .await,
            "an idempotency key of its own",
        ),
        (
            submit()
                .start_after(MINUTE)
                .on_schedule("x", minutely())
                .await,
            "when its runs start",
        ),
        (
            submit()
                .on_schedule("x", minutely())
                .overlap(Overlap::Buffer(0))
                .await,
            "occurrences wait must be from 1 to 500",
        ),
        (
            runtime
                .submit_plan(large)
                .on_schedule("x", minutely())
                .await,
            "65536 are allowed",
        ),
    ];
    for (refused, expected) in refused {
        let error = refused.expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains(expected),
            "{error} does not say: {expected}"
        );
    }
    assert_eq!(runtime.schedules(ScheduleFilter::default()).await?.len(), 0);
    runtime.shutdown().await?;
    let closed = submit().on_schedule("x", minutely()).await;
    assert_eq!(
        closed.expect_err("it has shut down").kind(),
        ErrorKind::Closed
    );
    Ok(())
}
