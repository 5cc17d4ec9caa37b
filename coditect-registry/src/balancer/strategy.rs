//! The selectors by name, for settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    Candidates, Error, LeastConnections, PeakEwma, PowerOfTwoChoices, RoundRobin, Selector,
    Weighted,
};

/// Names one of the selectors of this crate, as in a file of settings.
///
/// # Examples
///
/// ```
/// use coditect_registry::Strategy;
///
/// assert_eq!("peak-ewma".parse::<Strategy>()?, Strategy::PeakEwma);
/// assert_eq!(Strategy::default().to_string(), "two-choices");
/// # Ok::<_, coditect_registry::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Strategy {
    /// `round-robin`: each in turn ([`RoundRobin`]).
    RoundRobin,
    /// `least-connections`: the least loaded of all for its capacity ([`LeastConnections`]).
    LeastConnections,
    /// `two-choices`: the less loaded of two drawn at random ([`PowerOfTwoChoices`]).
    #[default]
    TwoChoices,
    /// `weighted`: at random, in proportion to the capacities ([`Weighted`]).
    Weighted,
    /// `peak-ewma`: of two drawn at random the one expected to be done sooner ([`PeakEwma`]).
    PeakEwma,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 5] = [
        Self::RoundRobin,
        Self::LeastConnections,
        Self::TwoChoices,
        Self::Weighted,
        Self::PeakEwma,
    ];

    /// Returns its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::TwoChoices => "two-choices",
            Self::Weighted => "weighted",
            Self::PeakEwma => "peak-ewma",
        }
    }
}

impl Selector for Strategy {
    fn select(&self, candidates: &Candidates, now: Instant, random: u64) -> Option<usize> {
        match self {
            Self::RoundRobin => RoundRobin.select(candidates, now, random),
            Self::LeastConnections => LeastConnections.select(candidates, now, random),
            Self::TwoChoices => PowerOfTwoChoices.select(candidates, now, random),
            Self::Weighted => Weighted.select(candidates, now, random),
            Self::PeakEwma => PeakEwma.select(candidates, now, random),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let named = Self::ALL.into_iter().find(|known| known.as_str() == name);
        named.ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid(format!("no strategy is called {name:?}, but {known}"))
        })
    }
}

impl TryFrom<String> for Strategy {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Strategy> for String {
    fn from(strategy: Strategy) -> Self {
        strategy.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_found_by_its_name() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse::<Strategy>().unwrap(), strategy);
            let json = serde_json::to_string(&strategy).unwrap();
            assert_eq!(serde_json::from_str::<Strategy>(&json).unwrap(), strategy);
        }
        let error = "fastest".parse::<Strategy>().unwrap_err();
        assert!(error.to_string().contains("peak-ewma"), "{error}");
    }
}
