//! A file of runs that was shortened or changed: said, or of no consequence, never silently less.

use std::fs;

use coditect_core::dag::journal::RunLog;
use coditect_core::{Error, ErrorKind, RunFilter, Runtime};
use coditect_harness::{Random, seed};

use super::check::check;
use super::slot::{Slot, strikes};

/// Every run that a file holds, with all its records.
async fn read(state: &str) -> Result<Vec<RunLog>, Error> {
    let looking = Runtime::builder()
        .state(state)
        .worker_only()
        .start()
        .await?;
    let mut logs = Vec::new();
    for run in looking.runs(RunFilter::default()).await? {
        let log = looking.journal().load(run.run).await?;
        logs.push(log.expect("it was listed"));
    }
    looking.shutdown().await?;
    Ok(logs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_refused_or_whole() {
    let seed = seed();
    let mut random = Random::seeded(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.redb");
    let state = format!("file:{}", path.display());
    let mut keeper = Slot::new("keeper", 0, &state, folder.path());
    keeper.start();
    keeper.has("accepted ", 20).await;
    keeper.kill();
    // It is closed in order then: after a crash one bit alone says which of two commits is the last.
    check(&state, &keeper.accepted(), "before the damage").await;
    let whole = read(&state).await.expect("it is whole");
    let bytes = fs::read(&path).expect("a file");
    let damaged = folder.path().join("damaged.redb");
    let state = format!("file:{}", damaged.display());
    let mut refused = 0;
    for round in 0..strikes(40) {
        let mut copy = bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        let how = if random.below(4) == 0 {
            copy.truncate(at.max(1));
            format!("cut off at {at}")
        } else {
            let bit = random.below(8);
            copy[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        };
        let place = format!("seed {seed}, round {round}: {how}");
        fs::write(&damaged, copy).expect("written");
        match read(&state).await {
            Ok(logs) => assert!(logs == whole, "{place}: silently changed"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{place}: {error:?}");
                refused += 1;
            }
        }
    }
    eprintln!("{refused} of {} were refused", strikes(40));
    assert!(refused > 0, "seed {seed}: nothing was found");
}
