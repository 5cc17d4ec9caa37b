//! A place for a process that is killed and started again, with what all of them have written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use coditect_core::RunId;
use tokio::time::{Instant, sleep};

/// Far more than anything takes that comes about by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a test is to strike: as often as the environment says, or a few times.
pub(crate) fn strikes(few: usize) -> usize {
    let given = std::env::var("CODITECT_TEST_KILLS");
    given.ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// A process, or the place of one that was killed.
pub(crate) struct Slot {
    role: &'static str,
    places: String,
    ledger: PathBuf,
    /// The largest file that it may write, in blocks of 512 bytes.
    limit: Option<u64>,
    /// It ends when its standard input does.
    running: Option<(Child, ChildStdin)>,
}

impl Slot {
    pub(crate) fn new(role: &'static str, number: usize, places: &str, folder: &Path) -> Self {
        let ledger = folder.join(format!("{role}-{number}"));
        fs::write(&ledger, "").expect("a ledger");
        Self {
            role,
            places: places.to_owned(),
            ledger,
            limit: None,
            running: None,
        }
    }

    /// Lets no file of the next process become larger than so many blocks of 512 bytes, as on a disk that is full.
    pub(crate) fn limit(&mut self, blocks: Option<u64>) {
        self.limit = blocks;
    }

    pub(crate) fn start(&mut self) {
        let program = env!("CARGO_BIN_EXE_coditect-test-process");
        let mut command = match self.limit {
            // The signal that would kill it is ignored, so that writing fails.
            Some(blocks) => {
                let script = "ulimit -f \"$0\"; trap '' XFSZ; exec \"$@\"";
                let mut shell = Command::new("sh");
                shell.args(["-c", script, &blocks.to_string(), program]);
                shell
            }
            None => Command::new(program),
        };
        let mut child = command
            .args([self.role, &self.places])
            .arg(&self.ledger)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = child.stdin.take().expect("it is piped");
        self.running = Some((child, stdin));
    }

    /// Kills it with SIGKILL, and returns when it is dead.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _stdin)) = self.running.take() {
            child.kill().expect("a process");
            child.wait().expect("it ends");
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.ledger).expect("a ledger")
    }

    /// How many lines begin like this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        let text = self.text();
        text.lines()
            .filter(|line| line.starts_with(beginning))
            .count()
    }

    /// Waits for so many lines that begin like this.
    pub(crate) async fn has(&mut self, beginning: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(beginning) < count {
            if let Some((child, _)) = &mut self.running {
                let ended = child.try_wait().expect("a process");
                assert!(ended.is_none(), "a process ended with {ended:?}");
            }
            assert!(
                Instant::now() < deadline,
                "not in time: {beginning} in\n{}",
                self.text()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// The runs that were accepted, with their numbers.
    pub(crate) fn accepted(&self) -> Vec<(u64, RunId)> {
        let text = self.text();
        let accepted = text.lines().filter_map(|line| {
            let (number, run) = line.strip_prefix("accepted ")?.split_once(' ')?;
            Some((number.parse().ok()?, run.parse().ok()?))
        });
        accepted.collect()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            // One that has ended cannot be killed, and need not be.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
