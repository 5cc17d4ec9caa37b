//! Schedules as they lie in the state store.
//!
//! What a schedule is lies apart from how far it has come, which every occurrence rewrites. All of it is JSON below
//! `("schedule",)`:
//!
//! | then | value |
//! |---|---|
//! | `"definition"`, name | [`Definition`] |
//! | `"state"`, name | [`State`] |
//! | `"partition"`, number, name | changes whenever somebody changes the schedule, which the owner of the partition looks after |
//! | `"changed"`, number | changes whenever somebody changes a schedule of the partition |

use std::collections::BTreeMap;
use std::sync::Arc;

use coditect_bus::Priority;
use coditect_dag::journal::{Partition, PartitionCount, partition_of};
use coditect_dag::{RunId, Timestamp};
use coditect_state::key::Subspace;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::calendar::Calendar;
use super::policy::{Missed, Overlap};
use super::timing::Timing;
use crate::error::Error;
use crate::run::RunLimits;

/// How many of the runs that were submitted last are told.
const RECENT: usize = 10;
/// How many runs are known to be under way.
const OPEN: usize = 100;

/// What a schedule is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Tells it from another one that had its name before.
    pub(crate) id: Uuid,
    /// Grows with every change.
    pub(crate) revision: u64,
    pub(crate) timing: Timing,
    pub(crate) missed: Missed,
    pub(crate) overlap: Overlap,
    pub(crate) catch_up_ms: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) work: Work,
}

/// What is submitted for each occurrence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) plan: Arc<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) priority: Priority,
    #[serde(default)]
    pub(crate) limits: RunLimits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_ms: Option<u64>,
}

/// How far a schedule has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The token of the owner that wrote this last: those before it write nothing any more.
    pub(crate) token: u64,
    /// Every occurrence up to here was decided upon.
    pub(crate) cursor: Timestamp,
    /// Why it is paused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<String>,
    /// How many occurrences had a run, those included whose run is yet to be submitted.
    pub(crate) fired: u64,
    /// How many of them count towards the most that there are to be.
    pub(crate) taken: u64,
    pub(crate) missed: u64,
    pub(crate) overlapped: u64,
    /// Occurrences that wait for the run before them to end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waiting: Vec<Timestamp>,
    /// Occurrences whose runs are to be submitted, or were by somebody who could not say so any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pending: Vec<Occurrence>,
    /// Runs that were not seen to have ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) open: Vec<RunId>,
    /// What was submitted last, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) recent: Vec<Occurrence>,
}

/// An occurrence that was decided upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    pub(crate) nominal: Timestamp,
    /// The id that its run has.
    pub(crate) run: RunId,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) triggered: bool,
    /// Runs that are cancelled for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replaces: Vec<RunId>,
}

impl Definition {
    pub(crate) fn calendar(&self) -> Result<Calendar, Error> {
        Calendar::new(&self.timing, self.id.as_u64_pair().1)
    }

    /// Says whether another one, of the same name, would do the same.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        let value = |work: &Work| serde_json::to_value(work).ok();
        (&self.timing, self.missed, self.overlap, self.catch_up_ms)
            == (
                &other.timing,
                other.missed,
                other.overlap,
                other.catch_up_ms,
            )
            && value(&self.work) == value(&other.work)
    }
}

impl State {
    /// Notes that the runs of occurrences were submitted, as these ids.
    pub(crate) fn submitted(&mut self, done: &[(Occurrence, RunId)]) {
        for (occurrence, run) in done {
            let Some(place) = self.pending.iter().position(|it| it == occurrence) else {
                continue;
            };
            let mut occurrence = self.pending.remove(place);
            self.open.retain(|open| !occurrence.replaces.contains(open));
            occurrence.run = *run;
            occurrence.replaces.clear();
            self.open.push(*run);
            self.recent.push(occurrence);
        }
        self.open.drain(..self.open.len().saturating_sub(OPEN));
        self.recent
            .drain(..self.recent.len().saturating_sub(RECENT));
    }
}

/// Makes the keys.
#[derive(Clone, Debug)]
pub(super) struct Keys(Subspace);

impl Keys {
    pub(super) fn new() -> Self {
        Self(Subspace::new(&("schedule",)))
    }

    pub(super) fn definition(&self, name: &str) -> bytes::Bytes {
        self.0.pack(&("definition", name))
    }

    pub(super) fn definitions(&self) -> Subspace {
        self.0.child(&("definition",))
    }

    pub(super) fn state(&self, name: &str) -> bytes::Bytes {
        self.0.pack(&("state", name))
    }

    pub(super) fn entry(&self, partition: Partition, name: &str) -> bytes::Bytes {
        self.0.pack(&("partition", partition.get(), name))
    }

    pub(super) fn entries(&self, partition: Partition) -> Subspace {
        self.0.child(&("partition", partition.get()))
    }

    pub(super) fn changed(&self, partition: Partition) -> bytes::Bytes {
        self.0.pack(&("changed", partition.get()))
    }
}

/// The partition whose owner looks after a schedule.
pub(super) fn home(name: &str, partitions: PartitionCount) -> Partition {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    partition_of(RunId::from_uuid(id), partitions)
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(it: &bool) -> bool {
    !it
}
