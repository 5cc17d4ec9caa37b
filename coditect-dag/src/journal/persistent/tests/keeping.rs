//! What is forgotten and what is kept: by count, by age, by who still needs it, over restarts.

use std::time::Duration;

use bytes::Bytes;
use coditect_state::Range;
use coditect_state::key::Subspace;
use tokio::time::advance;

use super::*;
use crate::journal::{
    Batch, Command, PARENT_LABEL, PartitionLease, RecordKind, RunJournal, Seq, Settlement,
    Submission,
};
use crate::{Attempt, RunId, TaskId, Timestamp};

const HOME: Partition = Partition::new(0);

struct Fixture {
    store: Arc<MemoryStore>,
    journal: StoreJournal,
    lease: PartitionLease,
}

impl Fixture {
    async fn new(config: StoreJournalConfig) -> Self {
        let store = Arc::new(MemoryStore::new());
        let journal = StoreJournal::open(store.clone(), config).await.unwrap();
        let claim = journal.claim(HOME, "a", Duration::from_secs(3_600)).await;
        Self {
            store,
            journal,
            lease: claim.unwrap().unwrap(),
        }
    }

    async fn submit(&self, key: &str) -> RunId {
        let spec = Bytes::from(vec![b'x'; 20_000]);
        let submission = Submission::new(RunId::new(), spec, Timestamp::EPOCH);
        let submission = submission.with_idempotency_key(key).with_label("k", key);
        self.journal.submit(submission).await.unwrap().run
    }

    /// Submits a run, takes it out of the inbox and lets it settle.
    async fn settle(&self, key: &str) -> RunId {
        let run = self.submit(key).await;
        self.end(run).await;
        run
    }

    /// The same for one that another has begun.
    async fn settle_child(&self, parent: RunId) -> RunId {
        let submission = Submission::new(RunId::new(), "{}", Timestamp::EPOCH);
        let submission = submission.with_label(PARENT_LABEL, parent.to_string());
        let run = self.journal.submit(submission).await.unwrap().run;
        self.end(run).await;
        run
    }

    async fn end(&self, run: RunId) {
        let mut batch = Batch::new();
        let entries = self.journal.inbox(&self.lease, Seq::ZERO, 1_000).await;
        for entry in entries.unwrap() {
            batch.consume(entry.seq);
        }
        let now = Timestamp::from(self.store.now().await.unwrap());
        let output = RecordKind::Succeeded {
            task: TaskId::new(0),
            attempt: Attempt::FIRST,
            output: Bytes::from(vec![b'o'; 10_000]),
        };
        let reason = "test".into();
        batch.push(run, output.at(now));
        batch.push(
            run,
            RecordKind::Settled(Settlement::Cancelled { reason }).at(now),
        );
        self.journal.append(&self.lease, &mut batch).await.unwrap();
    }

    async fn keeps(&self, run: RunId) -> bool {
        self.journal.run(run).await.unwrap().is_some()
    }

    async fn renew(&self) {
        self.journal.renew(&self.lease).await.unwrap();
    }

    async fn keys(&self) -> usize {
        let read = |mut tx: Tx| async move { tx.range_all(Range::bounds::<&[u8]>(..)).await };
        self.store.transact(read).await.unwrap().len()
    }
}

fn at_most(runs: u64) -> StoreJournalConfig {
    StoreJournalConfig::default().with_max_settled(runs)
}

#[tokio::test(start_paused = true)]
async fn the_oldest_runs_are_forgotten_with_all_that_is_theirs() {
    let fixture = Fixture::new(at_most(2)).await;
    let mut runs = Vec::new();
    for key in ["a", "b"] {
        runs.push(fixture.settle(key).await);
        advance(Duration::from_secs(1)).await;
    }
    fixture.renew().await;
    let keys = fixture.keys().await;
    for key in ["c", "d", "e"] {
        runs.push(fixture.settle(key).await);
        advance(Duration::from_secs(1)).await;
    }
    fixture.renew().await;
    for (run, kept) in runs.iter().zip([false, false, false, true, true]) {
        assert_eq!(fixture.keeps(*run).await, kept);
    }
    assert_eq!(fixture.keys().await, keys, "nothing of them is left");
    assert_ne!(fixture.submit("a").await, runs[0], "nor their keys");
    assert_eq!(fixture.submit("e").await, runs[4]);
    assert_eq!(fixture.journal.load(runs[0]).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn runs_are_forgotten_by_age() {
    let config = at_most(100).with_max_age(Duration::from_secs(60));
    let fixture = Fixture::new(config).await;
    let old = fixture.settle("old").await;
    advance(Duration::from_secs(50)).await;
    let young = fixture.settle("young").await;
    let open = fixture.submit("open").await;
    fixture.renew().await;
    assert!(fixture.keeps(old).await);
    advance(Duration::from_secs(20)).await;
    fixture.renew().await;
    assert!(!fixture.keeps(old).await);
    assert!(fixture.keeps(young).await && fixture.keeps(open).await);
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_watched_or_have_commands_are_spared() {
    let config = at_most(100).with_max_age(Duration::from_secs(60));
    let fixture = Fixture::new(config).await;
    let (watched, asked) = (fixture.settle("a").await, fixture.settle("b").await);
    let watch = fixture.journal.watch(watched).await.unwrap();
    let redrive = Command::redrive(TaskId::new(0), Timestamp::EPOCH);
    fixture.journal.send(asked, redrive).await.unwrap();
    advance(Duration::from_secs(90)).await;
    fixture.renew().await;
    assert!(fixture.keeps(watched).await && fixture.keeps(asked).await);
    drop(watch);
    let entries = fixture.journal.inbox(&fixture.lease, Seq::ZERO, 10).await;
    let mut batch = Batch::new();
    batch.consume(entries.unwrap()[0].seq);
    fixture
        .journal
        .append(&fixture.lease, &mut batch)
        .await
        .unwrap();
    fixture.renew().await;
    assert!(!fixture.keeps(watched).await && !fixture.keeps(asked).await);
}

#[tokio::test(start_paused = true)]
async fn what_an_open_run_has_begun_is_spared_and_holds_up_no_other() {
    let fixture = Fixture::new(at_most(1)).await;
    let parent = fixture.submit("parent").await;
    let mut children = Vec::new();
    // More than a sweep looks at.
    for _ in 0..100 {
        children.push(fixture.settle_child(parent).await);
        advance(Duration::from_millis(1)).await;
    }
    let other = fixture.settle("other").await;
    advance(Duration::from_secs(1)).await;
    let last = fixture.settle("last").await;
    for _ in 0..2 {
        fixture.renew().await;
    }
    assert!(!fixture.keeps(other).await);
    for child in &children {
        assert!(fixture.keeps(*child).await);
    }
    advance(Duration::from_secs(1)).await;
    fixture.end(parent).await;
    for _ in 0..20 {
        fixture.renew().await;
    }
    for child in &children {
        assert!(!fixture.keeps(*child).await);
    }
    assert!(!fixture.keeps(last).await && fixture.keeps(parent).await);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_opened_again_is_not_forgotten() {
    let config = at_most(100).with_max_age(Duration::from_secs(60));
    let fixture = Fixture::new(config).await;
    let run = fixture.settle("a").await;
    let mut batch = Batch::new();
    let task = TaskId::new(0);
    batch.push(run, RecordKind::redriven(task).at(Timestamp::EPOCH));
    fixture
        .journal
        .append(&fixture.lease, &mut batch)
        .await
        .unwrap();
    assert_eq!(
        fixture.journal.open_runs(&fixture.lease).await.unwrap(),
        [run]
    );
    advance(Duration::from_secs(90)).await;
    fixture.renew().await;
    assert!(fixture.keeps(run).await);
}

#[tokio::test(start_paused = true)]
async fn content_whose_submission_never_came_is_removed() {
    let fixture = Fixture::new(at_most(100)).await;
    let keys = fixture.keys().await;
    // What a submitter leaves behind that dies between the spec and the submission.
    let (run, spec) = (RunId::new(), Bytes::from(vec![b'x'; 200_000]));
    let mark = &fixture.journal.keys.doomed(HOME, run);
    let now = &Timestamp::from(fixture.store.now().await.unwrap());
    let begin = |mut tx: Tx| async move { tx.set_json(mark, now) };
    fixture.store.transact(begin).await.unwrap();
    let journal = &fixture.journal;
    blob::store(
        &*journal.store,
        &journal.keys,
        run,
        blob::Belongs::ToNew,
        &[&spec],
    )
    .await
    .unwrap();
    fixture.renew().await;
    assert!(fixture.keys().await > keys, "it may still come");
    advance(Duration::from_secs(2 * 60 * 60)).await;
    fixture.renew().await;
    assert_eq!(fixture.keys().await, keys);
}

#[tokio::test]
async fn another_number_of_partitions_and_a_newer_format_are_refused() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let journal = StoreJournal::open(store.clone(), config()).await.unwrap();
    let other = StoreJournalConfig::default();
    let error = StoreJournal::open(store.clone(), other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let (key, partitions) = (&journal.keys.format(), journal.partitions());
    let format = FORMAT + 1;
    let newer = |mut tx: Tx| async move { tx.set_json(key, &FormatRow { format, partitions }) };
    store.transact(newer).await.unwrap();
    let error = StoreJournal::open(store, config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let why = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(why.as_deref(), Some("it has format 2, this one knows 1"));
}

#[tokio::test]
async fn runs_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut token = None;
    let submission = Submission::new(RunId::new(), "{}", Timestamp::EPOCH);
    for round in 0..3_usize {
        let store = EmbeddedStore::open(&path).await.unwrap();
        let journal = StoreJournal::open(Arc::new(store.clone()), StoreJournalConfig::default());
        let journal = journal.await.unwrap();
        let submitted = journal.submit(submission.clone()).await.unwrap();
        assert_eq!(submitted.existed, round > 0);
        // The owner before was killed; its lease runs out.
        let claim = journal.claim(HOME, "a", Duration::ZERO).await;
        let lease = claim.unwrap().unwrap();
        assert!(token < Some(lease.token()));
        token = Some(lease.token());
        let log = journal.load(submission.run).await.unwrap().unwrap();
        assert_eq!(log.tail.len(), round, "a record a round");
        let mut batch = Batch::new();
        batch.push(submission.run, RecordKind::Started.at(Timestamp::EPOCH));
        journal.append(&lease, &mut batch).await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_run_goes_when_it_does() {
    let board = Subspace::new(&("board",));
    let config = at_most(100).with_max_age(Duration::from_secs(60));
    let fixture = Fixture::new(config.with_belongings(board.clone())).await;
    let old = fixture.settle("a").await;
    advance(Duration::from_secs(50)).await;
    let young = fixture.settle("b").await;
    let key = |run: RunId| board.pack(&(run.as_uuid(), "name"));
    for run in [old, young] {
        let key = &key(run);
        let put = |mut tx: Tx| async move { tx.set(key, Bytes::from_static(b"1")) };
        fixture.store.transact(put).await.unwrap();
    }
    let has = async |run: RunId| {
        let key = &key(run);
        let get = |mut tx: Tx| async move { tx.get(key).await };
        fixture.store.transact(get).await.unwrap().is_some()
    };
    fixture.renew().await;
    assert!(has(old).await && has(young).await);
    advance(Duration::from_secs(20)).await;
    fixture.renew().await;
    assert_eq!((fixture.keeps(old).await, has(old).await), (false, false));
    assert_eq!((fixture.keeps(young).await, has(young).await), (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_sole_user_need_not_wait_for_the_leases_of_the_dead() {
    let fixture = Fixture::new(at_most(100)).await;
    let run = fixture.submit("a").await;
    let config = StoreJournalConfig::default();
    let other = StoreJournal::open(fixture.store.clone(), config.clone()).await;
    let claim = other
        .unwrap()
        .claim(HOME, "b", Duration::from_secs(1))
        .await;
    assert!(claim.unwrap().is_none());
    let sole = StoreJournal::open(fixture.store.clone(), config.with_sole_user()).await;
    let claim = sole.unwrap().claim(HOME, "b", Duration::from_secs(1)).await;
    assert!(claim.unwrap().unwrap().token() > fixture.lease.token());
    let mut batch = Batch::new();
    batch.push(run, RecordKind::Started.at(Timestamp::EPOCH));
    let append = fixture.journal.append(&fixture.lease, &mut batch).await;
    assert_eq!(append.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_end_is_reported() {
    let fixture = Fixture::new(at_most(100)).await;
    let run = fixture.settle("a").await;
    assert!(fixture.journal.load(run).await.unwrap().is_some());
    let first = &fixture.journal.keys.chunk(run, Seq::new(1));
    let cut = |mut tx: Tx| async move { tx.clear(first) };
    fixture.store.transact(cut).await.unwrap();
    let error = fixture.journal.load(run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}
