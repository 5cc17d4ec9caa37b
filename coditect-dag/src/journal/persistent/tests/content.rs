//! Large content and large runs: kept once, given back whole, loaded without a gap.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coditect_state::{Committed, Range, StateObserver};

use super::*;
use crate::journal::{Batch, PartitionLease, RecordKind, RunJournal, Seq, Settlement, Submission};
use crate::{Attempt, RunId, TaskId, Timestamp};

struct Fixture {
    store: Arc<MemoryStore>,
    journal: StoreJournal,
    lease: PartitionLease,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new())).await
    }

    async fn on(store: Arc<MemoryStore>) -> Self {
        let config = StoreJournalConfig::default().with_events_behind_snapshot(0);
        let journal = StoreJournal::open(store.clone(), config).await.unwrap();
        let claim = journal.claim(Partition::new(0), "a", Duration::from_secs(3_600));
        let lease = claim.await.unwrap().unwrap();
        Self {
            store,
            journal,
            lease,
        }
    }

    async fn submit(&self, spec: impl Into<Bytes>) -> RunId {
        let submission = Submission::new(RunId::new(), spec, Timestamp::EPOCH);
        self.journal.submit(submission).await.unwrap().run
    }

    async fn append(&self, run: RunId, kinds: impl IntoIterator<Item = RecordKind>) {
        let mut batch = Batch::new();
        for kind in kinds {
            batch.push(run, kind.at(Timestamp::from_millis(1_700_000_000_000)));
        }
        self.journal.append(&self.lease, &mut batch).await.unwrap();
    }

    /// Returns how many bytes lie in the store.
    async fn size(&self) -> usize {
        let read = |mut tx: Tx| async move { tx.range_all(Range::bounds::<&[u8]>(..)).await };
        let entries = self.store.transact(read).await.unwrap();
        let length = |entry: &coditect_state::Entry| entry.key.len() + entry.value.len();
        entries.iter().map(length).sum()
    }
}

fn dispatched(task: u32) -> RecordKind {
    RecordKind::Dispatched {
        task: TaskId::new(task),
        attempt: Attempt::FIRST,
        incarnation: None,
    }
}

fn succeeded(task: u32, output: impl Into<Bytes>) -> RecordKind {
    RecordKind::Succeeded {
        task: TaskId::new(task),
        attempt: Attempt::FIRST,
        output: output.into(),
    }
}

#[tokio::test]
async fn large_content_is_kept_once_and_comes_back_everywhere() {
    let fixture = Fixture::new().await;
    let large = Bytes::from(vec![b'x'; 300_000]);
    let run = fixture.submit(large.clone()).await;
    let before = fixture.size().await;
    let settlement = Settlement::Succeeded {
        result: large.clone(),
    };
    let records = [
        succeeded(0, large.clone()),
        RecordKind::Resolved {
            task: TaskId::new(1),
            output: large.clone(),
        },
        RecordKind::Settled(settlement.clone()),
    ];
    fixture.append(run, records.clone()).await;
    assert!(
        fixture.size().await < before + 2_000,
        "the spec was there already, and all of it is the same"
    );
    let log = fixture.journal.load(run).await.unwrap().unwrap();
    assert_eq!(log.submission.spec, large);
    assert!(log.tail.into_iter().map(|record| record.kind).eq(records));
    for task in [0, 1] {
        let output = fixture.journal.output(run, TaskId::new(task)).await;
        assert_eq!(output.unwrap().as_ref(), Some(&large));
    }
    let summary = fixture.journal.run(run).await.unwrap().unwrap();
    assert_eq!(summary.settlement, Some(settlement));
}

#[tokio::test]
async fn a_batch_of_much_content_fits_into_one_append() {
    let fixture = Fixture::new().await;
    let run = fixture.submit("{}").await;
    // 16 MB, each too small to lie by itself when there is little of it.
    let output = |task: u32| format!("{task:08}").repeat(450);
    let outcomes = (0..4_500).map(|task| succeeded(task, output(task)));
    fixture.append(run, outcomes).await;
    let log = fixture.journal.load(run).await.unwrap().unwrap();
    assert_eq!(log.tail.len(), 4_500);
    for (task, record) in (0..).zip(&log.tail) {
        let content = line::content(&record.kind).unwrap();
        assert_eq!(*content, output(task));
    }
}

#[tokio::test]
async fn a_run_takes_less_than_a_kilobyte_a_task() {
    let fixture = Fixture::new().await;
    let run = fixture.submit("{}").await;
    let before = fixture.size().await;
    for first in (0..10_000).step_by(100) {
        let of_task = |task| {
            [
                dispatched(task),
                succeeded(task, format!(r#"{{"n":{task}}}"#)),
            ]
        };
        fixture
            .append(run, (first..first + 100).flat_map(of_task))
            .await;
    }
    let bytes = (fixture.size().await - before) / 10_000;
    assert!(bytes < 300, "{bytes} bytes a task");
}

/// Counts the bytes that commits write.
#[derive(Debug, Default)]
struct Written(AtomicUsize);

impl StateObserver for Written {
    fn committed(&self, committed: &Committed) {
        self.0.fetch_add(committed.bytes, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_an_append_adds_does_not_grow_with_the_run() {
    let written = Arc::new(Written::default());
    let store = MemoryStore::builder().with_observer(written.clone());
    let fixture = Fixture::on(Arc::new(store.build())).await;
    let run = fixture.submit("{}").await;
    let mut appended = Vec::new();
    for first in (0..20_000).step_by(50) {
        let before = written.0.load(Ordering::SeqCst);
        let of_task = |task| [dispatched(task), succeeded(task, "1")];
        let kinds = (first..first + 50).flat_map(of_task);
        fixture.append(run, kinds).await;
        appended.push(written.0.load(Ordering::SeqCst) - before);
    }
    let (first, last) = (appended[0], appended[appended.len() - 1]);
    // Positions and numbers of tasks have more digits by then.
    assert!(
        first > 0 && last < first * 5 / 4,
        "{first} bytes became {last}"
    );
}

#[tokio::test]
async fn what_a_snapshot_stands_for_is_removed_and_outputs_stay() {
    let fixture = Fixture::new().await;
    let run = fixture.submit("{}").await;
    let large = Bytes::from(vec![b'l'; 10_000]);
    for task in 0..100 {
        let small = succeeded(2 * task, format!("{task}"));
        fixture
            .append(run, [small, succeeded(2 * task + 1, large.clone())])
            .await;
    }
    let state = Bytes::from(vec![b's'; 150_000]);
    for upto in [100, 200] {
        let upto = Seq::new(upto);
        let stored = fixture
            .journal
            .snapshot(&fixture.lease, run, state.clone(), upto);
        stored.await.unwrap();
    }
    let log = fixture.journal.load(run).await.unwrap().unwrap();
    assert_eq!((log.snapshot, log.tail.len()), (Some(state), 0));
    let page = fixture.journal.events(run, Seq::new(3), 10).await.unwrap();
    assert_eq!((page.records.len(), page.skipped), (0, 197));
    for task in 0..100 {
        let output = async |task| {
            fixture
                .journal
                .output(run, TaskId::new(task))
                .await
                .unwrap()
        };
        assert_eq!(output(2 * task).await.unwrap(), task.to_string());
        assert_eq!(output(2 * task + 1).await.as_ref(), Some(&large));
    }
    assert!(fixture.size().await < 200_000, "one snapshot, one copy");
}

#[tokio::test]
async fn content_that_is_no_longer_what_it_was_is_reported() {
    let fixture = Fixture::new().await;
    let run = fixture.submit("{}").await;
    let large = Bytes::from(vec![b'x'; 100_000]);
    fixture.append(run, [succeeded(0, large.clone())]).await;
    let hash = payload::BlobRef::of(&large).hash;
    let key = &fixture.journal.keys.blob(run, &hash, 1);
    let damage = |mut tx: Tx| async move { tx.set(key, Bytes::from_static(b"y")) };
    fixture.store.transact(damage).await.unwrap();
    let error = fixture.journal.load(run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);

    let chunk = &fixture.journal.keys.chunk(run, Seq::new(1));
    let line = Bytes::from_static(br#"{"at":1,"kind":{"teleported":{"task":3}}}"#);
    let damage = |mut tx: Tx| {
        let line = line.clone();
        async move { tx.set(chunk, line) }
    };
    fixture.store.transact(damage).await.unwrap();
    let error = fixture.journal.load(run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
