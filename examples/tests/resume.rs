//! Kills `code_audit --state FILE` in the middle, and has the same command go on where it was.
//!
//! The seed of the kills is `CODITECT_TEST_SEED`, a fixed one otherwise; `CODITECT_TEST_KILLS` says how many there are.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coditect_core::dag::journal::RunFilter;
use coditect_core::state::{EmbeddedStore, StateStoreExt};
use coditect_core::{Runtime, TaskState};
use coditect_harness::{RabbitMq, Random, required, seed};
use serde_json::Value;
use tempfile::TempDir;

mod binary;
mod process;

use binary::binary;
use process::{Ended, Process};

/// A tree, and a place for the file in which its audit is kept.
struct Stage {
    tree: TempDir,
    folder: TempDir,
}

impl Stage {
    fn new(files: usize) -> Self {
        let tree = tempfile::tempdir().expect("a folder");
        let source = tree.path().join("src");
        fs::create_dir(&source).expect("a folder");
        fs::write(
            tree.path().join("Cargo.toml"),
            "[package]\nname = \"sample\"\n",
        )
        .expect("a file");
        let body = "pub fn f(x: Option<u8>) -> u8 { if x.is_some() { x.unwrap() } else { 7 } }\n";
        for number in 0..files {
            let text = body.repeat(100 + number % 50);
            fs::write(source.join(format!("f{number}.rs")), text).expect("a file");
        }
        let folder = tempfile::tempdir().expect("a folder");
        Self { tree, folder }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("audit.redb")
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let mut all = vec![
            "--state".to_owned(),
            path(&self.state()),
            "--json".to_owned(),
        ];
        all.extend(more.iter().map(|&argument| argument.to_owned()));
        all.push(path(self.tree.path()));
        all
    }

    fn audit(&self, more: &[&str]) -> Process {
        let arguments = self.arguments(more);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Process::start("code_audit", &arguments)
    }

    /// What an audit finds that nobody disturbs.
    fn expected(&self) -> Value {
        let tree = self.tree.path().to_str().expect("UTF-8");
        audited(&Process::start("code_audit", &["--json", tree]).end())
    }

    /// The files whose results the state file keeps.
    async fn finished(&self) -> BTreeSet<String> {
        let looking = Runtime::builder().state(format!("file:{}", self.state().display()));
        let looking = looking.worker_only().start().await.expect("a whole file");
        let runs = looking.runs(RunFilter::default()).await.expect("a list");
        let mut finished = BTreeSet::new();
        for run in runs {
            let report = looking.attach::<Value>(run.run).report().await;
            let tasks = report.expect("a report").tasks.into_iter();
            let ended = tasks.filter(|task| task.state == TaskState::Succeeded);
            finished.extend(ended.filter_map(|task| {
                let (_, file) = task.path.split_once("file:")?;
                Some(file.to_owned())
            }));
        }
        looking.shutdown().await.expect("nothing runs");
        drop(looking);
        // What it had spawned lets go of the file when it has noticed.
        let closed = async {
            while let Err(error) = EmbeddedStore::open(self.state()).await {
                assert!(error.is_retryable(), "{error:?}");
                tokio::task::yield_now().await;
            }
        };
        let limit = std::time::Duration::from_secs(60);
        let closed = tokio::time::timeout(limit, closed).await;
        closed.expect("it lets go of the file");
        finished
    }
}

fn audited(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
    let mut report = ended.json();
    assert_eq!(report["run"]["failed"], 0);
    report["audit"].take()
}

/// The files that a process says it has analysed, each as often as it says so.
fn analysed(said: &[String]) -> Vec<String> {
    let file = |line: &String| {
        let (_, rest) = line.split_once("analysed path=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    said.iter().filter_map(file).collect()
}

fn kills() -> usize {
    let kills = std::env::var("CODITECT_TEST_KILLS");
    kills.ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_goes_on_and_does_no_finished_file_again() {
    let seed = seed();
    let mut random = Random::seeded(seed);
    let mut left = kills();
    while left > 0 {
        let stage = Stage::new(150);
        let mut finished = BTreeSet::new();
        let mut worked = 0;
        for kill in 0..left.min(6) {
            let mut audit = stage.audit(&["--jobs", "3"]);
            let lines = 1 + random.below(20);
            (0..lines).for_each(|_| audit.line_with("analysed"));
            audit.signal("KILL");
            let ended = audit.end();
            let again = analysed(&ended.said);
            worked += again.len();
            let place = format!("seed {seed}, {left} left, kill {kill} after {lines}");
            let again: Vec<_> = again
                .iter()
                .filter(|file| finished.contains(*file))
                .collect();
            assert!(again.is_empty(), "{place}: {again:?} were done again");
            let now = stage.finished().await;
            assert!(now.is_superset(&finished), "{place}: something was lost");
            finished = now;
        }
        assert!(!finished.is_empty(), "seed {seed}: nothing was kept");
        left -= left.min(6);
        let ended = stage.audit(&["--jobs", "3"]).end();
        assert!(
            ended.has_said("going on with an audit of which"),
            "{:#?}",
            ended.said
        );
        let last = analysed(&ended.said);
        assert!(
            !last.iter().any(|file| finished.contains(file)),
            "seed {seed}"
        );
        let files = stage.expected();
        let count = files["volume"]["files"].as_u64().expect("a number") as usize;
        assert_eq!(finished.len() + last.len(), count, "seed {seed}");
        assert!(worked + last.len() >= count, "seed {seed}");
        assert_eq!(audited(&ended), files, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_was_told_is_told_and_then_it_begins_anew() {
    let stage = Stage::new(5);
    let first = stage.audit(&[]).end();
    let report = audited(&first);
    // As if the process had been killed between the end of the run and its report.
    let store = EmbeddedStore::open(stage.state()).await.expect("a store");
    let forget = |mut tx: coditect_core::state::Tx| async move { tx.clear(b"code-audit/reported") };
    store.transact(forget).await.expect("a commit");
    store.close().await.expect("closed");
    let second = stage.audit(&[]).end();
    assert_eq!(
        (audited(&second), analysed(&second.said).len()),
        (report.clone(), 0)
    );
    let third = stage.audit(&[]).end();
    assert_eq!((audited(&third), analysed(&third.said).len()), (report, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_audit_is_left_to_the_next_command() {
    let stage = Stage::new(150);
    let mut audit = stage.audit(&["--jobs", "1"]);
    (0..3).for_each(|_| audit.line_with("analysed"));
    audit.signal("INT");
    let ended = audit.end();
    assert_eq!(ended.status.code(), Some(130), "{:#?}", ended.said);
    assert!(
        ended.has_said("the same command goes on with the rest"),
        "{:#?}",
        ended.said
    );
    let reported = ended.json()["audit"]["volume"]["files"].as_u64();
    let finished = stage.finished().await;
    assert_eq!(reported, Some(finished.len() as u64));
    let ended = stage.audit(&[]).end();
    assert!(
        !analysed(&ended.said)
            .iter()
            .any(|file| finished.contains(file))
    );
    assert_eq!(audited(&ended), stage.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_bus_it_goes_on_as_well() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let place = broker.vhost().await.expect("a broker makes vhosts");
    let stage = Stage::new(300);
    let mut worker = Process::worker(&place.url(), &["--jobs", "3"]);
    let audit = stage.audit(&["--bus", &place.url()]);
    (0..60).for_each(|_| worker.line_with("analysed"));
    audit.signal("KILL");
    drop(audit);
    let finished = stage.finished().await;
    assert!(!finished.is_empty(), "nothing was kept");
    let ended = stage.audit(&["--bus", &place.url()]).end();
    assert_eq!(audited(&ended), stage.expected());
    worker.signal("INT");
    let said = worker.end().said;
    for file in finished {
        let times = analysed(&said).iter().filter(|it| **it == file).count();
        assert_eq!(times, 1, "{file} was finished and done again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_said_in_two_lines() {
    let stage = Stage::new(150);
    let refused = |state: &Path, reason: &str, help: &str| {
        let state = state.to_str().expect("UTF-8");
        let tree = stage.tree.path().to_str().expect("UTF-8");
        let ended = Process::start("code_audit", &["--json", "--state", state, tree]).end();
        assert_eq!(ended.status.code(), Some(2), "{:#?}", ended.said);
        assert_eq!(
            (ended.said.len(), &*ended.stdout),
            (2, ""),
            "{:#?}",
            ended.said
        );
        assert!(ended.said[0].starts_with("error: "), "{:#?}", ended.said);
        for part in [state, reason] {
            assert!(ended.said[0].contains(part), "{part}: {:#?}", ended.said);
        }
        assert!(
            ended.said[1].starts_with("  help: ") && ended.said[1].contains(help),
            "{:#?}",
            ended.said
        );
    };
    let file = |name: &str| stage.folder.path().join(name);
    fs::write(file("notes.txt"), "no store at all\n".repeat(100)).expect("a file");
    refused(
        &file("notes.txt"),
        "damaged",
        "a file that this program made",
    );
    assert!(
        fs::read_to_string(file("notes.txt"))
            .expect("text")
            .starts_with("no store")
    );
    fs::write(file("empty"), "").expect("a file");
    refused(
        &file("empty"),
        "it is empty",
        "a file that this program made",
    );
    refused(
        &file("no/such/audit.redb"),
        "No such file",
        "the folder has to exist",
    );
    refused(
        Path::new("/proc/audit.redb"),
        "cannot be read or written",
        "writable",
    );

    let mut audit = stage.audit(&["--jobs", "1"]);
    audit.line_with("analysed");
    refused(
        &stage.state(),
        "open in another process",
        "nobody else uses the file",
    );
    audit.signal("KILL");
    drop(audit);
    // What was begun there is not that of another tree.
    let state = stage.state();
    let other = Stage::new(1);
    let tree = other.tree.path().to_str().expect("UTF-8");
    let state = state.to_str().expect("UTF-8");
    let ended = Process::start("code_audit", &["--json", "--state", state, tree]).end();
    assert!(
        ended.has_said("that has not ended")
            && ended.has_said(stage.tree.path().to_str().expect("UTF-8")),
        "{:#?}",
        ended.said
    );
    assert_eq!(ended.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_it_and_with_room_it_goes_on() {
    let stage = Stage::new(150);
    // In blocks of 512 bytes. A write beyond is an error, as the signal that would kill is ignored.
    let script = "ulimit -f \"$0\"; trap '' XFSZ; exec \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "2400"])
        .arg(binary("code_audit"));
    command.args(stage.arguments(&[]));
    let ended = Process::spawn(command).end();
    assert_eq!(ended.status.code(), Some(2), "{:#?}", ended.said);
    let error = ended
        .said
        .iter()
        .position(|line| line.starts_with("error: "));
    let error = error.unwrap_or_else(|| panic!("{:#?}", ended.said));
    assert!(
        ended.said[error].contains("no space left"),
        "{:#?}",
        ended.said
    );
    assert!(
        ended.said[error + 1].contains("make room and repeat"),
        "{:#?}",
        ended.said
    );
    let finished = stage.finished().await;
    let ended = stage.audit(&[]).end();
    assert!(
        !analysed(&ended.said)
            .iter()
            .any(|file| finished.contains(file))
    );
    assert_eq!(audited(&ended), stage.expected());
}
