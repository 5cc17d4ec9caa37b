use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::TaskId;
use crate::journal::{FencingToken, Record, Seq};

const HOME: Partition = Partition::new(0);
const TTL: Duration = Duration::from_millis(100);

/// What one of two owners does next; every lease that it ever had stays at its hand.
#[derive(Clone, Debug)]
enum Step {
    Claim {
        owner: usize,
    },
    Renew {
        owner: usize,
        age: usize,
    },
    Release {
        owner: usize,
        age: usize,
    },
    Append {
        owner: usize,
        age: usize,
        run: usize,
        records: u64,
        consume: bool,
    },
    Snapshot {
        owner: usize,
        age: usize,
        run: usize,
        back: u64,
    },
    Submit,
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, age, run) = (0..2_usize, 0..3_usize, 0..4_usize);
    prop_oneof![
        3 => owner.clone().prop_map(|owner| Step::Claim { owner }),
        1 => (owner.clone(), age.clone()).prop_map(|(owner, age)| Step::Renew { owner, age }),
        1 => (owner.clone(), age.clone()).prop_map(|(owner, age)| Step::Release { owner, age }),
        6 => (owner.clone(), age.clone(), run.clone(), 0..5_u64, any::<bool>()).prop_map(
            |(owner, age, run, records, consume)| Step::Append { owner, age, run, records, consume }
        ),
        1 => (owner, age, run, 0..4_u64)
            .prop_map(|(owner, age, run, back)| Step::Snapshot { owner, age, run, back }),
        1 => Just(Step::Submit),
        2 => (0..150_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the journal must hold, kept by the simplest means.
#[derive(Default)]
struct Model {
    holder: Option<(FencingToken, Instant)>,
    greatest: Option<FencingToken>,
    leases: [Vec<PartitionLease>; 2],
    runs: Vec<(RunId, Vec<Record>)>,
    waiting: Vec<RunId>,
    appended: u64,
}

impl Model {
    fn lease(&self, owner: usize, age: usize) -> Option<PartitionLease> {
        self.leases[owner].iter().rev().nth(age).cloned()
    }

    fn may_write(&self, lease: &PartitionLease) -> bool {
        self.holder.is_some_and(|(token, _)| token == lease.token())
    }

    async fn take(&mut self, journal: &MemoryJournal, step: Step) {
        match step {
            Step::Claim { owner } => {
                let free = self.holder.is_none_or(|(_, until)| Instant::now() >= until);
                let lease = journal.claim(HOME, "x", TTL).await.unwrap();
                assert_eq!(lease.is_some(), free);
                if let Some(lease) = lease {
                    assert!(Some(lease.token()) > self.greatest);
                    self.greatest = Some(lease.token());
                    self.holder = Some((lease.token(), Instant::now() + TTL));
                    self.leases[owner].push(lease);
                }
            }
            Step::Renew { owner, age } => {
                let Some(lease) = self.lease(owner, age) else {
                    return;
                };
                let renewed = journal.renew(&lease).await;
                assert_eq!(renewed.is_ok(), self.may_write(&lease));
                if renewed.is_ok() {
                    self.holder = Some((lease.token(), Instant::now() + TTL));
                }
            }
            Step::Release { owner, age } => {
                let Some(lease) = self.lease(owner, age) else {
                    return;
                };
                let held = self.may_write(&lease);
                assert_eq!(journal.release(lease).await.is_ok(), held);
                if held {
                    self.holder = None;
                }
            }
            Step::Append {
                owner,
                age,
                run,
                records,
                consume,
            } => {
                let Some(lease) = self.lease(owner, age) else {
                    return;
                };
                self.append(journal, &lease, run, records, consume).await;
            }
            Step::Snapshot {
                owner,
                age,
                run,
                back,
            } => {
                let Some(lease) = self.lease(owner, age) else {
                    return;
                };
                let Some((run, log)) = self.runs.get(run) else {
                    return;
                };
                let upto = Seq::new((log.len() as u64).saturating_sub(back));
                let before = journal.load(*run).await.unwrap().unwrap().snapshot_upto;
                let stored = journal.snapshot(&lease, *run, Bytes::new(), upto).await;
                assert_eq!(stored.is_ok(), self.may_write(&lease) && upto >= before);
            }
            Step::Submit => {
                let submission = Submission::new(RunId::new(), Bytes::new(), Timestamp::EPOCH);
                let run = journal.submit(submission).await.unwrap().run;
                self.runs.push((run, Vec::new()));
                self.waiting.push(run);
            }
            Step::Wait { millis } => advance(Duration::from_millis(millis)).await,
        }
    }

    async fn append(
        &mut self,
        journal: &MemoryJournal,
        lease: &PartitionLease,
        run: usize,
        records: u64,
        consume: bool,
    ) {
        let Some((run, log)) = self.runs.get_mut(run) else {
            return;
        };
        let mut batch = Batch::new();
        let mut written = Vec::new();
        for number in 0..records {
            self.appended += 1;
            // Few tasks and unique outputs: outputs are replaced, and none may be mistaken.
            let record = RecordKind::Resolved {
                task: TaskId::new((number % 3) as u32),
                output: Bytes::from(self.appended.to_string()),
            };
            written.push(record.clone().at(Timestamp::EPOCH));
            batch.push(*run, record.at(Timestamp::EPOCH));
        }
        let entries = journal.inbox(lease, Seq::ZERO, 1).await.unwrap_or_default();
        if consume && let Some(entry) = entries.first() {
            batch.consume(entry.seq);
        }
        let valid = self.holder.is_some_and(|(token, _)| token == lease.token());
        let consumed = !batch.consumed().is_empty();
        let result = journal.append(lease, &mut batch).await;
        assert_eq!(result.is_ok(), valid);
        if valid {
            log.append(&mut written);
            if consumed {
                self.waiting.remove(0);
            }
        }
    }

    /// Compares all that can be read with the model.
    async fn check(&self, journal: &MemoryJournal) {
        for (run, expected) in &self.runs {
            let log = journal.load(*run).await.unwrap().unwrap();
            let upto = usize::try_from(log.snapshot_upto.get()).unwrap();
            assert_eq!(log.tail, expected[upto..]);
            let page = journal.events(*run, Seq::ZERO, usize::MAX).await.unwrap();
            let kept: Vec<_> = page.records.into_iter().map(|(_, record)| record).collect();
            assert_eq!(kept, expected[usize::try_from(page.skipped).unwrap()..]);
            for task in 0..3 {
                let latest = expected.iter().rev().find_map(|record| match &record.kind {
                    RecordKind::Resolved { task: of, output } if of.get() == task => Some(output),
                    _ => None,
                });
                let output = journal.output(*run, TaskId::new(task)).await.unwrap();
                assert_eq!(output.as_ref(), latest);
            }
        }
        let state = journal.partitions[0].state.lock();
        let waiting: Vec<_> = state.inbox.page(Seq::ZERO, usize::MAX);
        assert!(waiting.iter().map(|entry| &entry.run).eq(&self.waiting));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_stale_append_is_ever_visible(steps in vec(step(), 1..80), keep in 0..4_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = MemoryConfig::default().with_events_behind_snapshot(keep);
            let journal = MemoryJournal::new(config);
            let mut model = Model::default();
            for step in [Step::Submit, Step::Claim { owner: 0 }].into_iter().chain(steps) {
                model.take(&journal, step).await;
                model.check(&journal).await;
            }
        });
    }
}

/// Claims again and again and appends, until it has written enough; returns what was accepted.
async fn usurp(journal: Arc<MemoryJournal>, run: RunId, name: u32) -> Vec<Record> {
    let mut accepted = Vec::new();
    let mut number = 0;
    while accepted.len() < 3_000 {
        // A lease of no length: the other owner may take over at any moment.
        let claim = journal.claim(HOME, "x", Duration::ZERO).await.unwrap();
        let lease = claim.expect("every lease has expired");
        for _ in 0..3 {
            number += 1;
            let at = Timestamp::from_millis(lease.token().get());
            let output = Bytes::from(format!("{name}-{number}"));
            let record = RecordKind::Resolved {
                task: TaskId::new(name),
                output,
            }
            .at(at);
            let mut batch = Batch::new();
            batch.push(run, record.clone());
            batch.push(run, record.clone());
            match journal.append(&lease, &mut batch).await {
                Ok(()) => accepted.extend([record.clone(), record]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced),
            }
        }
        tokio::task::yield_now().await;
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn owners_on_many_threads_write_one_log_in_the_order_of_their_tokens() {
    let journal = Arc::new(MemoryJournal::default());
    let submission = Submission::new(RunId::new(), Bytes::new(), Timestamp::EPOCH);
    let run = journal.submit(submission).await.unwrap().run;
    let first = tokio::spawn(usurp(Arc::clone(&journal), run, 1));
    let second = tokio::spawn(usurp(Arc::clone(&journal), run, 2));
    let mut seen = Vec::new();
    while !(first.is_finished() && second.is_finished()) {
        let tail = journal.load(run).await.unwrap().unwrap().tail;
        assert_eq!(tail[..seen.len()], seen, "what was read once stays");
        assert!(tail.len().is_multiple_of(2), "batches are whole");
        seen = tail;
        tokio::task::yield_now().await;
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let log = journal.load(run).await.unwrap().unwrap().tail;
    assert!(
        log.is_sorted_by_key(|record| record.at),
        "an older token never writes after a newer"
    );
    let of = |task| {
        let mine = move |record: &&Record| record.kind.task() == Some(TaskId::new(task));
        log.iter().filter(mine).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(1), first);
    assert_eq!(of(2), second);
}
