//! The occurrence of a schedule that a run is for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use coditect_dag::Timestamp;
use serde::{Deserialize, Serialize};

/// The occurrence of a schedule for which a run was submitted; told by
/// [`TaskContext::occasion`](crate::TaskContext::occasion).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    pub(crate) schedule: Arc<str>,
    pub(crate) nominal: Timestamp,
}

impl Occasion {
    /// The label by which the runs of a schedule are listed, with its name as the value.
    pub const SCHEDULE: &'static str = "coditect.schedule";

    /// The label that says which occurrence a run is for, such as `2026-03-29T01:00:00Z`.
    pub const NOMINAL: &'static str = "coditect.nominal";

    /// The name of the schedule.
    #[must_use]
    pub fn schedule(&self) -> &str {
        &self.schedule
    }

    /// The time that the run is for, however late it came; when it was triggered, if it was.
    #[must_use]
    pub fn nominal(&self) -> SystemTime {
        self.nominal.into()
    }

    /// The labels of the run.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let millis = i64::try_from(self.nominal.as_millis()).ok();
        let nominal = millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        let schedule = (Self::SCHEDULE.to_owned(), self.schedule.to_string());
        let nominal = nominal.map(|at| (Self::NOMINAL.to_owned(), at.to_string()));
        [schedule].into_iter().chain(nominal).collect()
    }
}
