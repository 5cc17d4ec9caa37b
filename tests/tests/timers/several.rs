//! Schedules of coordinators that come, go and die.

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::state::key::Subspace;
use coditect_core::state::{StateStoreExt, TransactionExt, Tx};

use crate::recurring::{MINUTE, SECOND, info, minutely, nominals, ports, start};
use crate::stage::{Count, Notes};
use crate::stores::{Dies, Dying};
use crate::{NOTE, Wall, note, within};

#[tokio::test(start_paused = true)]
async fn of_several_coordinators_one_submits_and_another_goes_on() -> Result<(), Error> {
    let (wall, count) = (Wall::new(), Count::default());
    let shared = ports(&wall).with_partitions(4);
    let tally = |count: &Count| {
        let count = count.clone();
        agent("note", move |x: u64| {
            count.add();
            async move { Ok::<_, AgentError>(x) }
        })
    };
    let worker = wall.set(shared.runtime(), 1_000).worker_only();
    let worker = worker.agent(tally(&count)).start().await?;
    for number in 0..6 {
        let submit = worker.submit(&NOTE, number);
        submit
            .on_schedule(format!("s-{number}"), minutely())
            .await?;
    }
    let mut nodes = Vec::new();
    for seed in 0..3 {
        nodes.push(wall.set(shared.runtime(), 2_000 + seed).start().await?);
    }
    for _ in 0..2 {
        tokio::time::sleep(2 * MINUTE).await;
        // One leaves; the others take its schedules over.
        nodes.remove(0).shutdown().await?;
    }
    tokio::time::sleep(2 * MINUTE + SECOND).await;
    let expected = [1, 2, 3, 4, 5, 6].map(|minute| format!("2026-01-01T00:0{minute}:00Z"));
    for number in 0..6 {
        assert_eq!(
            nominals(&worker, &format!("s-{number}")).await,
            expected,
            "s-{number}"
        );
    }
    assert_eq!(count.get(), 36);
    nodes.remove(0).shutdown().await?;
    worker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_dies_in_the_middle_leaves_one_run_of_the_occurrence() -> Result<(), Error> {
    for dies in [Dies::Before, Dies::After] {
        let (wall, notes) = (Wall::new(), Notes::new());
        let shared = ports(&wall);
        let dying = Dying::new(&shared.journal, dies);
        let doomed = shared.clone().with_journal(dying.clone());
        let first = start(&wall, &doomed, note(&notes)).await;
        first
            .submit(&NOTE, 7)
            .on_schedule("one", minutely())
            .await?;
        let died = within(dying.died.acquire()).await;
        died.expect("never closed").forget();
        let second = start(&wall, &shared, note(&notes)).await;
        tokio::time::sleep(MINUTE + SECOND).await;
        let expected = ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"];
        assert_eq!(nominals(&second, "one").await, expected, "{dies:?}");
        assert_eq!(notes.all(), [7, 7], "{dies:?}");
        let known = info(&second.schedule("one")).await;
        assert_eq!((known.fired, known.recent.len()), (2, 2), "{dies:?}");
        drop(first);
        second.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_triggered_by_a_process_that_dies_is_submitted_all_the_same() -> Result<(), Error>
{
    let (wall, notes) = (Wall::new(), Notes::new());
    let shared = ports(&wall);
    let dying = Dying::new(&shared.journal, Dies::Before);
    let doomed = shared.clone().with_journal(dying.clone());
    let worker = wall.set(doomed.runtime(), 77).worker_only().start().await?;
    let schedule = worker
        .submit(&NOTE, 7)
        .on_schedule("one", minutely())
        .await?;
    tokio::select! {
        _ = schedule.trigger() => panic!("it dies"),
        died = dying.died.acquire() => died.expect("never closed").forget(),
    }
    let second = start(&wall, &shared, note(&notes)).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(nominals(&second, "one").await, ["2026-01-01T00:00:00Z"]);
    assert_eq!(notes.all(), [7]);
    drop(worker);
    second.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_cannot_be_read_holds_up_no_other() -> Result<(), Error> {
    let (wall, notes) = (Wall::new(), Notes::new());
    let shared = ports(&wall).with_partitions(1);
    let runtime = start(&wall, &shared, note(&notes)).await;
    for name in ["bad", "good"] {
        runtime
            .submit(&NOTE, 7)
            .on_schedule(name, minutely())
            .await?;
    }
    let key = &Subspace::new(&("schedule",)).pack(&("definition", "bad"));
    let spoil = |mut tx: Tx| async move { tx.set_json(key, &"of a later release") };
    runtime.store().transact(spoil).await?;
    runtime.shutdown().await?;
    let next = start(&wall, &shared, note(&notes)).await;
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(nominals(&next, "good").await, ["2026-01-01T00:01:00Z"]);
    assert!(next.schedule("bad").info().await.is_err());
    assert!(next.schedule("bad").delete().await?, "it can be got rid of");
    next.shutdown().await
}
