//! A run as its submitter and its readers see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::journal::{Partition, Record, RecordKind, Seq, Settlement};
use crate::{RunId, Timestamp};

/// The tenant of a submission that names none.
pub const DEFAULT_TENANT: &str = "default";

/// Asks that a run be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The id that the run shall have; submitting it twice is harmless.
    pub run: RunId,
    /// Makes every submission that bears it, for the same tenant, the same run.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// On whose behalf the run is made.
    pub tenant: Arc<str>,
    /// What runs can be listed by, besides state and tenant.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What is to be done, in the caller's encoding.
    pub spec: Bytes,
    /// When it was submitted.
    pub at: Timestamp,
    /// When its owner is to start it, where that is not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
}

impl Submission {
    /// Asks for a run of [`DEFAULT_TENANT`], without a key and without labels.
    #[must_use]
    pub fn new(run: RunId, spec: impl Into<Bytes>, at: Timestamp) -> Self {
        Self {
            run,
            idempotency_key: None,
            tenant: DEFAULT_TENANT.into(),
            labels: BTreeMap::new(),
            spec: spec.into(),
            at,
            start_at: None,
        }
    }

    /// Makes every submission with this key, for the same tenant, the same run.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Says on whose behalf the run is made.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Puts the start off until an instant.
    #[must_use]
    pub fn with_start_at(mut self, at: Timestamp) -> Self {
        self.start_at = Some(at);
        self
    }

    /// Adds a label by which the run can be listed.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }
}

/// Answers a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The accepted run: the one asked for, or the earlier one with the same idempotency key.
    pub run: RunId,
    /// Whether the run had been accepted before.
    pub existed: bool,
}

/// Says how far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted; no owner has taken it in yet.
    Submitted,
    /// Accepted, and to be started later.
    Scheduled,
    /// Under way.
    Running,
    /// Under way, and nothing more is handed out until it is resumed.
    Paused,
    /// Ended, with a result.
    Succeeded,
    /// Ended, without reaching its goal.
    Failed,
    /// Ended, because somebody wished so.
    Cancelled,
}

impl RunState {
    /// Returns whether the run has ended.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submitted => "submitted",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl Settlement {
    /// Returns the state in which this leaves the run.
    #[must_use]
    pub const fn state(&self) -> RunState {
        match self {
            Self::Succeeded { .. } => RunState::Succeeded,
            Self::Failed { .. } => RunState::Failed,
            Self::Cancelled { .. } => RunState::Cancelled,
        }
    }
}

/// Counts a run's records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCounts {
    /// Attempts handed out.
    pub dispatched: u64,
    /// Tasks that ended well, expanded ones included.
    pub succeeded: u64,
    /// Attempts that ended badly.
    pub failed: u64,
    /// Attempts that vanished without an outcome.
    pub lost: u64,
    /// Tasks whose deadline passed.
    pub expired: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
}

/// Says what is known of a run without reading its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// How far it has come.
    pub state: RunState,
    /// On whose behalf it is made.
    pub tenant: Arc<str>,
    /// What it can be listed by.
    pub labels: BTreeMap<String, String>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it is to start, or was, where that is not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// When an owner started it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub settled_at: Option<Timestamp>,
    /// How it ended.
    pub settlement: Option<Settlement>,
    /// How many records of each kind its log has had.
    pub counts: RunCounts,
    /// The position of the last record of its log.
    pub last: Seq,
}

/// The label of a run that names the run which has begun it, and which it is kept for while that one is open.
pub const PARENT_LABEL: &str = "coditect.parent";

impl RunSummary {
    /// Returns the run that its [label](PARENT_LABEL) names as its parent.
    #[must_use]
    pub fn parent(&self) -> Option<RunId> {
        self.labels.get(PARENT_LABEL)?.parse().ok()
    }

    /// Describes a run that was just accepted.
    #[must_use]
    pub fn submitted(submission: &Submission) -> Self {
        Self {
            run: submission.run,
            state: match submission.start_at {
                Some(_) => RunState::Scheduled,
                None => RunState::Submitted,
            },
            tenant: Arc::clone(&submission.tenant),
            labels: submission.labels.clone(),
            submitted_at: submission.at,
            start_at: submission.start_at,
            started_at: None,
            settled_at: None,
            settlement: None,
            counts: RunCounts::default(),
            last: Seq::ZERO,
        }
    }

    /// Takes the next record of the log into account.
    pub fn apply(&mut self, record: &Record) {
        self.last = self.last.next();
        let counts = &mut self.counts;
        match &record.kind {
            RecordKind::Started => {
                // One that was paused before its start stays so.
                if self.state != RunState::Paused {
                    self.state = RunState::Running;
                }
                self.started_at.get_or_insert(record.at);
            }
            RecordKind::Dispatched { .. } => counts.dispatched += 1,
            RecordKind::Succeeded { .. } | RecordKind::Resolved { .. } => counts.succeeded += 1,
            RecordKind::Failed { .. } | RecordKind::ScopeFailed { .. } => counts.failed += 1,
            RecordKind::Lost { .. } => counts.lost += 1,
            RecordKind::Expired { .. } => counts.expired += 1,
            RecordKind::Cancelled { .. } => counts.cancelled += 1,
            RecordKind::Redriven { .. } if !self.state.is_settled() => {}
            RecordKind::Redriven { .. } | RecordKind::Retried => {
                self.state = self.goes_on();
                self.settled_at = None;
                self.settlement = None;
            }
            RecordKind::Paused { .. } => self.state = RunState::Paused,
            RecordKind::Resumed => self.state = self.goes_on(),
            RecordKind::Rescheduled { start_at } => self.start_at = Some(*start_at),
            RecordKind::Settled(settlement) => {
                self.state = settlement.state();
                self.settled_at = Some(record.at);
                self.settlement = Some(settlement.clone());
            }
            RecordKind::Claimed { .. }
            | RecordKind::Granted { .. }
            | RecordKind::Parked { .. }
            | RecordKind::Snoozed { .. }
            | RecordKind::Expanded { .. }
            | RecordKind::RunCancelled { .. }
            | RecordKind::Unserved { .. }
            | RecordKind::Aimed { .. }
            | RecordKind::Prioritized { .. }
            | RecordKind::Waiting { .. }
            | RecordKind::Signalled { .. }
            | RecordKind::Patched { .. }
            | RecordKind::PatchRefused { .. } => {}
        }
    }

    /// Returns the state of a run that is neither paused nor settled any more.
    const fn goes_on(&self) -> RunState {
        match (self.started_at, self.start_at) {
            (None, Some(_)) => RunState::Scheduled,
            _ => RunState::Running,
        }
    }

    /// Returns the run's result, if it succeeded.
    #[must_use]
    pub fn result(&self) -> Option<&Bytes> {
        match &self.settlement {
            Some(Settlement::Succeeded { result }) => Some(result),
            _ => None,
        }
    }

    /// Returns why the run failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Bytes> {
        match &self.settlement {
            Some(Settlement::Failed { failure }) => Some(failure),
            _ => None,
        }
    }
}

/// Selects the runs to list; what is `None` selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs in this state.
    pub state: Option<RunState>,
    /// Only runs of this tenant.
    pub tenant: Option<Arc<str>>,
    /// Only runs whose label has this value.
    pub label: Option<(String, String)>,
    /// Only runs that were submitted then or later.
    pub from: Option<Timestamp>,
    /// Only runs that were submitted before.
    pub until: Option<Timestamp>,
    /// Only runs of this partition.
    pub partition: Option<Partition>,
    /// Only runs whose id is greater: the last one of the page before.
    pub after: Option<RunId>,
    /// At most this many; a journal may return fewer only if there are no more.
    pub limit: Option<usize>,
}

impl RunFilter {
    /// Returns whether a run meets every condition but partition, `after` and `limit`.
    #[must_use]
    pub fn matches(&self, run: &RunSummary) -> bool {
        self.state.is_none_or(|state| state == run.state)
            && self
                .tenant
                .as_ref()
                .is_none_or(|tenant| *tenant == run.tenant)
            && self
                .label
                .as_ref()
                .is_none_or(|(name, value)| run.labels.get(name) == Some(value))
            && self.from.is_none_or(|from| from <= run.submitted_at)
            && self.until.is_none_or(|until| run.submitted_at < until)
    }
}

/// Is what a new owner needs to go on with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLog {
    /// What was asked for.
    pub submission: Arc<Submission>,
    /// The latest snapshot.
    pub snapshot: Option<Bytes>,
    /// The position of the last record that the snapshot contains; [`Seq::ZERO`] without one.
    pub snapshot_upto: Seq,
    /// Every record after the snapshot, in order.
    pub tail: Vec<Record>,
}

impl RunLog {
    /// Returns the position of the run's last record.
    #[must_use]
    pub const fn last(&self) -> Seq {
        Seq::new(self.snapshot_upto.get() + self.tail.len() as u64)
    }
}

/// Is a page of a run's log for readers who follow what happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The records with their positions, in order and without gaps between them.
    pub records: Vec<(Seq, Record)>,
    /// How many records after the asked position are no longer kept: a snapshot stands for them.
    pub skipped: u64,
}
