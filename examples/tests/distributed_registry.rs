//! Runs `code_audit` over a real broker with its agents found in a real Redis: one fault at a time, and what is wrong with an address.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

use coditect_harness::{RabbitMq, Redis, Vhost, required};
use serde_json::Value;

mod binary;
mod process;

use binary::binary;
use process::{Ended, Process};

/// A place on a broker, and a Redis that may be killed.
struct Place {
    vhost: Vhost<'static>,
    redis: Redis,
}

impl Place {
    async fn new() -> Option<Self> {
        let broker = required(RabbitMq::shared()).await?;
        let redis = required(Redis::private(&[])).await?;
        let vhost = broker.vhost().await.expect("a broker makes vhosts");
        Some(Self { vhost, redis })
    }

    fn audit(&self, tree: &Path) -> Process {
        let (bus, registry) = (self.vhost.url(), self.redis.url());
        let tree = tree.to_str().expect("a temporary path is UTF-8");
        let arguments = ["--bus", &bus, "--registry", &registry, "--json", tree];
        Process::start("code_audit", &arguments)
    }

    fn worker(&self) -> Process {
        let registry = self.redis.url();
        let on = ["--registry", registry.as_str(), "--jobs", "2"];
        Process::worker(&self.vhost.url(), &on)
    }
}

/// A tree that takes two workers some seconds.
fn tree(files: usize) -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    for number in 0..files {
        let body = "pub fn f(x: Option<u8>) -> u8 { if x.is_some() { x.unwrap() } else { 7 } }\n";
        let path = tree.path().join(format!("f{number}.rs"));
        fs::write(path, body.repeat(number % 200 + 1)).expect("a file");
    }
    tree
}

/// What the report says when everything is in one process.
fn embedded(tree: &Path) -> Value {
    let output = Command::new(binary("code_audit"))
        .arg("--json")
        .arg(tree)
        .env_remove("CODITECT_BUS")
        .env_remove("CODITECT_REGISTRY")
        .output()
        .expect("the example can be started");
    let mut report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let findings = report["audit"]["findings"].as_array();
    assert!(findings.is_some_and(|found| found.len() > 5));
    report["audit"].take()
}

/// What an audit found that has ended well, without a task that failed.
fn audited(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
    let mut report = ended.json();
    assert_eq!(report["run"]["failed"], 0);
    report["audit"].take()
}

/// How many files a worker analysed for an audit, by its own count.
fn share(ended: &Ended, of: &Process) -> u64 {
    let report = ended.json();
    let workers = report["run"]["workers"].as_array().expect("a list");
    let own = |worker: &&Value| worker["worker"].as_str().is_some_and(|name| of.is(name));
    let figures = workers.iter().find(own);
    figures.map_or(0, |worker| worker["tasks"].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_when_the_run_has_begun_are_used() {
    let Some(place) = Place::new().await else {
        return;
    };
    let tree = tree(300);
    let mut audit = place.audit(tree.path());
    audit.line_with("waiting: no agent takes tasks of analyse-rust");
    let mut first = place.worker();
    (0..10).for_each(|_| first.line_with("analysed"));
    let mut later = place.worker();
    assert!(audit.runs(), "the run ended before the other one came");
    later.line_with("analysed");
    let ended = audit.end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    let shares = [share(&ended, &first), share(&ended, &later)];
    assert!(shares.iter().all(|files| *files > 0), "{shares:?}");
    assert_eq!(shares.iter().sum::<u64>(), 300, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_work_changes_nothing_in_the_report() {
    let Some(place) = Place::new().await else {
        return;
    };
    let tree = tree(300);
    let mut doomed = place.worker();
    let mut audit = place.audit(tree.path());
    (0..20).for_each(|_| doomed.line_with("analysed"));
    let under_way = doomed.freeze_at_work();
    assert!(audit.runs(), "the run ended before the worker could die");
    doomed.signal("KILL");
    let heir = place.worker();
    let ended = audit.end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    let shares = [share(&ended, &doomed), share(&ended, &heir)];
    println!("killed with {under_way} files under way; analysed {shares:?}");
    // What it had analysed and not told yet, the other one did again.
    assert!(shares.iter().all(|files| *files > 0), "{shares:?}");
    assert_eq!(shares.iter().sum::<u64>(), 300, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_during_the_run_changes_nothing_in_the_report() {
    let Some(place) = Place::new().await else {
        return;
    };
    let tree = tree(300);
    let mut workers = [place.worker(), place.worker()];
    let mut audit = place.audit(tree.path());
    for worker in &mut workers {
        (0..10).for_each(|_| worker.line_with("analysed"));
    }
    place.redis.kill().await.expect("it is private");
    assert!(audit.runs(), "the run ended before Redis could die");
    let ended = audit.end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    let shares = workers.each_ref().map(|worker| share(&ended, worker));
    assert_eq!(shares.iter().sum::<u64>(), 300, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_registry_is_said_in_two_lines_without_the_password() {
    let options = Redis::options().with_password("right");
    let (Some(broker), Some(redis)) = (
        required(RabbitMq::shared()).await,
        required(options.start()).await,
    ) else {
        return;
    };
    let place = broker.vhost().await.expect("a broker makes vhosts");
    let bus = place.url();
    let (redis_place, stranger) = (redis.place(), broker.place());
    let cases = [
        (
            format!("redis://:hunter2@{redis_place}"),
            format!("error: redis at {redis_place} refuses the credentials: correct the url"),
        ),
        (
            "redis://:hunter2@127.0.0.1:1".to_owned(),
            "error: no connection to redis at 127.0.0.1:1: see that it runs there and can be reached".to_owned(),
        ),
        (
            format!("redis://:hunter2@{stranger}"),
            format!("error: what listens at {stranger} is no redis: correct host and port"),
        ),
        (
            "rediz://:hunter2@host".to_owned(),
            "error: no registry is known for URLs that begin with `rediz:`".to_owned(),
        ),
    ];
    for (url, reason) in cases {
        let on = ["--bus", bus.as_str(), "--registry", url.as_str()];
        let audit = Process::start("code_audit", &[&on[..], &["."]].concat());
        let worker = Process::start("code_audit_worker", &on);
        for ended in [audit.end(), worker.end()] {
            assert_eq!(ended.status.code(), Some(2), "{:#?}", ended.said);
            assert_eq!(ended.said.len(), 2, "{:#?}", ended.said);
            // What there is instead depends on the features.
            let said = ended.said[0].split("; there are ").next();
            assert_eq!(said, Some(reason.as_str()));
            assert!(ended.said[1].starts_with("  help: "), "{:#?}", ended.said);
            assert!(!ended.has_said("hunter2"), "{:#?}", ended.said);
        }
    }
    let alone = Process::start("code_audit", &["--registry", &redis.url(), "."]).end();
    assert!(
        alone.status.code() == Some(2) && alone.has_said("add --bus"),
        "{:#?}",
        alone.said
    );
}
