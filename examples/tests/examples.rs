//! Runs the small examples as their readers do: each ends well and prints what its head comment says.

use std::fs;
use std::time::Duration;

use assert_cmd::Command;

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
    let promised = promised_output(&source(name));
    assert!(
        !promised.is_empty(),
        "the head comment of {name} does not show its output"
    );
    let output = Command::new(binary(name))
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
