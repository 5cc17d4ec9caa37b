//! Faults that break a promise, planted to show that the witness sees them.

use bytes::Bytes;
use coditect_core::RunId;
use coditect_core::dag::journal::{Record, RecordKind};

/// A component that does not keep its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The bus confirms messages and drops them.
    BusDropsConfirmed,
    /// The journal takes appends under tokens that are stale.
    JournalTakesStaleTokens,
    /// The journal says that it has appended and has not.
    JournalForgetsAppends,
    /// The journal accepts runs and does not keep them.
    JournalForgetsRuns,
    /// An owner accepts a second completion of a task.
    SecondCompletion,
    /// An owner accepts an outcome that no attempt had.
    ForgedOutcome,
    /// The bus lets every claim be granted.
    GrantsForged,
    /// A step that was kept is done again by the next attempt.
    StepsForgotten,
    /// An owner hands tasks of a paused run out.
    PausesIgnored,
    /// An owner takes a signal in twice.
    SignalsTwice,
    /// Runs do not wait for their start.
    StartsEarly,
    /// An occurrence of a schedule is submitted as another run each time.
    OccurrencesTwice,
    /// An occurrence of a schedule is said to be submitted, and is not.
    OccurrencesForgotten,
    /// An occurrence does not wait for the one before it.
    OverlapsIgnored,
    /// A run has more tasks under way than it may.
    LimitsIgnored,
    /// A signal says something else than what was sent.
    SignalsChanged,
    /// A patch adds something else than what was sent.
    PatchesIgnored,
    /// Somebody is told that a patch is applied which is not.
    PatchesForgotten,
    /// A decision is taken for the opposite of what it was.
    DecisionsTurned,
    /// Agents that fail are called all the same.
    BreakersMissing,
    /// An attempt is taken for one that has failed, though nobody has worked on it.
    FailedUnbegun,
    /// The store says that it has committed and has not.
    StoreForgetsCommits,
}

impl Planted {
    /// Changes what the witness is shown, where that is how the promise is broken: it then sees other records than those by
    /// which the owner acts.
    pub(crate) fn misread(self, records: &mut Vec<(RunId, Record)>) {
        match self {
            Self::PatchesForgotten => {
                records.retain(|(_, record)| !matches!(record.kind, RecordKind::Patched { .. }));
            }
            Self::SignalsChanged | Self::DecisionsTurned => {
                for (_, record) in records {
                    if let RecordKind::Signalled { name, payload } = &mut record.kind {
                        self.misread_signal(name, payload);
                    }
                }
            }
            Self::FailedUnbegun => {
                let first = records
                    .iter()
                    .position(|(_, record)| matches!(record.kind, RecordKind::Dispatched { .. }));
                let Some(first) = first else { return };
                let (run, Record { at, kind, .. }) = &records[first];
                if let RecordKind::Dispatched { task, attempt, .. } = kind {
                    let failed = RecordKind::Failed {
                        task: *task,
                        attempt: *attempt,
                        failure: Bytes::from_static(b"{\"kind\":\"error\"}"),
                        retry_at: Some(*at),
                    };
                    records.insert(first + 1, (*run, failed.at(*at)));
                }
            }
            _ => {}
        }
    }

    fn misread_signal(self, name: &str, payload: &mut Bytes) {
        let is_decision = name.starts_with("approval:");
        let text = String::from_utf8_lossy(payload);
        let changed = match self {
            Self::SignalsChanged if name.starts_with("signal-") => format!("1{text}"),
            Self::DecisionsTurned if is_decision && text.contains("true") => {
                text.replace("true", "false")
            }
            Self::DecisionsTurned if is_decision => text.replace("false", "true"),
            _ => return,
        };
        *payload = changed.into();
    }
}
