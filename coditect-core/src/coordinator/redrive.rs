//! Tasks that have failed for good, set aside until they are put back by themselves.

use std::time::Duration;

use bytes::Bytes;
use coditect_dag::{RunId, TaskId};
use serde::{Deserialize, Serialize};

use super::owner::Owner;
use super::record::encode_failure;
use crate::agent::encode_output;
use crate::failure::Failure;

/// A failure as its record keeps it that is followed by a redrive rather than a retry.
#[derive(Serialize)]
struct SetAside<'a> {
    #[serde(flatten)]
    failure: &'a Failure,
    redrive: u32,
}

/// What is read of it beside the failure.
#[derive(Deserialize)]
struct Mark {
    #[serde(default)]
    redrive: Option<u32>,
}

/// Writes a failure down with the number of the redrive that follows it, from 1.
fn encode(failure: &Failure, redrive: u32) -> Bytes {
    let kept = SetAside { failure, redrive };
    encode_output(&kept).unwrap_or_else(|_| encode_failure(failure))
}

/// The number of the redrive that follows a failure, where one does.
pub(super) fn redrive_of(failure: &[u8]) -> Option<u32> {
    let mark: Mark = serde_json::from_slice(failure).ok()?;
    mark.redrive
}

impl Owner {
    /// After how long a task that has failed for good is put back by itself, and how that is written down.
    pub(super) fn redrives_itself(
        &self,
        run: RunId,
        task: TaskId,
        failure: &Failure,
    ) -> Option<(Duration, Bytes)> {
        let machine = &self.runs.get(&run)?.machine;
        let policy = self
            .shared
            .redrives
            .policy(&machine.requirement(task).name)?;
        let redrives = machine.redrives(task);
        let delay = policy.delay(failure.kind, redrives)?;
        let number = redrives.saturating_add(1);
        tracing::info!(
            %run,
            task = machine.path(task),
            %failure,
            number,
            ?delay,
            "a task has failed and was set aside; it is put back by itself"
        );
        Some((delay, encode(failure, number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::decode_failure;
    use crate::failure::FailureKind;

    #[test]
    fn a_failure_is_read_with_and_without_the_redrive_that_follows_it() {
        let mut failure = Failure::new(FailureKind::Timeout, "too slow");
        failure.chain.push("the disk".to_owned());
        let kept = encode(&failure, 3);
        assert_eq!(redrive_of(&kept), Some(3));
        assert_eq!(decode_failure(&kept), failure);
        assert_eq!(redrive_of(&encode_failure(&failure)), None);
        assert_eq!(redrive_of(b"no json"), None);
    }
}
