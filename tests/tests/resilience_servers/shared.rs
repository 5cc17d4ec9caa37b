//! Three processes that share a breaker and a rate through Redis, which is killed in the middle.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use coditect_harness::{Redis, required};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// What the processes may do together, in a second.
const RATE: usize = 30;
/// How long anything may take that comes about by itself.
const PATIENCE: Duration = Duration::from_secs(60);

struct Sharer {
    file: PathBuf,
    _child: Child,
}

impl Sharer {
    /// Calls the agent that may fail with so many milliseconds in between.
    fn start(folder: &Path, number: usize, state: &str, pause: u64) -> Self {
        let file = folder.join(format!("sharer-{number}"));
        std::fs::write(&file, "").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_coditect-test-process"))
            .args(["sharer", &format!("{state} {pause}")])
            .arg(&file)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        assert!(child.stdin.is_some());
        assert!(child.try_wait().unwrap().is_none());
        Self {
            file,
            _child: child,
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|one| *one == line).count()
    }
}

fn all(sharers: &[Sharer], line: &str) -> usize {
    sharers.iter().map(|one| one.count(line)).sum()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many calls of the limited agent all make in a second, over so many.
async fn rate(sharers: &[Sharer], seconds: u32) -> f64 {
    let (before, began) = (all(sharers, "limited"), Instant::now());
    sleep(Duration::from_secs(1) * seconds).await;
    (all(sharers, "limited") - before) as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_breaker_and_a_rate_and_go_on_alone_when_redis_is_killed() {
    let Some(redis) = required(Redis::private(&[])).await else {
        return;
    };
    let _alone = crate::ALONE.lock().await;
    let folder = TempDir::new().unwrap();
    let state = format!("{}?namespace={}", redis.url(), Redis::namespace());
    // The first calls often and finds out first.
    let sharers: Vec<_> = [20, 200, 200]
        .into_iter()
        .enumerate()
        .map(|(number, pause)| Sharer::start(folder.path(), number, &state, pause))
        .collect();
    until("all are up", || all(&sharers, "up") == 3).await;
    until("all call", || {
        let calls = |one: &Sharer| one.count("fine") > 0 && one.count("limited") > 0;
        sharers.iter().all(calls)
    })
    .await;

    let together = rate(&sharers, 5).await;
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    // Alone, the second and the third would make 20 calls each, in four seconds, before they knew.
    sleep(Duration::from_secs(4)).await;
    let (first, others) = sharers.split_first().unwrap();
    let failed: Vec<_> = others.iter().map(|one| one.count("failed")).collect();
    let refused = all(others, "refused");
    let found = first.count("failed");
    std::fs::remove_file(&broken).unwrap();
    let fine = all(&sharers, "fine");
    until("all are well again", || all(&sharers, "fine") > fine + 30).await;

    redis.kill().await.unwrap();
    let slowest = |from: &[usize]| {
        let took = |(one, from): (&Sharer, &usize)| {
            let lines = one.lines();
            let spans = lines[*from..].iter();
            let spans = spans.filter_map(|line| line.strip_prefix("took "));
            spans
                .map(|span| span.parse::<u64>().unwrap())
                .max()
                .unwrap()
        };
        sharers.iter().zip(from).map(took).max().unwrap()
    };
    let from: Vec<_> = sharers.iter().map(|one| one.lines().len()).collect();
    sleep(Duration::from_secs(2)).await;
    let alone = rate(&sharers, 5).await;
    let (mut each, began) = (Vec::new(), Instant::now());
    each.extend(sharers.iter().map(|one| one.count("limited")));
    std::fs::write(&broken, "").unwrap();
    let before: Vec<_> = sharers.iter().map(|one| one.count("failed")).collect();
    until("each finds out for itself", || {
        let found = |(one, before): (&Sharer, &usize)| one.count("failed") >= before + 20;
        sharers.iter().zip(&before).all(found)
    })
    .await;
    let own = began.elapsed();
    let slowest = slowest(&from);
    let went_on = sharers.iter().zip(&each);
    let went_on = went_on.filter(|(one, before)| one.count("limited") > **before);

    println!("three processes on one Redis");
    println!(
        "  breaker: the first made {found} calls that failed, the others {failed:?} of the 20 that each would need alone; {refused} were refused"
    );
    println!("  rate: {together:.1} calls a second together, of {RATE} allowed");
    println!("with Redis killed");
    println!("  rate: {alone:.1} calls a second together, from their parts of it");
    println!(
        "  the slowest call took {slowest} ms; each found the next outage out for itself within {own:?}"
    );
    assert!(
        failed.iter().all(|failed| (1..10).contains(failed)),
        "{failed:?}"
    );
    assert!(refused > 0);
    let allowed = RATE as f64 * 1.1;
    assert!(
        together > RATE as f64 * 0.5 && together < allowed,
        "{together}"
    );
    assert!(alone > RATE as f64 * 0.3 && alone < allowed, "{alone}");
    assert_eq!(went_on.count(), 3);
    assert!(
        slowest < 1_000,
        "no call waits for a store that is gone: {slowest}"
    );
}
