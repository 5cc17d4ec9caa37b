//! When a schedule submits runs, as its author says it.

use std::time::{Duration, SystemTime};

use coditect_dag::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use crate::error::Error;

/// Says when a schedule submits runs: at the times of a cron expression, or at an interval.
///
/// A **cron expression** has five fields (minute, hour, day of the month, month, day of the week) or six, with seconds before
/// them; lists, ranges, steps, names, `L`, `W` and `#` are understood, and so are `@daily` and its like. It is read in a time zone of
/// the IANA, UTC where none is given. Where clocks are put forward, a time of day that is left out comes as soon as the
/// gap is over, and intervals (`*` or steps in minutes or hours) skip what is left out; where clocks are put back, a time of day that comes twice counts the
/// first time, and intervals go on through both.
///
/// An **interval** counts from 1970-01-01 00:00 UTC, so that everybody agrees on it, plus its phase.
///
/// What is wrong with it is said when the schedule is made, and by [`upcoming`](Self::upcoming).
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use coditect_core::Timing;
///
/// # fn main() -> Result<(), coditect_core::Error> {
/// let nightly = Timing::cron("30 2 * * MON-FRI").with_zone("Europe/Berlin");
/// let often = Timing::every(Duration::from_secs(900)).with_jitter(Duration::from_secs(30));
/// for at in nightly.upcoming(SystemTime::now(), 3)? {
///     println!("{:?}", at.elapsed());
/// }
/// assert_eq!(often.upcoming(SystemTime::now(), 2)?.len(), 2);
///
/// let wrong = Timing::cron("30 25 * * *").upcoming(SystemTime::now(), 1).unwrap_err();
/// assert!(wrong.to_string().contains("hour `25`"), "{wrong}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub(super) rhythm: Rhythm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) phase_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jitter_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at_most: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rhythm {
    Cron(String),
    EveryMs(u64),
}

impl Timing {
    const fn of(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            zone: None,
            phase_ms: None,
            jitter_ms: None,
            from: None,
            until: None,
            at_most: None,
        }
    }

    /// Names the times of a cron expression of five or six fields, in UTC until [another zone](Self::with_zone) is given.
    #[must_use]
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::of(Rhythm::Cron(expression.into()))
    }

    /// Names every multiple of an interval, which is at least a second.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self::of(Rhythm::EveryMs(millis(interval)))
    }

    /// Reads the cron expression in a time zone of the IANA, such as `Europe/Berlin`.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Shifts an interval: with a phase of 5 minutes, one of an hour comes at 5 minutes past.
    #[must_use]
    pub fn with_phase(mut self, phase: Duration) -> Self {
        self.phase_ms = Some(millis(phase));
        self
    }

    /// Submits each run by a random span later, up to this one, which is the same for all coordinators and never
    /// reaches the next time.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter_ms = Some(millis(jitter));
        self
    }

    /// Leaves out what comes before an instant.
    #[must_use]
    pub fn starting_at(mut self, from: SystemTime) -> Self {
        self.from = Some(from.into());
        self
    }

    /// Leaves out what comes after an instant; what comes exactly then is the last.
    #[must_use]
    pub fn ending_at(mut self, until: SystemTime) -> Self {
        self.until = Some(until.into());
        self
    }

    /// Ends the schedule when so many runs have been submitted, apart from those that were
    /// [triggered](crate::Schedule::trigger).
    #[must_use]
    pub fn at_most(mut self, runs: u64) -> Self {
        self.at_most = Some(runs);
        self
    }

    /// The next times after an instant, without their jitter; fewer if there are no more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming what is wrong: the field of the expression, the time zone, the
    /// interval, the phase.
    pub fn upcoming(&self, after: SystemTime, count: usize) -> Result<Vec<SystemTime>, Error> {
        let calendar = Calendar::new(self, 0)?;
        let next = |at: &Timestamp| calendar.next(*at);
        let times = std::iter::successors(calendar.next(after.into()), next);
        Ok(times.take(count).map(SystemTime::from).collect())
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
