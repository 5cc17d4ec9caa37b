//! What becomes of servers when tests end, and of tests without servers.
//!
//! Each test runs this same program once more, with one of the tests that are ignored by default, and looks at it from
//! outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::future::pending;
use std::process::Stdio;
use std::time::Duration;

use coditect_harness::{ErrorKind, RabbitMq, not_tested, required};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// Runs one test of this program in a process of its own.
fn alone(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env_remove("CODITECT_SKIP_SERVERS")
        .env_remove("CODITECT_TEST_RABBITMQ")
        .kill_on_drop(true);
    command
}

/// Tells which processes have something in their environment or their arguments.
fn processes_with(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let holds = |file: std::path::PathBuf| {
        fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    all.filter(|entry| {
        ["environ", "cmdline"]
            .iter()
            .any(|file| holds(entry.path().join(file)))
    })
    .map(|entry| fs::read_to_string(entry.path().join("comm")).unwrap_or_default())
    .collect()
}

#[tokio::test]
async fn nothing_outlives_tests_that_are_killed() {
    if required(async { Ok(()) }).await.is_none() {
        return;
    }
    if env::var_os("CODITECT_TEST_RABBITMQ").is_some() {
        return not_tested("a private server may be missing where one is given");
    }
    let mut tests = alone("waits_with_a_server")
        .env_remove("RUST_TEST_THREADS")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tests.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = lines.next_line().await.unwrap().expect("a server");
        if let Some((_, folder)) = line.split_once("folder: ") {
            break folder.to_owned();
        }
    };
    let there = processes_with(&folder);
    for name in ["beam.smp", "epmd"] {
        assert!(there.iter().any(|comm| comm.trim() == name), "{there:?}");
    }
    assert!(fs::exists(&folder).unwrap());

    tests.kill().await.unwrap(); // SIGKILL
    let gone = async {
        while !processes_with(&folder).is_empty() || fs::exists(&folder).unwrap() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(20), gone).await;
    assert!(in_time.is_ok(), "{:?}", processes_with(&folder));
}

#[tokio::test]
#[ignore = "run by `nothing_outlives_tests_that_are_killed`"]
async fn waits_with_a_server() {
    let broker = RabbitMq::shared().await.unwrap();
    println!("folder: {}", broker.folder().await.unwrap().display());
    pending().await
}

#[tokio::test]
async fn tests_that_are_left_out_say_so() {
    let output = alone("needs_a_server")
        .env("CODITECT_SKIP_SERVERS", "1")
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("NOT TESTED: needs_a_server: "), "{errors}");
}

#[tokio::test]
async fn tests_whose_server_cannot_be_reached_fail() {
    let output = alone("needs_a_server")
        .env("CODITECT_TEST_RABBITMQ", "amqp://127.0.0.1:1")
        .env("CODITECT_TEST_RABBITMQ_MANAGEMENT", "127.0.0.1:1")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("GET http://127.0.0.1:1/api/overview: connect: "),
        "{errors}"
    );
}

#[tokio::test]
#[ignore = "run by the two above"]
async fn needs_a_server() {
    let server = required(RabbitMq::shared()).await;
    assert!(server.is_none(), "there is none");
}

#[tokio::test]
async fn a_given_server_is_used_and_left_alone() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let output = alone("uses_a_given_server")
        .env("CODITECT_TEST_RABBITMQ", broker.url())
        .env(
            "CODITECT_TEST_RABBITMQ_MANAGEMENT",
            broker.management_place(),
        )
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(
        errors.contains("NOT TESTED: uses_a_given_server: "),
        "{errors}"
    );
    assert!(broker.vhost().await.is_ok(), "it still runs");
}

#[tokio::test]
#[ignore = "run by the one above"]
async fn uses_a_given_server() {
    let broker = RabbitMq::shared().await.unwrap();
    assert!(!broker.is_private());
    for refused in [
        broker.kill().await,
        broker.restart().await,
        broker.set_memory_alarm(true).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::GivenServer);
    }
    assert!(required(RabbitMq::private(&[])).await.is_none(), "said so");

    let vhost = broker.vhost().await.unwrap();
    vhost.declare_queue("q", json!({})).await.unwrap();
    vhost.publish("q", json!({}), b"text").await.unwrap();
    assert_eq!(vhost.take("q", 9).await.unwrap()[0]["payload"], "text");
    assert_eq!(vhost.queues().await.unwrap(), ["q"]);
    vhost.delete().await.unwrap();
    assert!(vhost.queues().await.is_err());
}
