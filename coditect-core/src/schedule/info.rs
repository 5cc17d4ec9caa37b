//! What is told of a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_dag::RunId;
use coditect_dag::journal::DEFAULT_TENANT;

use super::policy::{Missed, Overlap};
use super::row::{Definition, Occurrence, State};
use super::timing::Timing;
use crate::error::Error;

/// What a schedule does and how far it has come; told by [`Schedule::info`](crate::Schedule::info) and
/// [`Runtime::schedules`](crate::Runtime::schedules).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// Its name.
    pub name: Arc<str>,
    /// When it submits runs.
    pub timing: Timing,
    /// What becomes of missed occurrences.
    pub missed: Missed,
    /// How old a missed occurrence may be that is made up for.
    pub catch_up: Duration,
    /// What becomes of occurrences that come while an earlier run goes on.
    pub overlap: Overlap,
    /// On whose behalf its runs are made.
    pub tenant: Arc<str>,
    /// What its runs can be listed by, besides its name.
    pub labels: BTreeMap<String, String>,
    /// Whether it goes on.
    pub state: ScheduleState,
    /// The next occurrence, without its jitter; none if it is paused or has ended.
    pub next: Option<SystemTime>,
    /// How many occurrences had a run.
    pub fired: u64,
    /// How many were left out because they were missed, as far as they were counted: up to 1,000 in a row.
    pub missed_occurrences: u64,
    /// How many were left out because an earlier run went on.
    pub overlapped: u64,
    /// Occurrences that wait for an earlier run to end.
    pub waiting: Vec<SystemTime>,
    /// The runs that were submitted last, the newest last; 10 at most.
    pub recent: Vec<ScheduledRun>,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it was replaced last, or made.
    pub updated_at: SystemTime,
}

/// Whether a schedule goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleState {
    /// It submits runs.
    Active,
    /// It was paused, and why.
    Paused(String),
    /// There are no more occurrences.
    Ended,
}

/// A run that a schedule has submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduledRun {
    /// The run.
    pub run: RunId,
    /// The occurrence that it is for, or when it was triggered.
    pub nominal: SystemTime,
    /// Whether somebody has triggered it.
    pub triggered: bool,
}

/// Selects the schedules to list; what is `None` selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleFilter {
    /// Only those of this tenant.
    pub tenant: Option<Arc<str>>,
    /// Only those whose name comes after this one in the order of bytes: the last one of the page before.
    pub after: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl ScheduleInfo {
    pub(super) fn new(name: &str, definition: &Definition, state: &State) -> Result<Self, Error> {
        let next = definition.next(&definition.calendar()?, state);
        let goes_on = match (&state.paused, next) {
            (Some(reason), _) => ScheduleState::Paused(reason.clone()),
            (None, Some(_)) => ScheduleState::Active,
            (None, None) if state.waiting.is_empty() => ScheduleState::Ended,
            (None, None) => ScheduleState::Active,
        };
        let run = |occurrence: &Occurrence| ScheduledRun {
            run: occurrence.run,
            nominal: occurrence.nominal.into(),
            triggered: occurrence.triggered,
        };
        let next = next.filter(|_| state.paused.is_none());
        Ok(Self {
            name: name.into(),
            timing: definition.timing.clone(),
            missed: definition.missed,
            catch_up: Duration::from_millis(definition.catch_up_ms),
            overlap: definition.overlap,
            tenant: definition.tenant(),
            labels: definition.work.labels.clone(),
            state: goes_on,
            next: next.map(SystemTime::from),
            fired: state.fired,
            missed_occurrences: state.missed,
            overlapped: state.overlapped,
            waiting: state
                .waiting
                .iter()
                .copied()
                .map(SystemTime::from)
                .collect(),
            recent: state.recent.iter().map(run).collect(),
            created_at: definition.created_at.into(),
            updated_at: definition.updated_at.into(),
        })
    }
}

impl Definition {
    pub(super) fn tenant(&self) -> Arc<str> {
        let tenant = self.work.tenant.as_ref();
        tenant.map_or_else(|| DEFAULT_TENANT.into(), Arc::clone)
    }
}
