//! A process that is killed at any moment while it keeps its runs in a file.

use std::time::Duration;

use coditect_harness::{Random, seed};

use super::check::check;
use super::slot::{Slot, strikes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_in_a_file_survive_every_kill() {
    let seed = seed();
    let mut random = Random::seeded(seed);
    let mut left = strikes(24);
    let mut runs = 0;
    while left > 0 {
        let folder = tempfile::tempdir().expect("a folder");
        let state = format!("file:{}", folder.path().join("runs.redb").display());
        let mut keeper = Slot::new("keeper", 0, &state, folder.path());
        let together = left.min(8);
        for _ in 0..together {
            let before = keeper.accepted().len();
            keeper.start();
            let more = random.below(6) as usize;
            keeper.has("accepted ", before + more).await;
            // It waits for nothing: it moves the kill to another place.
            tokio::time::sleep(Duration::from_micros(random.below(40_000))).await;
            keeper.kill();
        }
        let accepted = keeper.accepted();
        check(&state, &accepted, &format!("seed {seed}, {left} left")).await;
        (left, runs) = (left - together, runs + accepted.len());
    }
    eprintln!("{runs} runs were accepted");
}
