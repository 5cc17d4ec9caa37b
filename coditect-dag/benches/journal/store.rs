//! Durable tasks a second through a `StoreJournal` over an `EmbeddedStore`, against a bare `redb` loop that writes as many
//! bytes under as many keys in commits of the same size; how long a run of 100,000 tasks takes to load; bytes a task.
//!
//! A task is two records, dispatched and succeeded with a small output. Each owner of a partition appends one batch after
//! the other, and several owners share the store's commits. The bare loop has one commit for each batch of one owner, and
//! for as many owners it takes all their batches into one commit. It is told every byte beforehand, checks nothing, and
//! commits in `redb`'s default way, with one sync instead of two.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::{
    Batch, Partition, PartitionCount, RecordKind, RunJournal, StoreJournal, StoreJournalConfig,
    Submission, partition_of,
};
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_state::{EmbeddedStore, Range, StateStore, StateStoreExt, TransactionExt};
use redb::{Database, TableDefinition};
use tokio::time::Instant;

const TASKS: u32 = 100_000;
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bare");

struct Ours {
    took: Duration,
    load: Duration,
    file: u64,
    keys: u64,
    bytes: u64,
}

/// A run whose id falls into a partition.
fn run_in(partition: Partition, count: PartitionCount) -> RunId {
    loop {
        let run = RunId::new();
        if partition_of(run, count) == partition {
            return run;
        }
    }
}

async fn own(journal: Arc<StoreJournal>, partition: Partition, tasks: u32, size: u32) -> RunId {
    let run = run_in(partition, journal.partitions());
    let submission = Submission::new(run, "{}", Timestamp::EPOCH);
    journal.submit(submission).await.expect("a submission");
    let claim = journal
        .claim(partition, "bench", Duration::from_secs(3_600))
        .await;
    let lease = claim.expect("a claim").expect("a lease");
    let mut batch = Batch::new();
    for first in (0..tasks).step_by(size as usize) {
        for task in (first..tasks.min(first + size)).map(TaskId::new) {
            let attempt = Attempt::FIRST;
            let incarnation = None;
            let dispatched = RecordKind::Dispatched {
                task,
                attempt,
                incarnation,
            };
            let output = Bytes::from(format!(r#"{{"words":{task},"text":"some output"}}"#));
            let succeeded = RecordKind::Succeeded {
                task,
                attempt,
                output,
            };
            let at = Timestamp::from_millis(1_700_000_000_000 + u64::from(task.get()));
            batch.push(run, dispatched.at(at));
            batch.push(run, succeeded.at(at));
        }
        journal.append(&lease, &mut batch).await.expect("an append");
    }
    run
}

async fn ours(path: &Path, owners: u16, size: u32) -> Ours {
    let store = EmbeddedStore::open(path).await.expect("a store");
    let count = PartitionCount::new(owners).expect("an owner");
    let config = StoreJournalConfig::default().with_partitions(count);
    let shared: Arc<dyn StateStore> = Arc::new(store.clone());
    let journal = StoreJournal::open(shared, config.clone())
        .await
        .expect("a journal");
    let journal = Arc::new(journal);
    let tasks = TASKS / u32::from(owners);
    let begin = Instant::now();
    let owned: Vec<_> = count
        .partitions()
        .map(|partition| tokio::spawn(own(Arc::clone(&journal), partition, tasks, size)))
        .collect();
    let mut run = RunId::new();
    for owner in owned {
        run = owner.await.expect("an owner");
    }
    let took = begin.elapsed();
    let all =
        |mut tx: coditect_state::Tx| async move { tx.range_all(Range::bounds::<&[u8]>(..)).await };
    let entries = store.transact(all).await.expect("all entries");
    let bytes: usize = entries.iter().map(|it| it.key.len() + it.value.len()).sum();
    drop(journal);
    store.close().await.expect("a close");
    let file = std::fs::metadata(path).expect("a file").len();

    // As the next owner finds it: nothing in memory.
    let store = EmbeddedStore::open(path).await.expect("a store");
    let journal = StoreJournal::open(Arc::new(store), config)
        .await
        .expect("a journal");
    let begin = Instant::now();
    let log = journal.load(run).await.expect("a load").expect("a run");
    let load = begin.elapsed();
    assert_eq!(log.tail.len(), 2 * tasks as usize);
    Ours {
        took,
        load,
        file,
        keys: entries.len() as u64,
        bytes: bytes as u64,
    }
}

/// Writes as many bytes under as many keys, in as many commits as there are rounds of batches.
fn bare(path: &Path, commits: u64, ours: &Ours) -> Duration {
    let database = Database::create(path).expect("a database");
    let (each, length) = (
        ours.keys.div_ceil(commits),
        (ours.bytes / ours.keys).max(32),
    );
    let value = vec![7; length as usize - 28];
    let mut number = 0_u64;
    let begin = Instant::now();
    for _ in 0..commits {
        let write = database.begin_write().expect("a transaction");
        {
            let mut table = write.open_table(TABLE).expect("a table");
            for _ in 0..each {
                let mut key = [0; 28];
                key[20..].copy_from_slice(&number.to_be_bytes());
                number += 1;
                table.insert(&key[..], &*value).expect("an insert");
            }
        }
        write.commit().expect("a commit");
    }
    begin.elapsed()
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "owners  tasks/batch  durable tasks/s  bare redb tasks/s  ratio  load of a run  bytes/task  in the file"
    );
    for (owners, size) in [(1, 16), (1, 100), (1, 1_000), (8, 16), (8, 100), (64, 16)] {
        let directory = tempfile::tempdir().expect("a directory");
        let ours = runtime.block_on(ours(&directory.path().join("ours"), owners, size));
        let commits = u64::from(TASKS) / u64::from(u32::from(owners) * size);
        let bare = bare(&directory.path().join("bare"), commits.max(1), &ours);
        let rate = |took: Duration| f64::from(TASKS) / took.as_secs_f64();
        println!(
            "{owners:>6} {size:>12} {:>16.0} {:>18.0} {:>6.2} {:>6} {:>5.0} ms {:>11} {:>12}",
            rate(ours.took),
            rate(bare),
            rate(ours.took) / rate(bare),
            TASKS / u32::from(owners),
            ours.load.as_secs_f64() * 1e3,
            ours.bytes / u64::from(TASKS),
            ours.file / u64::from(TASKS),
        );
    }
}
