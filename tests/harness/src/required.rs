//! What a test does without its server.

use std::env;
use std::future::Future;
use std::io::{Write, stderr};
use std::thread;

use crate::{Error, ErrorKind};

/// Waits for the server that a test needs, or returns `None` when the test has to be left out, which is then said on
/// stderr: because `CODITECT_SKIP_SERVERS=1` asks for it, or because the test needs a private server and one was given.
///
/// # Panics
///
/// Panics if the server is missing or does not start: a run that tests less than it seems to is worse than one that fails.
pub async fn required<T>(server: impl Future<Output = Result<T, Error>>) -> Option<T> {
    if env::var("CODITECT_SKIP_SERVERS").is_ok_and(|value| !matches!(value.as_str(), "" | "0")) {
        not_tested("CODITECT_SKIP_SERVERS is set");
        return None;
    }
    match server.await {
        Ok(server) => Some(server),
        Err(error) if error.kind() == ErrorKind::GivenServer => {
            not_tested(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says on stderr that the current test is left out. Not with `eprintln!`, which is not shown for tests that pass.
pub fn not_tested(why: &str) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("a test");
    let _ = writeln!(stderr(), "NOT TESTED: {name}: {why}");
}
