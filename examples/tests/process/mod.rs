//! Processes of examples that run beside a test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::binary::binary;

/// Far more than anything takes that a test waits for.
const LIMIT: Duration = Duration::from_secs(120);

/// A process of an example that runs beside the test; killed if it is dropped.
pub(crate) struct Process {
    child: Child,
    /// Standard error, line by line.
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    /// Standard output, once it has ended.
    stdout: mpsc::Receiver<String>,
}

impl Process {
    /// Starts an example, with a line of its log for every file that it analyses.
    pub(crate) fn start(example: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary(example));
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts an example as the caller has prepared it.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env("RUST_LOG", "coditect_examples=debug,warn,lapin=off")
            .env("NO_COLOR", "1")
            .env_remove("CODITECT_BUS")
            .env_remove("CODITECT_REGISTRY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example can be started");
        // Both are read all the time: a process whose pipe is full stands still.
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines
                .map_while(|line| sender.send(line).ok())
                .for_each(drop);
        });
        let mut pipe = child.stdout.take().expect("it is piped");
        let (sender, stdout) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let read = pipe.read_to_string(&mut text);
            // Nobody may want to know any more.
            let _ = read.is_ok() && sender.send(text).is_ok();
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            stdout,
        }
    }

    /// A worker that is ready to work.
    pub(crate) fn worker(bus: &str, arguments: &[&str]) -> Self {
        let mut worker = Self::start("code_audit_worker", &[&["--bus", bus], arguments].concat());
        worker.line_with("ready:");
        worker
    }

    /// Waits for a line of standard error that contains `part`.
    pub(crate) fn line_with(&mut self, part: &str) {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            let found = line.contains(part);
            self.seen.push(line);
            if found {
                return;
            }
        }
        panic!("it did not say `{part}`: {:#?}", self.seen);
    }

    /// How an audit names a worker that is this process, whatever its host.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn is(&self, worker: &str) -> bool {
        worker.ends_with(&format!(":{}", self.child.id()))
    }

    /// Says whether it has not ended yet.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our own").is_none()
    }

    /// Has it stand still at a moment when it analyses something, and says how many files that are.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn freeze_at_work(&mut self) -> usize {
        const TRIES: usize = 50;
        for _ in 0..TRIES {
            self.signal("STOP");
            // What it has said is on its way; it says nothing more.
            while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(200)) {
                self.seen.push(line);
            }
            let said = |part| self.seen.iter().filter(|line| line.contains(part)).count();
            let under_way = said("analysing") - said("analysed");
            if under_way > 0 {
                return under_way;
            }
            self.signal("CONT");
        }
        panic!("it had no work {TRIES} times: {:#?}", self.seen);
    }

    /// Sends a signal: `INT`, `KILL`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let Ok(stdout) = self.stdout.recv_timeout(LIMIT) else {
            self.seen.extend(self.lines.try_iter());
            panic!("it does not end: {:#?}", self.seen);
        };
        let status = self.child.wait().expect("it ends");
        let mut said = std::mem::take(&mut self.seen);
        said.extend(self.lines.iter());
        Ended {
            status,
            said,
            stdout,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The lines of standard error.
    pub(crate) said: Vec<String>,
    pub(crate) stdout: String,
}

impl Ended {
    /// Says whether a line of standard error contains `part`.
    pub(crate) fn has_said(&self, part: &str) -> bool {
        self.said.iter().any(|line| line.contains(part))
    }

    /// What an audit with `--json` has printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:#?}", self.said))
    }
}
