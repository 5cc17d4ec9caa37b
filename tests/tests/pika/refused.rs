//! What the programs of `examples/python` say when they cannot do their work: one line, and a code to exit with.

use std::process::Output;

use tokio::process::Command;

use super::python::interpreter;
use super::*;

async fn ran(program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");
    let running = Command::new(interpreter())
        .args(["-B", program])
        .args(arguments)
        .current_dir(folder)
        .kill_on_drop(true)
        .output();
    let Output { status, stderr, .. } = within(running).await.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Both programs, with one address.
async fn refused(url: &str, code: i32, words: &str) {
    for (program, arguments) in [
        ("agent.py", &[url][..]),
        ("ask.py", &[url, "count-words", "\"to be\""]),
    ] {
        let (ended, said) = ran(program, arguments).await;
        assert_eq!(ended, Some(code), "{program} {url}: {said}");
        assert_eq!(said.lines().count(), 1, "{program} {url}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(words),
            "{said}"
        );
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test]
async fn python_says_in_one_line_why_no_broker_lets_it_in() {
    let Some(vhost) = vhost().await else { return };
    let (broker, name) = (vhost.broker(), vhost.name());
    let (place, poor) = (broker.place(), format!("poor-{name}"));
    broker.ctl(&["add_user", &poor, "poor"]).await.unwrap();
    let nothing = ["set_permissions", "-p", name, &poor, "^$", "^$", "^$"];
    broker.ctl(&nothing).await.unwrap();
    let at = |login: &str, path: &str| format!("amqp://{login}@{place}/{path}");
    refused(&at("guest:s3cret", "%2f"), 2, "refuses the login").await;
    refused(&at("guest:guest", "nowhere"), 2, "virtual host 'nowhere'").await;
    refused(&at(&format!("{poor}:poor"), name), 2, "a permission").await;
    refused("amqp://me:s3cret@127.0.0.1:1", 1, "no broker answers at").await;
    refused(&format!("amqps://me:s3cret@{place}"), 2, "not speak TLS").await;
    for garbled in ["s3cret", "http://s3cret", "amqp://me:s3cret@host:port"] {
        refused(garbled, 2, "the address must be").await;
    }
    let (code, said) = ran("ask.py", &[&vhost.url(), "nobody", "1"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no agent has ever offered 'nobody'"),
        "{said}"
    );
}

#[tokio::test]
async fn python_says_how_it_is_called() {
    // It needs no server, but its Python does come with those.
    if vhost().await.is_none() {
        return;
    }
    for (program, arguments) in [("agent.py", &["a", "b"][..]), ("ask.py", &["amqp://host"])] {
        let (code, said) = ran(program, arguments).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with("usage: "), "{said}");
    }
    let (code, said) = ran("ask.py", &["amqp://host", "count-words", "to be"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is no JSON"), "{said}");
}
