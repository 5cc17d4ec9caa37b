//! Nanoseconds per record appended to a `MemoryJournal`, against a bare `Vec` behind a mutex.
//!
//! It prints, for several sizes of a batch and ways in which
//! runs alternate within it, the cost of making the records and appending them, and the same for pushing
//! them to one vector under one lock per batch.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::{
    Batch, MemoryJournal, Partition, PartitionLease, Record, RecordKind, RunJournal, Submission,
};
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

const RECORDS: u32 = 1 << 20;
const ROUNDS: usize = 5;

/// The records of a run whose tasks are each dispatched and succeed with a small output.
fn record(number: u32) -> Record {
    let task = TaskId::new(number / 2);
    let attempt = Attempt::FIRST;
    let kind = if number.is_multiple_of(2) {
        RecordKind::Dispatched {
            task,
            attempt,
            incarnation: None,
        }
    } else {
        let output = Bytes::from(number.to_le_bytes().to_vec());
        RecordKind::Succeeded {
            task,
            attempt,
            output,
        }
    };
    kind.at(Timestamp::from_millis(u64::from(number)))
}

/// Which run the next record is about: `stride` records of one, then of the next.
fn run_of(runs: &[RunId], number: u32, stride: u32) -> (RunId, u32) {
    let turn = number / stride;
    let count = runs.len() as u32;
    let place = (turn / count) * stride + number % stride;
    (runs[(turn % count) as usize], place)
}

async fn journal(runs: usize, stride: u32, size: u32) -> Duration {
    let journal: Arc<dyn RunJournal> = Arc::new(MemoryJournal::default());
    let mut ids = Vec::new();
    for _ in 0..runs {
        let submission = Submission::new(RunId::new(), Bytes::new(), Timestamp::EPOCH);
        ids.push(journal.submit(submission).await.expect("a submission").run);
    }
    let claim = journal
        .claim(Partition::new(0), "bench", Duration::from_secs(3600))
        .await;
    let lease: PartitionLease = claim.expect("a claim").expect("a lease");
    let mut batch = Batch::new();
    let begin = Instant::now();
    for first in (0..RECORDS).step_by(size as usize) {
        for number in first..first + size {
            let (run, place) = run_of(&ids, number, stride);
            batch.push(run, record(place));
        }
        journal.append(&lease, &mut batch).await.expect("an append");
    }
    let took = begin.elapsed();
    black_box(journal);
    took
}

fn bare(runs: usize, stride: u32, size: u32) -> Duration {
    let log = Mutex::new(Vec::new());
    let ids: Vec<_> = (0..runs).map(|_| RunId::new()).collect();
    let mut batch = Vec::new();
    let begin = Instant::now();
    for first in (0..RECORDS).step_by(size as usize) {
        for number in first..first + size {
            let (run, place) = run_of(&ids, number, stride);
            batch.push((run, record(place)));
        }
        log.lock().append(&mut batch);
    }
    let took = begin.elapsed();
    black_box(log);
    took
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let per_record = |took: Duration| took.as_nanos() as f64 / f64::from(RECORDS);
    println!("runs  stride  batch  journal ns/record  bare ns/record  difference  ratio");
    for (runs, stride) in [(1, 1), (100, 16), (100, 1), (10_000, 1)] {
        for size in [1, 16, 256] {
            let best = |take: &dyn Fn() -> Duration| (0..ROUNDS).map(|_| take()).min();
            let ours = best(&|| runtime.block_on(journal(runs, stride, size)));
            let bare = best(&|| bare(runs, stride, size));
            let (ours, bare) = (
                per_record(ours.expect("there are rounds")),
                per_record(bare.expect("there are rounds")),
            );
            println!(
                "{runs:>6} {stride:>6} {size:>6} {ours:>18.1} {bare:>15.1} {:>11.1} {:>6.2}",
                ours - bare,
                ours / bare
            );
        }
    }
}
