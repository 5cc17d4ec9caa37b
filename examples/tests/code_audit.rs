//! Runs `code_audit` as its users do: on good trees, on bad ones, and until somebody presses Ctrl-C.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod binary;

use binary::binary;

fn audit(arguments: &[&str]) -> Output {
    Command::new(binary("code_audit"))
        .args(arguments)
        .output()
        .expect("the example can be started")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("{error}; standard error: {complaint}")
    })
}

/// A package of a few files, with one finding of each kind that matters here.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, content: &[u8]| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    };
    write(
        "Cargo.toml",
        b"[package]\nname = \"sample\"\n[dependencies]\nserde = \"*\"\n",
    );
    write("src/lib.rs", b"//! Sample.\npub fn undocumented() {}\n");
    write("src/broken.rs", b"fn broken( {\n");
    write("README.md", b"# Sample\n\n[gone](missing.md)\n");
    write(
        "merge.txt",
        b"<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n",
    );
    write("data.bin", &[0, 159, 146, 150, 0, 1]);
    write("latin1.txt", &[b'a', 0xE9, b'\n']);
    write(".gitignore", b"ignored/\n");
    write("ignored/secret.txt", b"-----BEGIN RSA PRIVATE KEY-----\n");
    tree
}

#[test]
fn a_tree_is_audited_and_both_reports_are_written() {
    let tree = tree();
    let out = tempfile::tempdir().expect("a temporary directory");
    let output = audit(&[text(tree.path()), "--out", text(out.path())]);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8_lossy(&output.stdout);
    for part in ["critical", "utilisation", "100.0 %", "1 packages"] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    let markdown = fs::read_to_string(out.path().join("code-audit.md")).expect("a report");
    let html = fs::read_to_string(out.path().join("code-audit.html")).expect("a page");
    for rule in ["rust-syntax", "dead-link", "merge-marker", "missing-docs"] {
        assert!(markdown.contains(rule), "{rule} in\n{markdown}");
        assert!(html.contains(rule), "{rule} in the page");
    }
    assert!(html.contains("<svg"), "the page has a picture of the run");
    assert!(
        !markdown.contains("ignored/secret.txt"),
        "what git ignores is not audited"
    );
}

#[test]
fn one_task_per_file_and_package_and_nobody_in_between() {
    let tree = tree();
    let output = audit(&[text(tree.path()), "--json"]);
    let report = json(&output);
    let files = report["audit"]["volume"]["files"]
        .as_u64()
        .expect("a number");
    let packages = report["audit"]["packages"]
        .as_array()
        .expect("a list")
        .len() as u64;
    assert_eq!(files, 8, "{report:#}");
    // One more is the orchestrator's own.
    assert_eq!(report["run"]["tasks"].as_u64(), Some(files + packages + 1));
    assert_eq!(report["run"]["failed"].as_u64(), Some(0));
    assert_eq!(report["run"]["autonomy"].as_f64(), Some(1.0));
    assert_eq!(report["run"]["cancelled"].as_bool(), Some(false));
}

#[test]
fn the_same_tree_gives_the_same_findings() {
    let tree = tree();
    let run = |jobs: &str| {
        let output = audit(&[text(tree.path()), "--json", "--jobs", jobs]);
        json(&output)["audit"].take()
    };
    assert_eq!(run("1"), run("128"));
}

#[test]
fn a_finding_of_the_severity_asked_for_is_exit_code_one() {
    let tree = tree();
    let code = |severity: &str| {
        let output = audit(&[text(tree.path()), "--json", "--fail-on", severity]);
        output.status.code()
    };
    assert_eq!(code("high"), Some(1), "merge markers are high or worse");
    fs::remove_file(tree.path().join("merge.txt")).expect("it was there");
    fs::remove_file(tree.path().join("src/broken.rs")).expect("it was there");
    assert_eq!(code("critical"), Some(0));
}

#[test]
fn what_cannot_be_audited_is_exit_code_two_with_the_reason() {
    let output = audit(&["no/such/path"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("cannot audit no/such/path"),
        "{complaint}"
    );
    assert!(complaint.contains("No such file"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn one_file_is_a_tree_too() {
    let tree = tree();
    let output = audit(&[text(&tree.path().join("merge.txt")), "--json"]);
    assert_eq!(json(&output)["audit"]["volume"]["files"].as_u64(), Some(1));
}

#[test]
fn where_nothing_is_to_audit_that_is_said_and_no_success() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let output = audit(&[text(empty.path()), "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json(&output)["run"]["tasks"].as_u64(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("nothing was audited"), "{complaint}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_said_and_no_panic() {
    let tree = tree();
    let output = Command::new(binary("code_audit"))
        .args([text(tree.path()), "--json"])
        .stdout(File::create("/dev/full").expect("every Linux has it"))
        .output()
        .expect("the example can be started");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("cannot write to standard output"),
        "{complaint}"
    );
    assert!(!complaint.contains("panicked"), "{complaint}");
}

#[test]
fn a_file_of_a_hundred_megabytes_is_reported_and_not_fatal() {
    let tree = tree();
    let huge = File::create(tree.path().join("huge.txt")).expect("a file");
    huge.set_len(100 << 20).expect("a sparse file");
    let report = json(&audit(&[text(tree.path()), "--json"]));
    let rules = &report["audit"]["tally"]["rules"];
    let seen = rules["large-file"]
        .as_u64()
        .or(rules["binary-file"].as_u64());
    assert!(seen.is_some(), "{rules:#}");
}

#[cfg(unix)]
#[test]
fn links_in_circles_are_reported_and_not_fatal() {
    let tree = tree();
    std::os::unix::fs::symlink(tree.path(), tree.path().join("src/circle")).expect("a link");
    let output = audit(&[text(tree.path()), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let files = json(&output)["audit"]["volume"]["files"].as_u64();
    assert_eq!(
        files,
        Some(9),
        "the link counts once, and nothing behind it"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_cancels_the_run_and_says_what_was_done() {
    use std::io::{BufRead, BufReader};

    let tree = tree();
    for number in 0..2000 {
        let content = "pub fn f() { let x = vec![1, 2, 3]; }\n".repeat(400);
        fs::write(tree.path().join(format!("src/f{number}.rs")), content).expect("a file");
    }
    let mut child = Command::new(binary("code_audit"))
        .args([text(tree.path()), "--json", "--jobs", "1"])
        .env("RUST_LOG", "coditect_core=debug,warn")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example can be started");
    let stderr = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let begun = lines.find(|line| line.contains("taking a run up"));
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(signalled.success() && begun.is_some());
    let rest: Vec<_> = lines.collect();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{rest:#?}");
    assert!(
        rest.iter().any(|line| line.contains("interrupted:")),
        "{rest:#?}"
    );
    assert_eq!(json(&output)["run"]["cancelled"].as_bool(), Some(true));
}
