//! Runs `code_audit` over a real broker with its agents found in a real Redis.

#![cfg(unix)]

use std::fs;
use std::process::Command;

use coditect_harness::{RabbitMq, Redis, required};
use serde_json::Value;

mod binary;
mod process;

use binary::binary;
use process::Process;

fn tree(files: usize) -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    for number in 0..files {
        let body = "pub fn f(x: Option<u8>) -> u8 { if x.is_some() { x.unwrap() } else { 7 } }\n";
        let path = tree.path().join(format!("f{number}.rs"));
        fs::write(path, body.repeat(number % 200 + 1)).expect("a file");
    }
    tree
}

/// Workers come late, one is killed, Redis is killed: the report is that of one process.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_worker_a_killed_one_and_a_killed_redis_change_nothing_in_the_report() {
    let (Some(broker), Some(redis)) = (
        required(RabbitMq::shared()).await,
        required(Redis::private(&[])).await,
    ) else {
        return;
    };
    let place = broker.vhost().await.expect("a broker makes vhosts");
    let (bus, registry, tree) = (place.url(), redis.url(), tree(300));
    let path = tree.path().to_str().expect("UTF-8");
    let on = ["--registry", registry.as_str(), "--jobs", "2"];
    let here = Command::new(binary("code_audit"))
        .args(["--json", path])
        .env_remove("CODITECT_BUS")
        .env_remove("CODITECT_REGISTRY")
        .output()
        .expect("the example can be started");
    let here: Value = serde_json::from_slice(&here.stdout).expect("a report");
    let mut audit = Process::start(
        "code_audit",
        &["--bus", &bus, "--registry", &registry, "--json", path],
    );
    audit.line_with("waiting: no agent takes tasks of analyse-rust");
    let mut doomed = Process::worker(&bus, &on);
    (0..20).for_each(|_| doomed.line_with("analysed"));
    let heir = Process::worker(&bus, &on);
    doomed.signal("KILL");
    redis.kill().await.expect("it is private");
    let ended = audit.end();
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
    let there = ended.json();
    assert_eq!(there["audit"], here["audit"]);
    let workers = there["run"]["workers"].as_array().expect("a list");
    assert_eq!(
        workers.len(),
        2,
        "both came after the run began: {workers:?}"
    );
    drop(heir);
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
    let cases = [
        (format!("redis://:hunter2@{}", redis.place()), "credentials"),
        ("redis://:hunter2@127.0.0.1:1".to_owned(), "no connection"),
        (format!("redis://:hunter2@{}", broker.place()), "redis"),
        ("rediz://:hunter2@host".to_owned(), "begin with `rediz:`"),
    ];
    for (url, reason) in cases {
        let on = ["--bus", bus.as_str(), "--registry", url.as_str()];
        let audit = Process::start("code_audit", &[&on[..], &["."]].concat());
        let worker = Process::start("code_audit_worker", &on);
        for ended in [audit.end(), worker.end()] {
            assert_eq!(ended.status.code(), Some(2), "{:#?}", ended.said);
            assert_eq!(ended.said.len(), 2, "{:#?}", ended.said);
            assert!(ended.said[0].contains(reason), "{:#?}", ended.said);
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
