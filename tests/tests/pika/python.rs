//! Python processes of a test, which end with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The Python that has `pika`; it is made if it is not there.
pub(super) fn interpreter() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let script = root().join("tests/python.sh");
        let made = std::process::Command::new("sh").arg(script).output();
        let made = made.unwrap();
        assert!(
            made.status.success(),
            "no Python with `pika`; tests/setup.sh prepares one: {}",
            String::from_utf8_lossy(&made.stderr),
        );
        root().join("target/python/bin/python")
    })
}

/// A Python program that runs, and what it prints.
pub(super) struct Python {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was printed and not waited for.
    said: Vec<String>,
}

impl Python {
    /// Starts a program of `tests/tests/pika`.
    pub(super) fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_at(&root().join("tests/tests/pika").join(program), arguments)
    }

    /// Starts a program of `examples/python`.
    pub(super) fn example(program: &str, arguments: &[&str]) -> Self {
        Self::start_at(&root().join("examples/python").join(program), arguments)
    }

    fn start_at(program: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(interpreter())
            .args(["-u", "-B", "-X", "dev"])
            .arg(program)
            .args(arguments)
            .env("PYTHONPATH", root().join("examples/python"))
            // Programs of tests end when this is closed, which happens however the test ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            process,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits until it has printed this line. Others are kept, as its threads speak in any order.
    pub(super) async fn says(&mut self, wanted: &str) {
        if let Some(place) = self.said.iter().position(|line| line == wanted) {
            self.said.remove(place);
            return;
        }
        let found = super::within(async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line == wanted {
                    return true;
                }
                self.said.push(line);
            }
            false
        });
        assert!(found.await, "it ended without {wanted:?}: {:?}", self.said);
    }

    /// Waits for its end, and returns what else it prints.
    pub(super) async fn ends(mut self) -> (bool, Vec<String>) {
        super::within(async {
            let mut said = std::mem::take(&mut self.said);
            while let Some(line) = self.lines.next_line().await.unwrap() {
                said.push(line);
            }
            (self.process.wait().await.unwrap().success(), said)
        })
        .await
    }

    /// Lets go what it holds.
    pub(super) async fn release(&mut self) {
        let stdin = self.process.stdin.as_mut().unwrap();
        stdin.write_all(b"go\n").await.unwrap();
    }

    /// Ends it as an accident does.
    pub(super) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Asks it to end, as an operator does.
    pub(super) async fn terminate(&self) {
        let id = self.process.id().unwrap().to_string();
        let signal = Command::new("kill").args(["-TERM", &id]).status();
        assert!(signal.await.unwrap().success());
    }
}
