//! A disk that fills up while runs are kept on it.

use coditect_harness::{Random, seed};

use super::check::check;
use super::slot::{Slot, strikes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_the_disk_was_full_goes_on_when_there_is_room() {
    let seed = seed();
    let mut random = Random::seeded(seed);
    for round in 0..strikes(1).min(20) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("runs.redb");
        let state = format!("file:{}", file.display());
        let mut keeper = Slot::new("keeper", 0, &state, folder.path());
        keeper.start();
        keeper.has("accepted ", 1).await;
        keeper.kill();
        let size = std::fs::metadata(&file).expect("a file").len();
        keeper.limit(Some(size / 512 + random.below(1_000)));
        keeper.start();
        keeper.has("refused ", 1).await;
        keeper.kill();
        let place = format!("seed {seed}, round {round}");
        check(&state, &keeper.accepted(), &place).await;
    }
}
