//! Timers in a file and on Redis, whose process dies meanwhile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_core::dag::journal::{
    PartitionCount, RunJournal, RunSummary, StoreJournal, StoreJournalConfig,
};
use coditect_core::prelude::*;
use coditect_core::state::{EmbeddedStore, RedisStore, StateStore};
use coditect_core::{Error, Missed, Occasion, Overlap, RunFilter, RunState, Timing};
use coditect_harness::{Redis, required};

use crate::stage::Notes;
use crate::stores::{Clock, clocked};
use crate::{HOUR, NOTE, again, note, soon};

const LEASE: Duration = Duration::from_millis(300);
const MINUTE: Duration = Duration::from_secs(60);

async fn starts_when_its_process_is_gone(state: &str) -> Result<(), Error> {
    let notes = Notes::new();
    let origin = SystemTime::now();
    let on = |seed, now| {
        let builder = Runtime::builder().state(state).leases(LEASE, LEASE);
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
    let early = notes.all().into_iter().filter(|x| *x < 10).count();
    assert_eq!(early, 0, "their time has not come");

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

/// A store as the next process opens it.
async fn open(place: &Place) -> Arc<dyn StateStore> {
    match place {
        Place::File(path) => {
            let opened = async {
                loop {
                    // The process before lets go of it when its last task has noticed.
                    match EmbeddedStore::open(path).await {
                        Ok(store) => return store,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            };
            Arc::new(soon(opened).await)
        }
        Place::Redis(url) => Arc::new(RedisStore::connect(url).await.expect("it answers")),
    }
}

enum Place {
    File(std::path::PathBuf),
    Redis(String),
}

/// A runtime of one partition whose schedules go by this clock.
async fn process(place: &Place, clock: &Clock, notes: &Notes<u64>) -> Runtime {
    let store = open(place).await;
    let one = PartitionCount::new(1).expect("not none");
    let config = StoreJournalConfig::default().with_partitions(one);
    let journal = StoreJournal::open(Arc::clone(&store), config).await;
    let journal: Arc<dyn RunJournal> = Arc::new(journal.expect("it opens"));
    let builder = Runtime::builder()
        .state((journal, clocked(store, clock)))
        .leases(LEASE, LEASE)
        .agent(note(notes));
    builder.start().await.expect("it starts")
}

/// Waits until a schedule has had so many runs, and tells for which hours.
async fn hours(runtime: &Runtime, name: &str, count: usize) -> Vec<u64> {
    let filter = RunFilter {
        label: Some((Occasion::SCHEDULE.to_owned(), name.to_owned())),
        ..RunFilter::default()
    };
    let mut runs = Vec::new();
    let counted = async {
        while runs.len() < count {
            runs = runtime.runs(filter.clone()).await.expect("a list");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(counted).await;
    let hour = |run: &RunSummary| {
        let nominal = &run.labels[Occasion::NOMINAL];
        nominal[11..13].parse().expect("an hour")
    };
    let mut hours: Vec<u64> = runs.iter().map(hour).collect();
    hours.sort_unstable();
    hours
}

const POLICIES: [(&str, Missed, &[u64]); 4] = [
    ("skip", Missed::Skip, &[]),
    ("last", Missed::Last, &[3]),
    ("two", Missed::All(2), &[2, 3]),
    ("all", Missed::All(500), &[1, 2, 3]),
];

/// A process is down over three occurrences; the next one makes up for what each policy says, and goes on.
async fn what_was_missed_is_made_up_for(place: Place) -> Result<(), Error> {
    let notes = Notes::new();
    let clock = Clock::set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));
    let first = process(&place, &clock, &notes).await;
    for (name, missed, _) in POLICIES {
        let submit = first
            .submit(&NOTE, 7)
            .on_schedule(name, Timing::cron("0 * * * *"));
        submit.missed(missed).overlap(Overlap::Allow).await?;
    }
    drop(first);
    clock.jump(3 * HOUR + 30 * MINUTE);

    let second = process(&place, &clock, &notes).await;
    for (name, _, expected) in POLICIES {
        let hours = hours(&second, name, expected.len()).await;
        assert_eq!(hours, expected, "{name}");
    }
    // While it sleeps an hour the machine is suspended, over one more occurrence; any change wakes it early.
    clock.jump(30 * MINUTE);
    second.schedule("skip").trigger().await?;
    for (name, _, expected) in POLICIES {
        let triggered = usize::from(name == "skip");
        let hours = hours(&second, name, expected.len() + 1 + triggered).await;
        assert_eq!(hours[expected.len() + triggered..], [4], "{name}");
        let info = second.schedule(name).info().await?;
        assert_eq!(info.missed_occurrences, 3 - expected.len() as u64, "{name}");
    }
    soon(second.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_what_was_missed_is_made_up_for_as_the_policy_says() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    what_was_missed_is_made_up_for(Place::File(folder.path().join("runs.redb"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_what_was_missed_is_made_up_for_as_the_policy_says() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    what_was_missed_is_made_up_for(Place::Redis(redis.url())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_coordinators_that_come_and_go_on_redis_each_occurrence_has_one_run() -> Result<(), Error>
{
    const EACH: usize = 5;
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    redis
        .cli(&["config", "set", "appendonly", "yes"])
        .await
        .expect("set");
    let notes = Notes::new();
    let url = redis.url();
    let on = || Runtime::builder().state(url.as_str()).leases(LEASE, LEASE);
    let watcher = on().worker_only().start().await?;
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(on().agent(note(&notes)).start().await?);
    }
    let names: Vec<_> = (0..4).map(|number| format!("s-{number}")).collect();
    for name in &names {
        let timing = Timing::every(Duration::from_secs(1)).at_most(EACH as u64);
        let submit = watcher.submit(&NOTE, 1).on_schedule(name.as_str(), timing);
        submit
            .missed(Missed::All(500))
            .overlap(Overlap::Allow)
            .await?;
    }
    let runs = async |name: &str| {
        let filter = RunFilter {
            label: Some((Occasion::SCHEDULE.to_owned(), name.to_owned())),
            ..RunFilter::default()
        };
        watcher.runs(filter).await.expect("a list")
    };
    let all_done = async {
        let mut turn = 0;
        loop {
            let mut done = true;
            for name in &names {
                done &= runs(name).await.len() >= EACH;
            }
            if done {
                return;
            }
            turn += 1;
            if turn % 20 == 0 {
                // It gives nothing back, as if it had been killed, and another one comes.
                drop(nodes.remove(0));
                nodes.push(on().agent(note(&notes)).start().await.expect("it starts"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(all_done).await;
    for name in &names {
        let runs = runs(name).await;
        let mut nominals: Vec<_> = runs
            .iter()
            .map(|it| &it.labels[Occasion::NOMINAL])
            .collect();
        nominals.sort_unstable();
        nominals.dedup();
        assert_eq!(
            (runs.len(), nominals.len()),
            (EACH, EACH),
            "{name}: {nominals:?}"
        );
        assert_eq!(
            watcher.schedule(name.as_str()).info().await?.fired,
            EACH as u64
        );
    }
    for node in nodes {
        soon(node.shutdown()).await?;
    }
    soon(watcher.shutdown()).await
}
