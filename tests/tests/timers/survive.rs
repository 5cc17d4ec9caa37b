//! Timers in a file and on Redis, whose process dies meanwhile.

use std::time::{Duration, SystemTime};

use coditect_core::prelude::*;
use coditect_core::{Error, RunState};
use coditect_harness::{Redis, required};

use crate::stage::Notes;
use crate::{HOUR, NOTE, again, note, soon};

async fn starts_when_its_process_is_gone(state: &str) -> Result<(), Error> {
    let notes = Notes::new();
    let lease = Duration::from_millis(300);
    let origin = SystemTime::now();
    let on = |seed, now| {
        let builder = Runtime::builder().state(state).leases(lease, lease);
        builder.simulated(seed, now).agent(note(&notes))
    };
    let first = on(1, origin).start().await?;
    let run = first.submit(&NOTE, 1).start_after(HOUR).await?;
    let later = first.submit(&NOTE, 2).start_after(HOUR).await?;
    // Whoever has heard of another run has heard of these before.
    for x in 10..20 {
        soon(first.run(&NOTE, x)).await?;
    }
    later.reschedule(origin + 24 * HOUR).await?;
    let ids = (run.id(), later.id());
    // Handles hold on to the file.
    drop((run, later));
    let (run, later) = ids;
    // Nothing is given back, as if it had been killed.
    drop(first);
    assert_eq!(notes.all().len(), 10);

    let second = again(|| on(2, origin + 2 * HOUR)).await?;
    assert_eq!(soon(second.attach::<u64>(run).result()).await?, 1);
    let later = second.attach::<u64>(later);
    assert_eq!(later.state().await?, RunState::Scheduled);
    later.reschedule(origin).await?;
    assert_eq!(soon(later.result()).await?, 2);
    soon(second.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_a_file_starts_though_its_process_is_gone() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.redb");
    starts_when_its_process_is_gone(&format!("file:{}", path.display())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_redis_starts_though_its_process_is_gone() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    redis
        .cli(&["config", "set", "appendonly", "yes"])
        .await
        .expect("set");
    starts_when_its_process_is_gone(&redis.url()).await
}
