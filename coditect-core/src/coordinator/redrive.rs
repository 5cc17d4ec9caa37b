//! Tasks that have failed for good, set aside until they are put back by themselves.

use std::time::Duration;

use bytes::Bytes;
use coditect_dag::{RunId, TaskId};
use serde::{Deserialize, Serialize};

use super::owner::Owner;
use super::record::encode_failure;
use crate::agent::encode_output;
use crate::failure::Failure;

/// A failure as its record keeps it that is followed by something else than a retry.
#[derive(Serialize)]
struct SetAside<'a> {
    #[serde(flatten)]
    failure: &'a Failure,
    #[serde(flatten)]
    mark: Mark,
}

/// What is kept beside the failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The number of the redrive that follows, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) redrive: Option<u32>,
    /// Whether the failure is not to count, as its agent is held for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) spared: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Writes a failure down with what follows it.
fn encode(failure: &Failure, mark: Mark) -> Bytes {
    let kept = SetAside { failure, mark };
    encode_output(&kept).unwrap_or_else(|_| encode_failure(failure))
}

/// What follows a failure, as it was written down.
pub(super) fn mark_of(failure: &[u8]) -> Mark {
    serde_json::from_slice(failure).unwrap_or_default()
}

impl Owner {
    /// After how long a task is tried again that its retry policy gives up, and how its failure is written down: where its agent
    /// is held for it, it is not spent; otherwise it may be put back by itself.
    pub(super) fn after_all(
        &self,
        run: RunId,
        task: TaskId,
        failure: &Failure,
    ) -> (Option<Duration>, Bytes) {
        let machine = self.runs.get(&run).map(|active| &active.machine);
        let irreversible = machine
            .is_some_and(|machine| machine.is_granted(task, machine.scheduler().attempt(task)));
        let spared = self.spared(failure);
        if irreversible {
            // Whether it may be done once more is for a person to say.
            return (None, encode_failure(failure));
        }
        if let Some(delay) = spared {
            let mark = Mark {
                spared: true,
                ..Mark::default()
            };
            return (Some(delay), encode(failure, mark));
        }
        match self.redrives_itself(run, task, failure) {
            Some((delay, failure)) => (Some(delay), failure),
            None => (None, encode_failure(failure)),
        }
    }

    /// After how long a task that has failed for good is put back by itself, and how that is written down.
    fn redrives_itself(
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
        let mark = Mark {
            redrive: Some(number),
            ..Mark::default()
        };
        Some((delay, encode(failure, mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::decode_failure;
    use crate::failure::FailureKind;

    #[test]
    fn a_failure_is_read_with_and_without_what_follows_it() {
        let mut failure = Failure::new(FailureKind::Timeout, "too slow");
        failure.chain.push("the disk".to_owned());
        for (redrive, spared) in [(Some(3), false), (None, true), (None, false)] {
            let mark = Mark { redrive, spared };
            let kept = encode(&failure, mark);
            assert_eq!(
                (mark_of(&kept), decode_failure(&kept)),
                (mark, failure.clone())
            );
        }
        assert_eq!(mark_of(&encode_failure(&failure)), Mark::default());
        assert_eq!(mark_of(b"no json"), Mark::default());
    }
}
