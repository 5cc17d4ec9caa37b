//! What becomes of occurrences that were missed, or come while a run goes on.

use serde::{Deserialize, Serialize};

/// The most occurrences that a schedule makes up for at once, or keeps waiting.
pub(super) const MOST: u32 = 500;

/// What becomes of occurrences that were missed because nobody coordinated, or the machine was suspended.
///
/// One is missed that could not be submitted within 30 s, or whose successor has come as well. Those that are older than the
/// [window](crate::NewSchedule::catch_up) are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The last of them is made up for.
    #[default]
    Last,
    /// All are made up for, the oldest first; the newest where there are more than this many, which are 500 at most.
    All(u32),
}

/// What becomes of an occurrence that comes while an earlier run of the schedule goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits until the earlier run has ended. What comes while so many wait, 500 at most, is left out.
    Buffer(u32),
    /// Its run is submitted beside the earlier one.
    Allow,
    /// The earlier run is cancelled, and its own submitted without waiting for handlers that still end.
    CancelPrevious,
}

impl Missed {
    pub(super) const fn number(self) -> Option<u32> {
        match self {
            Self::All(number) => Some(number),
            _ => None,
        }
    }
}

impl Overlap {
    pub(super) const fn number(self) -> Option<u32> {
        match self {
            Self::Buffer(number) => Some(number),
            _ => None,
        }
    }
}
