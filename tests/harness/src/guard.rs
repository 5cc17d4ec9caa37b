//! Child processes that end with the process that started them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;

/// A child process under a small shell script that kills it when our end of a pipe closes: by a drop, by an exit or by
/// a `kill -9` of this process.
///
/// The types are those of `std`, because tokio's are bound to one runtime, and a shared server serves the tests of many.
#[derive(Debug)]
pub(crate) struct Guarded {
    name: String,
    script: Child,
}

/// How to start a guarded process.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a str,
    pub(crate) arguments: &'a [String],
    pub(crate) variables: &'a [(&'static str, String)],
    /// Where its output goes.
    pub(crate) output: &'a Path,
    /// A folder to remove when the process has ended.
    pub(crate) folder: Option<&'a Path>,
}

impl Guarded {
    pub(crate) fn start(start: Start<'_>) -> Result<Self, Error> {
        let name = start.program.to_owned();
        let output = File::create(start.output).map_err(Error::because("the log of a server"))?;
        let errors = output
            .try_clone()
            .map_err(Error::because("the log of a server"))?;
        let script = Command::new("sh")
            .args(["-c", include_str!("guard.sh"), "guard"])
            .arg(start.folder.map_or(OsStr::new(""), Path::as_os_str))
            .arg(start.program)
            .args(start.arguments)
            // Where it may leave a dump of its memory.
            .current_dir(start.output.parent().unwrap_or(Path::new(".")))
            .envs(start.variables.iter().map(|(name, value)| (name, value)))
            // The terminal's Ctrl-C is for the tests; their end is what ends the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Error::because(&name))?;
        Ok(Self { name, script })
    }

    /// Tells whether the process has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.script.try_wait().map_err(Error::because(&self.name))
    }

    /// Sends a signal, which the process does not necessarily end by.
    pub(crate) fn signal(&mut self, signal: &str) -> Result<(), Error> {
        match &mut self.script.stdin {
            Some(stdin) => writeln!(stdin, "{signal}").map_err(Error::because(&self.name)),
            None => Ok(()),
        }
    }

    /// Sends a signal and waits for the end of the process.
    pub(crate) async fn end(&mut self, signal: &str, within: Duration) -> Result<(), Error> {
        // A process that has ended already reads no more.
        let _ = self.signal(signal);
        let deadline = Instant::now() + within;
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::failed(format!(
                    "{} has not ended {within:?} after SIG{signal}",
                    self.name
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(command: &str, at: &Path, folder: Option<&Path>) -> Guarded {
        let started = Guarded::start(Start {
            program: "sh",
            arguments: &["-c".to_owned(), command.to_owned()],
            variables: &[("WORD", "said".to_owned())],
            output: &at.join("output"),
            folder,
        });
        started.unwrap()
    }

    async fn until(mut what: impl FnMut() -> bool) {
        let waiting = async {
            while !what() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, waiting).await.unwrap();
    }

    fn says(at: &Path, word: &str) -> bool {
        std::fs::read_to_string(at.join("output")).is_ok_and(|text| text.contains(word))
    }

    #[tokio::test]
    async fn an_end_is_seen_with_its_status_and_output() {
        let at = tempfile::tempdir().unwrap();
        let mut process = shell("echo $WORD; exit 3", at.path(), None);
        until(|| process.ended().unwrap().is_some()).await;
        assert_eq!(process.ended().unwrap().unwrap().code(), Some(3));
        assert!(says(at.path(), "said"));
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process_and_its_end_is_awaited() {
        let at = tempfile::tempdir().unwrap();
        let command = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        let mut process = shell(command, at.path(), None);
        until(|| says(at.path(), "up")).await;
        process.end("TERM", SOON).await.unwrap();
        assert!(says(at.path(), "bye"));
    }

    #[tokio::test]
    async fn who_does_not_end_in_time_is_an_error_and_is_killed_with_the_guard() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let command = "trap '' TERM; echo up; while :; do sleep 0.01; done";
        let mut process = shell(command, at.path(), Some(&folder));
        until(|| says(at.path(), "up")).await;
        let ended = process.end("TERM", Duration::from_millis(50)).await;
        assert!(ended.unwrap_err().to_string().contains("after SIGTERM"));

        // The folder goes after the process has ended.
        drop(process);
        until(|| !folder.exists()).await;
    }
}
