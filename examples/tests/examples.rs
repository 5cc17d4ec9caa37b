//! Runs the small examples as their readers do: each ends well and prints what its head comment says, in one process and over a
//! real broker.

use std::fs;
use std::time::Duration;

use assert_cmd::Command;
use coditect_harness::{RabbitMq, required};

mod binary;

use binary::binary;

/// Far more than an example takes, and the end of one that does not end by itself.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn quickstart_prints_what_it_says() {
    prints_what_its_head_comment_says("quickstart");
}

#[test]
fn request_reply_prints_what_it_says() {
    prints_what_its_head_comment_says("request_reply");
}

#[test]
fn publish_subscribe_prints_what_it_says() {
    prints_what_its_head_comment_says("publish_subscribe");
}

#[test]
fn work_queue_prints_what_it_says() {
    prints_what_its_head_comment_says("work_queue");
}

#[test]
fn routing_prints_what_it_says() {
    prints_what_its_head_comment_says("routing");
}

#[tokio::test]
async fn request_reply_prints_the_same_over_a_broker() {
    prints_the_same_over_a_broker("request_reply").await;
}

#[tokio::test]
async fn publish_subscribe_prints_the_same_over_a_broker() {
    prints_the_same_over_a_broker("publish_subscribe").await;
}

#[tokio::test]
async fn work_queue_prints_the_same_over_a_broker() {
    prints_the_same_over_a_broker("work_queue").await;
}

#[tokio::test]
async fn routing_prints_the_same_over_a_broker() {
    prints_the_same_over_a_broker("routing").await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_said_without_the_password() {
    let url = "amqp://guest:hunter2@127.0.0.1:1/";
    for name in [
        "request_reply",
        "publish_subscribe",
        "work_queue",
        "routing",
    ] {
        let command = Command::new(binary(name))
            .args(["--bus", url])
            .env("RUST_BACKTRACE", "0")
            .assert();
        let output = command.failure().get_output().clone();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("no connection to broker at 127.0.0.1:1"),
            "{said}"
        );
        assert!(
            said.contains("help: ") && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn quickstart_says_that_it_takes_no_arguments() {
    let output = Command::new(binary("quickstart")).arg("--bus").assert();
    let output = output.code(2).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("takes no arguments"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn quickstart_takes_fifteen_lines_of_code_or_fewer() {
    let source = source("quickstart");
    let lines = source.lines().map(str::trim);
    let code: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect();
    assert!(
        code.iter().any(|line| line.contains("Runtime::builder()")),
        "{code:#?}"
    );
    assert!(code.len() <= 15, "{} lines: {code:#?}", code.len());
}

fn prints_what_its_head_comment_says(name: &str) {
    prints_it_with(name, &[]);
}

/// Twice, as what the first leaves on the broker must not disturb the second.
async fn prints_the_same_over_a_broker(name: &str) {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let place = broker.vhost().await.expect("a broker makes vhosts");
    for _ in 0..2 {
        prints_it_with(name, &["--bus", &place.url()]);
    }
}

fn prints_it_with(name: &str, arguments: &[&str]) {
    let promised = promised_output(&source(name));
    assert!(
        !promised.is_empty(),
        "the head comment of {name} does not show its output"
    );
    let output = Command::new(binary(name))
        .args(arguments)
        .env_remove("CODITECT_BUS")
        .timeout(LIMIT)
        .assert()
        .success()
        .get_output()
        .clone();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "{name} complains"
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        promised,
        "{name} prints something else"
    );
}

/// The block marked `text` in the head comment.
fn promised_output(source: &str) -> String {
    let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
    let block = comment.skip_while(|line| *line != " ```text").skip(1);
    block
        .take_while(|line| *line != " ```")
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}

fn source(name: &str) -> String {
    let path = binary::source(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
