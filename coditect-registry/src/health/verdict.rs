//! What is held for or against an instance, with its reason and time, and what follows for who is chosen.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{AgentRecord, Health};

/// Says why something is as it is, and since when: for people and dashboards, never for decisions.
///
/// The time is by the clock of whoever gives the reason, in whole milliseconds.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
/// use coditect_registry::Reason;
///
/// let reason = Reason::new("the model is still loading", SystemTime::now());
/// assert_eq!(reason.text(), "the model is still loading");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Raw")]
pub struct Reason {
    text: Arc<str>,
    since_ms: u64,
}

/// A reason as it is written, before its length is bounded.
#[derive(Deserialize)]
struct Raw {
    text: Arc<str>,
    since_ms: u64,
}

impl Reason {
    /// The longest text, in bytes; what is over it is cut off.
    pub const MAX_BYTES: usize = 512;

    /// Gives a reason.
    pub fn new(text: impl AsRef<str>, since: SystemTime) -> Self {
        let since = since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            text: bounded(text.as_ref()).into(),
            since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns since when it has been so; the epoch, if the time that was given cannot be told by this system's clock.
    pub fn since(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.since_ms))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns since when it has been so, in milliseconds since 1970.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }
}

impl From<Raw> for Reason {
    fn from(raw: Raw) -> Self {
        let text = match bounded(&raw.text) {
            text if text.len() == raw.text.len() => raw.text,
            text => text.into(),
        };
        Self {
            text,
            since_ms: raw.since_ms,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({:?} since {} ms)", self.text, self.since_ms)
    }
}

/// Cuts a text at the last character that fits.
fn bounded(text: &str) -> &str {
    let longest = text.len().min(Reason::MAX_BYTES);
    let end = (0..=longest).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// States what a checker has found out about an instance that holds its lease.
///
/// It stands beside what the instance reports of itself, and the worse of the two counts
/// ([`AgentRecord::standing`](crate::AgentRecord::standing)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// What has been found.
    pub finding: Finding,
    /// Why, and since when.
    pub reason: Reason,
}

impl Verdict {
    /// States that an instance answers badly.
    pub fn degraded(reason: Reason) -> Self {
        let finding = Finding::Degraded;
        Self { finding, reason }
    }

    /// States that an instance does not answer.
    pub fn evicted(reason: Reason) -> Self {
        let finding = Finding::Evicted;
        Self { finding, reason }
    }
}

/// Says what a checker has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It answers badly: it is given work only if nobody is ready.
    Degraded,
    /// It does not answer: it is given no work, and what it has is to be done elsewhere.
    Evicted,
}

/// Says whether an instance is given work, by what it reports and what a checker has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It is given work.
    Ready,
    /// It is given work only if nobody is ready.
    Degraded,
    /// It finishes what it has and is given no more.
    Draining,
    /// It does not answer, though it holds its lease: what it has is to be done elsewhere.
    Evicted,
}

impl AgentRecord {
    /// Returns whether it is given work: the worse of what it reports and what a checker has found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use coditect_registry::{AgentRecord, Health, Incarnation, Reason, Standing, Verdict};
    ///
    /// let mut record = AgentRecord::new("writer".parse()?, Incarnation::fresh()).with_health(Health::Degraded);
    /// assert_eq!(record.standing(), Standing::Degraded);
    /// let silent = Reason::new("no answer to 4 probes", SystemTime::now());
    /// record.verdict = Some(Verdict::evicted(silent));
    /// assert_eq!(record.standing(), Standing::Evicted);
    /// assert_eq!(record.reason().map(Reason::text), Some("no answer to 4 probes"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn standing(&self) -> Standing {
        let reported = match self.health {
            Health::Ready => Standing::Ready,
            Health::Degraded => Standing::Degraded,
            Health::Draining => Standing::Draining,
        };
        reported.max(self.found())
    }

    /// Returns why it stands as it does: the checker's reason if its finding counts, otherwise its own.
    pub fn reason(&self) -> Option<&Reason> {
        match &self.verdict {
            Some(verdict) if self.found() == self.standing() => Some(&verdict.reason),
            _ => self.health_reason.as_ref(),
        }
    }

    fn found(&self) -> Standing {
        match self.verdict.as_ref().map(|verdict| verdict.finding) {
            None => Standing::Ready,
            Some(Finding::Degraded) => Standing::Degraded,
            Some(Finding::Evicted) => Standing::Evicted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, Load};

    fn reason(text: &str) -> Reason {
        Reason::new(text, SystemTime::UNIX_EPOCH + Duration::from_millis(1500))
    }

    #[test]
    fn the_worse_of_report_and_finding_counts_and_gives_the_reason() {
        let record = |health, verdict: Option<Verdict>| {
            let mut record = AgentRecord::new("a".parse().unwrap(), Incarnation::fresh())
                .with_health_reason(health, reason("own"));
            record.verdict = verdict;
            (
                record.standing(),
                record.reason().unwrap().text().to_owned(),
            )
        };
        let slow = || Some(Verdict::degraded(reason("slow")));
        let silent = || Some(Verdict::evicted(reason("silent")));
        for (health, verdict, expected) in [
            (Health::Ready, None, (Standing::Ready, "own")),
            (Health::Ready, slow(), (Standing::Degraded, "slow")),
            (Health::Draining, slow(), (Standing::Draining, "own")),
            (Health::Ready, silent(), (Standing::Evicted, "silent")),
            (Health::Draining, silent(), (Standing::Evicted, "silent")),
        ] {
            let (standing, text) = record(health, verdict);
            assert_eq!((standing, text.as_str()), expected);
        }
    }

    #[test]
    fn a_report_of_another_health_drops_the_reason_of_the_former() {
        let record = AgentRecord::new("a".parse().unwrap(), Incarnation::fresh())
            .with_health_reason(Health::Degraded, reason("cold cache"));
        let same = record.reported(Load::new(1, 2), Health::Degraded);
        assert_eq!(same.health_reason, Some(reason("cold cache")));
        let well = record.reported(Load::new(1, 2), Health::Ready);
        assert_eq!(
            (well.health, well.load, well.health_reason),
            (Health::Ready, Load::new(1, 2), None)
        );
    }

    #[test]
    fn a_reason_is_cut_at_a_character_and_survives_json() {
        let long = "é".repeat(Reason::MAX_BYTES);
        let cut = reason(&long);
        assert_eq!(cut.text().len(), Reason::MAX_BYTES);
        let odd = reason(&format!("x{long}"));
        assert_eq!(odd.text().len(), Reason::MAX_BYTES - 1);
        let json = serde_json::json!({ "text": long, "since_ms": 1500 });
        assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), cut);
        let written = serde_json::to_string(&odd).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&written).unwrap(), odd);
        assert_eq!(
            odd.since(),
            SystemTime::UNIX_EPOCH + Duration::from_millis(1500)
        );
        let absurd: Reason =
            serde_json::from_value(serde_json::json!({ "text": "", "since_ms": u64::MAX }))
                .unwrap();
        assert!(absurd.since() >= SystemTime::UNIX_EPOCH);
    }
}
