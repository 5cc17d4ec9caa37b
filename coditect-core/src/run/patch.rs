//! Changing the graph of a run that is under way.

use std::sync::Arc;

use coditect_dag::journal::Command;

use super::event::EventStream;
use super::handle::RunHandle;
use crate::coordinator::RunMachine;
use crate::error::{Error, ErrorKind};
use crate::plan::{Patch, PatchSpec};

/// How many bytes a patch may have as it is sent.
const MAX_PATCH: usize = 4 << 20;

impl<O> RunHandle<O> {
    /// Changes the graph of the run while it is under way, as a whole or not at all, and returns the revision that this makes.
    ///
    /// Returns once whoever owns the run has carried it out or refused it, and waits where there is nobody; a paused run is
    /// patched like any other. A [`Patch`] is applied once, however often it is sent; its answer stays the same.
    ///
    /// The run goes on with the new graph, whoever owns it, and after a [retry](Self::retry). Its limits hold for what is
    /// added. The members of an aggregator and the result of the plan stay as they are: the way to have more in a result is
    /// another input for a task that has not begun.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// [`ErrorKind::Conflict`] if the graph is not, or no longer, at the revision that was expected: whoever asks should look
    /// at it and decide again.
    ///
    /// [`ErrorKind::Invalid`] with the task and the reason, if a task has begun that is to change, is not there, is there
    /// already, calls something else, is still needed although it is removed, or would wait for itself or for what did not
    /// succeed; if a limit would be passed; if the run has ended. As [`summary`](Self::summary).
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have asked. The same patch, or another of the same [name](Patch::id), tells what became of it.
    ///
    /// # Examples
    ///
    /// At [`Patch`].
    pub async fn patch(&self, patch: &Patch) -> Result<u64, Error> {
        let mut stream = EventStream::open(self.run, Arc::clone(&self.ports)).await?;
        while stream.next_kept().await?.is_some() {}
        if let Some(answer) = answer(stream.machine(), patch, None) {
            return answer;
        }
        let spec = stream.machine().resolve(patch)?;
        let json = serde_json::to_vec(&spec).map_err(|error| {
            Error::invalid("the patch cannot be written as JSON").with_source(error)
        })?;
        if json.len() > MAX_PATCH {
            let text = format!(
                "the patch has {} bytes, {MAX_PATCH} are allowed",
                json.len()
            );
            return Err(Error::invalid(text));
        }
        let (patch_json, at) = (json.into(), self.ports.clock.now());
        let command = Command::Patch {
            patch: patch_json,
            at,
        };
        self.send(command).await?;
        loop {
            let goes_on = stream.next().await?.is_some();
            if let Some(answer) = answer(stream.machine(), patch, Some(&spec)) {
                return answer;
            }
            if !goes_on {
                return Err(Error::invalid("the run has ended"));
            }
        }
    }

    /// How many patches have changed the graph of the run.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary).
    pub async fn revision(&self) -> Result<u64, Error> {
        let mut stream = EventStream::open(self.run, Arc::clone(&self.ports)).await?;
        while stream.next_kept().await?.is_some() {}
        Ok(stream.machine().revision())
    }
}

/// What became of a patch, as far as that is known.
fn answer(
    machine: &RunMachine,
    patch: &Patch,
    sent: Option<&PatchSpec>,
) -> Option<Result<u64, Error>> {
    let refused = |reason: &Arc<str>| {
        let moved = sent.is_some_and(|sent| sent.base.revision != machine.revision());
        let kind = match moved {
            true => ErrorKind::Conflict,
            false => ErrorKind::Invalid,
        };
        Error::new(kind, format!("the patch was refused: {reason}"))
    };
    let answer = machine.patched(patch.name())?;
    Some(answer.as_ref().copied().map_err(refused))
}
