//! What is refused of a runtime before anything is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::ports::Settings;
use crate::worker::Hosted;

/// As short as a registry takes one.
const SHORTEST_LEASE: Duration = Duration::from_millis(10);

/// Refuses two agents of one name.
pub(super) fn check_names(hosted: &[Arc<Hosted>]) -> Result<(), Error> {
    let mut names: Vec<_> = hosted.iter().map(|hosted| &hosted.id).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(format!(
            "two agents are named `{}`; give one of them another name with `with_name`",
            pair[0]
        ))),
        None => Ok(()),
    }
}

/// Refuses spans in which nothing could ever be done.
pub(super) fn check_spans(settings: &Settings, hosted: &[Arc<Hosted>]) -> Result<(), Error> {
    let leases = [
        ("a partition", settings.partition_lease),
        ("an agent", settings.agent_lease),
    ];
    for (whose, lease) in leases {
        if lease < SHORTEST_LEASE {
            return Err(Error::invalid(format!(
                "the lease of {whose} lasts {lease:?}, and must last {SHORTEST_LEASE:?} at least"
            )));
        }
    }
    match hosted
        .iter()
        .find(|hosted| hosted.card.timeout() == Some(Duration::ZERO))
    {
        Some(hosted) => Err(Error::invalid(format!(
            "the agent `{}` has a timeout of zero; leave it out for no limit",
            hosted.id
        ))),
        None => Ok(()),
    }
}
