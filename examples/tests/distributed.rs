//! Runs `code_audit` over a real broker: with workers in processes of their own, which come late, die and are left alone.

#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use coditect_harness::{RabbitMq, Vhost, required};
use serde_json::Value;

mod binary;
mod process;

use binary::binary;
use process::{Ended, Process};

/// A place on a broker that belongs to one test.
async fn place() -> Option<Vhost<'static>> {
    let broker = required(RabbitMq::shared()).await?;
    Some(broker.vhost().await.expect("a broker makes vhosts"))
}

/// A tree of `files` modules in two packages, with files that need what others say.
fn tree(files: usize) -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, content: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    };
    let mut modules = String::from("//! Sample.\npub mod hidden;\n");
    for number in 0..files {
        let visible = if number % 3 == 0 { "pub mod" } else { "mod" };
        modules.push_str(&format!("{visible} f{number};\n"));
        let body = "pub fn f(x: Option<u8>) -> u8 { if x.is_some() { x.unwrap() } else { 7 } }\n";
        write(&format!("src/f{number}.rs"), &body.repeat(number % 200 + 1));
    }
    write("src/lib.rs", &modules);
    write(
        "Cargo.toml",
        "[package]\nname = \"sample\"\n[dependencies]\nserde = \"*\"\n",
    );
    write(
        "README.md",
        "# Sample\n[gone](missing.md) [here](#sample) [there](other/notes.md#none)\n",
    );
    write("other/Cargo.toml", "[package]\nname = \"other\"\n");
    write("other/notes.md", "# Notes\n");
    write("other/src/lib.rs", "fn broken( {\n");
    write(
        "other/caf\u{e9}.txt",
        "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n",
    );
    tree
}

/// Adds a file above the usual limit of a message, and one that is too large to be analysed.
fn add_large_files(tree: &Path) {
    let lines = "A line that is like any other one.\n".repeat(40_000);
    fs::write(tree.join("lines.txt"), lines).expect("a file");
    fs::write(tree.join("huge.sql"), "\u{1}".repeat(9 << 20)).expect("a file");
}

/// An audit that prints its report as JSON.
fn audit_of(bus: &str, tree: &Path) -> Process {
    let tree = tree.to_str().expect("a temporary path is UTF-8");
    Process::start("code_audit", &["--bus", bus, "--json", tree])
}

/// What the report says when everything is in one process.
fn embedded(tree: &Path) -> Value {
    let output = Command::new(binary("code_audit"))
        .args(["--json"])
        .arg(tree)
        .env_remove("CODITECT_BUS")
        .env_remove("CODITECT_REGISTRY")
        .output()
        .expect("the example can be started");
    let mut report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(
        report["audit"]["findings"]
            .as_array()
            .is_some_and(|found| found.len() > 5)
    );
    report["audit"].take()
}

/// What an audit found that has ended well.
fn audited(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
    let mut report = ended.json();
    assert_eq!(report["run"]["failed"], 0);
    report["audit"].take()
}

/// How many files each worker analysed for an audit.
fn shares(ended: &Ended) -> Vec<u64> {
    let report = ended.json();
    let workers = report["run"]["workers"].as_array().expect("a list");
    workers
        .iter()
        .filter_map(|worker| worker["tasks"].as_u64())
        .collect()
}

/// Ends a worker with Ctrl-C, and has it say what it did.
fn drain(worker: Process) {
    worker.signal("INT");
    let ended = worker.end();
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
    assert!(
        ended.has_said("ended: ") && !ended.has_said("ERROR"),
        "{:#?}",
        ended.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_gives_the_report_of_an_embedded_audit() {
    let Some(place) = place().await else { return };
    let tree = tree(60);
    add_large_files(tree.path());
    let worker = Process::worker(&place.url(), &[]);
    let ended = audit_of(&place.url(), tree.path()).end();
    let expected = embedded(tree.path());
    assert_eq!(audited(&ended), expected);
    let files = expected["volume"]["files"].as_u64().expect("a number");
    assert_eq!(shares(&ended), [files], "this process analyses nothing");
    drain(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_share_the_work_and_change_nothing_in_the_report() {
    let Some(place) = place().await else { return };
    let tree = tree(200);
    let workers = [(); 3].map(|()| Process::worker(&place.url(), &["--jobs", "2"]));
    let ended = audit_of(&place.url(), tree.path()).end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    assert_eq!(shares(&ended).len(), 3, "{:?}", shares(&ended));
    workers.into_iter().for_each(drain);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_some_of_the_agents_complete_each_other() {
    let Some(place) = place().await else { return };
    let tree = tree(30);
    let rust = Process::worker(&place.url(), &["--agents", "rust"]);
    let mut audit = audit_of(&place.url(), tree.path());
    audit
        .line_with("waiting: no agent takes tasks of analyse-markdown, analyse-text, analyse-toml");
    let others = Process::worker(&place.url(), &["--agents", "markdown,toml,text,other"]);
    let ended = audit.end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    assert_eq!(shares(&ended).len(), 2);
    drain(rust);
    drain(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_late_is_asked_for_and_used() {
    let Some(place) = place().await else { return };
    let tree = tree(60);
    let mut audit = audit_of(&place.url(), tree.path());
    audit.line_with("waiting: no agent takes tasks of analyse-");
    audit.line_with("code_audit_worker -- --bus 'amqp://guest:***@");
    let worker = Process::worker(&place.url(), &[]);
    audit.line_with("agents are there: going on");
    assert_eq!(audited(&audit.end()), embedded(tree.path()));
    drain(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_costs_nothing_but_time() {
    let Some(place) = place().await else { return };
    let tree = tree(300);
    let mut doomed = Process::worker(&place.url(), &["--jobs", "4"]);
    let audit = audit_of(&place.url(), tree.path());
    (0..40).for_each(|_| doomed.line_with("analysed"));
    let heir = Process::worker(&place.url(), &["--jobs", "4"]);
    doomed.signal("KILL");
    let ended = audit.end();
    assert_eq!(audited(&ended), embedded(tree.path()));
    let shares = shares(&ended);
    assert!(
        shares.len() == 2 && shares.iter().all(|files| *files > 0),
        "{shares:?}"
    );
    drop(doomed);
    drain(heir);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_audit_leaves_nothing_behind_in_its_workers() {
    let Some(place) = place().await else { return };
    let large = tree(300);
    let mut worker = Process::worker(&place.url(), &["--jobs", "1"]);
    let audit = audit_of(&place.url(), large.path());
    (0..10).for_each(|_| worker.line_with("analysed"));
    audit.signal("INT");
    let ended = audit.end();
    assert_eq!(ended.status.code(), Some(130), "{:#?}", ended.said);
    assert!(ended.has_said("interrupted:"), "{:#?}", ended.said);
    assert_eq!(ended.json()["run"]["cancelled"], true);

    let small = tree(20);
    let ended = audit_of(&place.url(), small.path()).end();
    assert_eq!(audited(&ended), embedded(small.path()));
    drain(worker);
    let queues = place.queues().await.expect("a list");
    // Where tasks of the usual priority wait; there is one for each agent.
    let tasks = queues
        .iter()
        .filter(|queue| queue.contains("capability.analyse-") && queue.ends_with(".p1.v1"));
    assert_eq!(tasks.clone().count(), 5, "{queues:?}");
    for queue in tasks {
        let waiting = place.depth(queue).await.expect("a number");
        assert!(waiting == 0, "{waiting} messages wait in {queue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audits_at_once_on_the_same_broker_do_not_meet() {
    let Some(place) = place().await else { return };
    let trees = [tree(120), tree(60), tree(10)];
    let workers = [(); 2].map(|()| Process::worker(&place.url(), &[]));
    let audits = trees
        .each_ref()
        .map(|tree| audit_of(&place.url(), tree.path()));
    for (audit, tree) in audits.into_iter().zip(&trees) {
        assert_eq!(audited(&audit.end()), embedded(tree.path()));
    }
    workers.into_iter().for_each(drain);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_for_people_are_the_same_but_for_the_figures_of_the_run() {
    let Some(place) = place().await else { return };
    let tree = tree(40);
    let out = tempfile::tempdir().expect("a temporary directory");
    let worker = Process::worker(&place.url(), &[]);
    let write = |name: &str, bus: &[&str]| {
        let prefix = out.path().join(name);
        let paths = [tree.path(), prefix.as_path()].map(|path| path.to_str().expect("UTF-8"));
        let ended = Process::start(
            "code_audit",
            &[bus, &[paths[0], "--out", paths[1]]].concat(),
        )
        .end();
        assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.said);
        let read =
            |extension| fs::read_to_string(prefix.with_extension(extension)).expect("a report");
        (ended.stdout, read("md"), read("html"))
    };
    let (_, here_md, here_html) = write("here", &[]);
    let url = place.url();
    let (table, there_md, there_html) = write("there", &["--bus", &url]);
    assert!(
        table.contains("\nworker ") && table.contains(" of their time busy in "),
        "{table}"
    );
    let without_times = |page: &str| {
        let timed = ["| utilisation |", "| wall time |", "| tasks at once |"];
        let lines = page
            .lines()
            .filter(|line| !timed.iter().any(|row| line.starts_with(row)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_times(&there_md), without_times(&here_md));
    let without_run = |page: &str| {
        let (before, rest) = page.split_once("<section><h2>Run</h2>").expect("a section");
        let (_, after) = rest.split_once("</section>").expect("its end");
        format!("{before}{after}")
    };
    assert_eq!(without_run(&there_html), without_run(&here_html));
    drain(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_bus_is_said_in_two_lines_without_the_password() {
    let Some(place) = place().await else { return };
    let at = place.broker().place();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr();
    let nobody = free.expect("it has an address");
    let cases = [
        (
            format!("amqp://guest:hunter2@{at}/{}", place.name()),
            "refuses the credentials",
        ),
        (
            place.url().replace(place.name(), "no-such-vhost"),
            "virtual host \"no-such-vhost\"",
        ),
        (
            format!("amqp://guest:hunter2@{nobody}/"),
            "Connection refused",
        ),
        (
            "amqp://guest:hunter2@host:port/".to_owned(),
            "not of the form",
        ),
        (
            "http://guest:hunter2@host/".to_owned(),
            "begin with `http:`",
        ),
        ("guest:hunter2@host".to_owned(), "begin with `guest:`"),
        ("hunter2".to_owned(), "no scheme"),
    ];
    let tree = tree(1);
    for (url, reason) in cases {
        let audit = audit_of(&url, tree.path());
        let worker = Process::start("code_audit_worker", &["--bus", &url]);
        for ended in [audit.end(), worker.end()] {
            assert_eq!(ended.status.code(), Some(2), "{:#?}", ended.said);
            assert_eq!(
                (ended.said.len(), ended.stdout.as_str()),
                (2, ""),
                "{:#?}",
                ended.said
            );
            assert!(
                ended.said[0].starts_with("error: ") && ended.said[0].contains(reason),
                "{:#?}",
                ended.said
            );
            assert!(ended.said[1].starts_with("  help: "), "{:#?}", ended.said);
            assert!(!ended.has_said("hunter2"), "{:#?}", ended.said);
        }
    }
}
