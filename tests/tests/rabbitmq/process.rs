//! Processes that are started, paused and killed, and what they have written down.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep};

/// How long anything may take that comes about by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what comes about by itself.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Where the processes of one test write down what they do.
pub(crate) struct Ledger(TempDir);

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Lets the handlers of `wait` end.
    pub(crate) fn go(&self) {
        std::fs::write(self.0.path().join("go"), "").expect("a file");
    }

    /// What all processes have written, in no order that means anything.
    pub(crate) fn lines(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).expect("a folder");
        let texts = files.map(|file| {
            let path = file.expect("an entry").path();
            std::fs::read_to_string(path).expect("a ledger")
        });
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// How many lines begin like this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    }
}

/// A process that ends with this, or with the test.
pub(crate) struct Process {
    child: Child,
    /// It ends when this does, and `Child` would drop it when it waits.
    _stdin: Option<ChildStdin>,
    file: PathBuf,
}

impl Process {
    /// Starts a worker and waits until it takes tasks.
    pub(crate) async fn worker(url: &str, ledger: &Ledger) -> Self {
        let mut worker = Self::start("worker", url, ledger);
        worker.has_written("up").await;
        worker
    }

    /// Starts a coordinator of its own journal and waits until it has taken its run.
    pub(crate) async fn coordinator(url: &str, ledger: &Ledger) -> Self {
        let mut coordinator = Self::start("coordinator", url, ledger);
        coordinator.has_written("submitted").await;
        coordinator
    }

    fn start(role: &str, url: &str, ledger: &Ledger) -> Self {
        let number = std::fs::read_dir(ledger.0.path())
            .expect("a folder")
            .count();
        let file = ledger.0.path().join(format!("{role}-{number}"));
        std::fs::write(&file, "").expect("a ledger");
        let mut child = Command::new(env!("CARGO_BIN_EXE_coditect-test-process"))
            .args([role, url])
            .arg(&file)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let _stdin = child.stdin.take();
        Self {
            child,
            _stdin,
            file,
        }
    }

    async fn has_written(&mut self, line: &str) {
        until(line, async || {
            let ended = self.child.try_wait().expect("a process");
            assert!(ended.is_none(), "a process ended with {ended:?}");
            self.lines().iter().any(|written| written == line)
        })
        .await;
    }

    /// How many lines of this process begin like this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    }

    /// What this process has written.
    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.file)
    }

    /// Kills it at once, and returns when it is dead.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a process");
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it has not ended");
        let sent = Command::new("kill")
            .args(["-s", signal, &id.to_string()])
            .status();
        assert!(sent.await.expect("kill").success());
    }

    /// Waits for its end, and says whether that was in order.
    pub(crate) async fn ended(&mut self, within: Duration) -> bool {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let status = ended.expect("it ends in time").expect("a process");
        status.success()
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a ledger");
    text.lines().map(str::to_owned).collect()
}
