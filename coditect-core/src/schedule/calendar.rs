//! When a schedule's occurrences are: pure, and the same for everybody who asks.

use std::time::Duration;

use coditect_dag::Timestamp;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

use super::timing::{Rhythm, Timing};
use crate::error::Error;

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// A timing that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    rhythm: Checked,
    from: Timestamp,
    until: Timestamp,
    jitter_ms: u64,
    /// Tells the jitter of one schedule from that of another.
    seed: u64,
}

#[derive(Clone, Debug)]
enum Checked {
    Cron(Box<Cron>, TimeZone),
    Every { interval: u64, phase: u64 },
}

impl Calendar {
    /// Checks a timing.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming what is wrong.
    pub(crate) fn new(timing: &Timing, seed: u64) -> Result<Self, Error> {
        let (from, until) = (timing.from.unwrap_or_default(), timing.until);
        let until = until.unwrap_or(Timestamp::MAX);
        if until < from {
            return Err(Error::invalid("the schedule ends before it starts"));
        }
        let rhythm = match &timing.rhythm {
            Rhythm::Cron(expression) => {
                if timing.phase_ms.is_some() {
                    let text = "a phase belongs to an interval, not to a cron expression";
                    return Err(Error::invalid(text));
                }
                let zone = zone(timing.zone.as_deref().unwrap_or("UTC"))?;
                Checked::Cron(Box::new(cron(expression)?), zone)
            }
            Rhythm::EveryMs(interval) => every(*interval, timing)?,
        };
        let calendar = Self {
            rhythm,
            from,
            until,
            jitter_ms: timing.jitter_ms.unwrap_or(0),
            seed,
        };
        if let Rhythm::Cron(expression) = &timing.rhythm
            && calendar.next(Timestamp::EPOCH).is_none()
        {
            let text = format!(
                "the cron expression `{expression}` names no time at all, or none within its bounds"
            );
            return Err(Error::invalid(text));
        }
        Ok(calendar)
    }

    /// The first occurrence after an instant.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let first = Timestamp::from_millis(self.from.as_millis().saturating_sub(1));
        let after = match self.from == Timestamp::EPOCH {
            true => after,
            false => after.max(first),
        };
        let next = match &self.rhythm {
            Checked::Cron(cron, zone) => next_of(cron, zone, after)?,
            Checked::Every { interval, phase } => {
                let after = after.as_millis();
                match after.checked_sub(*phase) {
                    None => Timestamp::from_millis(*phase),
                    Some(since) => {
                        let whole = (since / interval).checked_add(1)?;
                        let next = whole.checked_mul(*interval)?.checked_add(*phase)?;
                        Timestamp::from_millis(next)
                    }
                }
            }
        };
        (next <= self.until).then_some(next)
    }

    /// When the run of an occurrence is submitted: later by its jitter, which never reaches the next occurrence.
    pub(crate) fn fires_at(&self, occurrence: Timestamp) -> Timestamp {
        if self.jitter_ms == 0 {
            return occurrence;
        }
        let room = match self.next(occurrence) {
            Some(next) => next.saturating_since(occurrence).as_millis() as u64,
            None => u64::MAX,
        };
        let span = self.jitter_ms.min(room.saturating_sub(1));
        let share = mixed(self.seed ^ occurrence.as_millis());
        let later = (u128::from(share) * u128::from(span)) >> 64;
        occurrence.saturating_add(Duration::from_millis(later as u64))
    }

    /// The newest occurrences after an instant whose runs are due by `now`, the oldest first, up to `count` of them.
    pub(crate) fn newest(&self, after: Timestamp, now: Timestamp, count: usize) -> Vec<Timestamp> {
        let whole = now.saturating_since(after);
        let mut look_back = Duration::from_secs(60);
        loop {
            let all = look_back >= whole;
            let begin = match all {
                true => after,
                false => Timestamp::from_millis(now.as_millis() - look_back.as_millis() as u64),
            };
            let times = std::iter::successors(self.next(begin), |at| self.next(*at));
            let mut due: Vec<_> = times.take_while(|at| *at <= now).collect();
            // Jitter never changes the order, so that none but the last can be yet to come.
            due.pop_if(|last| self.fires_at(*last) > now);
            if due.len() >= count || all {
                return due.split_off(due.len().saturating_sub(count));
            }
            look_back *= 4;
        }
    }
}

fn every(interval: u64, timing: &Timing) -> Result<Checked, Error> {
    if timing.zone.is_some() {
        let text = "a time zone belongs to a cron expression, not to an interval";
        return Err(Error::invalid(text));
    }
    if u128::from(interval) < SHORTEST.as_millis() {
        let text = format!("the interval has {interval} ms, and must have a second at least");
        return Err(Error::invalid(text));
    }
    let phase = timing.phase_ms.unwrap_or(0);
    if phase >= interval {
        let text =
            format!("the phase of {phase} ms must be shorter than the interval, {interval} ms");
        return Err(Error::invalid(text));
    }
    Ok(Checked::Every { interval, phase })
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::get(name).map_err(|error| {
        let text = format!("the time zone `{name}` is none of the IANA, such as `Europe/Berlin`");
        Error::invalid(text).with_source(error)
    })
}

fn parse(expression: &str) -> Result<Cron, croner::errors::CronError> {
    let parser = CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build();
    parser.parse(expression)
}

/// Reads a cron expression; an error names the field that is wrong, where it is one.
fn cron(expression: &str) -> Result<Cron, Error> {
    const FIELDS: [&str; 6] = ["second", "minute", "hour", "day", "month", "weekday"];
    parse(expression).map_err(|error| {
        let fields: Vec<_> = expression.split_whitespace().collect();
        let names = match fields.len() {
            5 => &FIELDS[1..],
            6 => &FIELDS[..],
            _ => &[],
        };
        let wrong = names.iter().zip(&fields).enumerate().find(|(place, (_, field))| {
            let mut alone = vec!["*"; fields.len()];
            alone[*place] = field;
            parse(&alone.join(" ")).is_err()
        });
        let text = match wrong {
            Some((_, (name, field))) => {
                format!("the cron expression `{expression}` has a bad {name} `{field}`")
            }
            None if names.is_empty() && !expression.starts_with('@') => format!(
                "the cron expression `{expression}` has {} fields, and must have 5, or 6 with seconds",
                fields.len()
            ),
            None => format!("the cron expression `{expression}` cannot be read"),
        };
        Error::invalid(text).with_source(error)
    })
}

/// The first time of a cron expression after an instant.
fn next_of(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let millis = i64::try_from(after.as_millis()).ok()?;
    let from = jiff::Timestamp::from_millisecond(millis).ok()?;
    let next = cron.find_next_occurrence(&from.to_zoned(zone.clone()), false);
    let next = next.ok()?.timestamp().as_millisecond();
    let next = Timestamp::from_millis(u64::try_from(next).ok()?);
    debug_assert!(next > after, "{next} is not after {after}");
    (next > after).then_some(next)
}

/// Mixes a number as SplitMix64 does (Steele, Lea and Flood, 2014).
const fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
