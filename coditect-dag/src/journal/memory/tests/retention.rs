use std::time::Duration;

use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::journal::{Command, Seq};
use crate::{Attempt, TaskId};

const HOME: Partition = Partition::new(0);

struct Fixture {
    journal: MemoryJournal,
    lease: PartitionLease,
}

impl Fixture {
    async fn new(config: MemoryConfig) -> Self {
        let journal = MemoryJournal::new(config);
        let lease = journal
            .claim(HOME, "a", Duration::MAX)
            .await
            .unwrap()
            .unwrap();
        Self { journal, lease }
    }

    async fn submit(&self, key: &str) -> RunId {
        let submission = Submission::new(RunId::new(), Bytes::new(), Timestamp::EPOCH);
        let submission = submission.with_idempotency_key(key);
        self.journal.submit(submission).await.unwrap().run
    }

    async fn append(&self, run: RunId, kind: RecordKind) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.push(run, kind.at(Timestamp::EPOCH));
        self.journal.append(&self.lease, &mut batch).await
    }

    /// Submits a run, takes it out of the inbox and lets it settle with an output of some size.
    async fn settle(&self, key: &str, size: usize) -> RunId {
        let run = self.submit(key).await;
        self.consume().await;
        let output = RecordKind::Succeeded {
            task: TaskId::new(0),
            attempt: Attempt::FIRST,
            output: Bytes::from(vec![0; size]),
        };
        self.append(run, output).await.unwrap();
        self.append(run, settled()).await.unwrap();
        run
    }

    async fn consume(&self) {
        let mut batch = Batch::new();
        for entry in self
            .journal
            .inbox(&self.lease, Seq::ZERO, usize::MAX)
            .await
            .unwrap()
        {
            batch.consume(entry.seq);
        }
        self.journal.append(&self.lease, &mut batch).await.unwrap();
    }

    async fn keeps(&self, run: RunId) -> bool {
        self.journal.run(run).await.unwrap().is_some()
    }
}

fn at_most(runs: usize) -> MemoryConfig {
    MemoryConfig::default().with_max_settled(runs)
}

#[tokio::test]
async fn the_oldest_runs_are_forgotten_with_their_keys() {
    let fixture = Fixture::new(at_most(3)).await;
    let open = fixture.submit("open").await;
    let mut runs = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        runs.push(fixture.settle(key, 1).await);
    }
    for (run, kept) in runs.iter().zip([false, false, true, true, true]) {
        assert_eq!(fixture.keeps(*run).await, kept);
    }
    assert!(fixture.keeps(open).await, "open runs are kept");
    assert_ne!(
        fixture.submit("a").await,
        runs[0],
        "its key was forgotten too"
    );
    assert_eq!(fixture.submit("e").await, runs[4]);
    assert_eq!(
        fixture
            .journal
            .output(runs[0], TaskId::new(0))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn large_runs_are_forgotten_by_size_but_never_the_youngest() {
    let config = MemoryConfig::default().with_max_settled_bytes(100_000);
    let fixture = Fixture::new(config).await;
    let small = fixture.settle("small", 10_000).await;
    let medium = fixture.settle("medium", 60_000).await;
    assert!(fixture.keeps(small).await && fixture.keeps(medium).await);
    let large = fixture.settle("large", 200_000).await;
    assert!(!fixture.keeps(small).await && !fixture.keeps(medium).await);
    assert!(
        fixture.keeps(large).await,
        "its submitter has yet to read it"
    );
}

#[tokio::test(start_paused = true)]
async fn runs_are_forgotten_by_age() {
    let config = MemoryConfig::default().with_max_age(Duration::from_secs(60));
    let fixture = Fixture::new(config).await;
    let old = fixture.settle("old", 1).await;
    advance(Duration::from_secs(59)).await;
    let young = fixture.settle("young", 1).await;
    fixture.journal.renew(&fixture.lease).await.unwrap();
    assert!(fixture.keeps(old).await);
    advance(Duration::from_secs(1)).await;
    fixture.journal.renew(&fixture.lease).await.unwrap();
    assert!(!fixture.keeps(old).await);
    assert!(fixture.keeps(young).await);
}

#[tokio::test]
async fn a_watched_run_is_kept_until_its_watch_ends() {
    let fixture = Fixture::new(at_most(1)).await;
    let early = Submission::new(RunId::new(), Bytes::new(), Timestamp::EPOCH);
    let watch = fixture.journal.watch(early.run).await.unwrap();
    let run = fixture.journal.submit(early).await.unwrap().run;
    fixture.consume().await;
    fixture.append(run, settled()).await.unwrap();
    let mut last = run;
    for key in ["a", "b", "c"] {
        let next = fixture.settle(key, 1).await;
        assert!(fixture.keeps(run).await);
        assert!(
            last == run || !fixture.keeps(last).await,
            "others are not spared"
        );
        last = next;
    }
    drop(watch);
    fixture.settle("d", 1).await;
    assert!(!fixture.keeps(run).await);
}

#[tokio::test]
async fn a_run_with_a_command_in_the_inbox_is_kept_until_it_is_consumed() {
    let fixture = Fixture::new(at_most(1)).await;
    let run = fixture.settle("a", 1).await;
    let task = TaskId::new(0);
    let redrive = Command::redrive(task, Timestamp::EPOCH);
    fixture.journal.send(run, redrive).await.unwrap();
    for key in ["b", "c"] {
        let other = fixture.submit(key).await;
        fixture.append(other, settled()).await.unwrap();
        assert!(fixture.keeps(run).await);
    }
    fixture.consume().await;
    fixture.settle("d", 1).await;
    assert!(!fixture.keeps(run).await);
}

#[tokio::test]
async fn a_run_that_was_opened_again_is_kept_until_it_has_settled_again() {
    let fixture = Fixture::new(at_most(1)).await;
    let run = fixture.settle("a", 1).await;
    let redriven = RecordKind::redriven(TaskId::new(0));
    fixture.append(run, redriven).await.unwrap();
    for key in ["b", "c", "d"] {
        fixture.settle(key, 1).await;
        assert!(fixture.keeps(run).await);
    }
    fixture.append(run, settled()).await.unwrap();
    assert!(fixture.keeps(run).await);
    fixture.settle("e", 1).await;
    assert!(!fixture.keeps(run).await);
}

#[tokio::test]
async fn a_run_counts_from_when_it_last_settled() {
    let fixture = Fixture::new(at_most(2)).await;
    let run = fixture.settle("a", 1).await;
    let other = fixture.settle("b", 1).await;
    let redriven = RecordKind::redriven(TaskId::new(0));
    fixture.append(run, redriven).await.unwrap();
    fixture.append(run, settled()).await.unwrap();
    assert!(fixture.keeps(run).await && fixture.keeps(other).await);
    fixture.settle("c", 1).await;
    assert!(fixture.keeps(run).await && !fixture.keeps(other).await);
}

#[tokio::test]
async fn watches_of_runs_that_never_come_leave_nothing_behind() {
    let fixture = Fixture::new(at_most(1)).await;
    let wanted = RunId::new();
    let watch = fixture.journal.watch(wanted).await.unwrap();
    for _ in 0..10_000 {
        fixture.journal.watch(RunId::new()).await.unwrap();
    }
    let early = fixture.journal.partitions[0].state.lock().early_hints();
    assert!(early <= 128, "{early} hints are kept");
    drop(watch);
}

#[tokio::test]
async fn a_task_beyond_the_limit_is_refused() {
    let fixture = Fixture::new(MemoryConfig::default().with_max_tasks(10)).await;
    let run = fixture.submit("a").await;
    let last = RecordKind::Expired {
        task: TaskId::new(9),
    };
    fixture.append(run, last).await.unwrap();
    let beyond = RecordKind::Expired {
        task: TaskId::new(10),
    };
    let error = fixture.append(run, beyond).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
