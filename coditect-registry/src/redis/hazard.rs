//! What is unsafe about the settings of a server.

use std::fmt;

use redis::Value;

use super::link::{Attached, Link};
use super::wire::text;

/// Names something about the server's settings that can lose records although nobody has died.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hazard {
    /// Redis may throw records away when its memory is full.
    Eviction {
        /// Its `maxmemory-policy`, which should be `noeviction`.
        policy: String,
    },
    /// Redis keeps nothing on its disk: after a restart agents are unknown until their next renewal.
    NoPersistence,
    /// Redis keeps a snapshot now and then: after a restart, agents that came later are unknown until their next renewal.
    SnapshotsOnly,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eviction { policy } => write!(
                f,
                "redis may evict records (maxmemory-policy is {policy}): set it to noeviction"
            ),
            Self::NoPersistence => f.write_str(
                "redis keeps nothing on its disk (appendonly is no, save is empty): \
                 agents are unknown after a restart until their next renewal",
            ),
            Self::SnapshotsOnly => f.write_str(
                "redis keeps snapshots only (appendonly is no): \
                 agents that are newer than the last one are unknown after a restart until their next renewal",
            ),
        }
    }
}

/// Finds out what is unsafe, and says it once.
pub(super) async fn look(link: &Link, attached: &Attached) -> Vec<Hazard> {
    let mut hazards = Vec::new();
    if !matches!(attached.eviction.as_str(), "" | "noeviction") {
        let policy = attached.eviction.clone();
        hazards.push(Hazard::Eviction { policy });
    }
    if !attached.appends {
        hazards.push(match saves(link).await {
            Some(false) => Hazard::NoPersistence,
            _ => Hazard::SnapshotsOnly,
        });
    }
    for hazard in &hazards {
        tracing::warn!(server = %link.address(), "{hazard}");
    }
    hazards
}

/// Tells whether snapshots are taken; `None` where clients may not ask.
async fn saves(link: &Link) -> Option<bool> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("save");
    let answer = link.once(&command).await.ok()?;
    let setting = match answer {
        Value::Array(words) => words.into_iter().nth(1),
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, value)| value),
        _ => None,
    };
    Some(!text(setting?)?.is_empty())
}
